"""Fitted models in rows of trained_models and in artifact folders: written, read back, compared, signed.

A JSON model is its text, in the row or in a file. A folder is a document in the row (manifest, signature), with the
files in it as base64 where all is small, else in a folder of the artifacts.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecast_platform.models.base import model_id
from forecast_platform.models.saved import ArtifactError, Saved, compare, manifest_of
from forecast_platform.models.tags import ModelTags
from forecast_platform.settings import Settings
from forecast_platform.work import artifacts, signing
from forecast_platform.work.platform import Platform

_MARK = "__manifest__"

Key = tuple[str, str, str, str]
"""Series, model, version and window start of a fit: what its signature is for."""


def write(
    settings: Settings, key: Key, saved: Saved, tags: ModelTags, folder: Path, *, large: bool
) -> tuple[str | None, Path | None]:
    """What the row holds: its text, and where the rest is. `large`: files go to `folder`.

    Raises OSError; ArtifactError where a signature is needed and no key can be had.
    """
    if not saved.files:
        if not large:
            return saved.text, None
        path = folder.with_name(f"{folder.name}.json")
        artifacts.write_text(settings, path, saved.text)
        return None, path
    document: dict[str, Any] = {_MARK: saved.text}
    if tags.kept == "pickle":
        document["signature"] = signing.sign(settings, key, saved.text)
    if not large:
        document["content"] = {name: base64.b64encode(data).decode() for name, data in sorted(saved.files.items())}
        return json.dumps(document, sort_keys=True), None
    for name, data in saved.files.items():
        artifacts.write_bytes(settings, folder / name, data)
    return json.dumps(document, sort_keys=True), folder


def read(platform: Platform, row: Mapping[str, Any]) -> Saved:
    """The fitted model of a row, with its files as its manifest names them; nothing of them is opened.

    Raises ArtifactError: a file is gone, is another one, or is a pickle that this warehouse has not signed.
    """
    text, place = row["fitted_model_json"], row["fitted_model_s3_path"]
    if text is None:
        return Saved(_text_of_file(platform.settings, row))
    document = json.loads(text) if text.startswith(f'{{"{_MARK}"') else None
    pickled = platform.model(row["model_name"]).tags.kept == "pickle"
    if document is None:
        return Saved(text)
    manifest = manifest_of(document[_MARK])
    if manifest is None:
        raise ArtifactError("its manifest cannot be read")
    if pickled:
        start = row["training_cutoff_date"] + dt.timedelta(days=1)
        key = (row["commodity"], row["model_name"], row["model_version"], start.isoformat())
        signing.verify(platform.settings, key, document[_MARK], document.get("signature"))
    if place is None:
        files = {name: base64.b64decode(data) for name, data in document["content"].items()}
    else:
        files = _files_of_folder(platform.settings, manifest, Path(place))
    compare(manifest, files)
    return Saved(document[_MARK], files)


def text_of(settings: Settings, row: Mapping[str, Any]) -> str:
    """The text of a row of trained_models: the model as JSON, or the manifest of its files; from its file where it is
    kept in one. What the row points at is compared with what was written first.

    Raises ArtifactError, naming the file, where it is gone or is not what was written.
    """
    text, place = row["fitted_model_json"], row["fitted_model_s3_path"]
    if text is None:
        return _text_of_file(settings, row)
    if place is None:
        return str(text)
    manifest = manifest_of(json.loads(text)[_MARK])
    if manifest is None:
        raise ArtifactError("its manifest cannot be read")
    compare(manifest, _files_of_folder(settings, manifest, Path(place)))
    return str(text)


def _files_of_folder(settings: Settings, manifest: Mapping[str, Any], folder: Path) -> dict[str, bytes]:
    folder = artifacts.placed(settings, folder)
    found = {name: artifacts.read_bytes(settings, folder / name) for name in manifest["files"]}
    return {name: data for name, data in found.items() if data is not None}


def _text_of_file(settings: Settings, row: Mapping[str, Any]) -> str:
    """The text of a model that is kept as a file: the row's content address is the hash of it."""
    place = artifacts.placed(settings, Path(row["fitted_model_s3_path"]))
    data = artifacts.read_bytes(settings, place)
    if data is None:
        raise ArtifactError(f"its file {place} is gone")
    start = (row["training_cutoff_date"] + dt.timedelta(days=1)).isoformat()
    key = (row["commodity"], row["model_name"], row["model_version"], row["algorithm_version"], start)
    text = data.decode(errors="replace")
    found = model_id(*key, text, json.loads(row["parameters"]).get("settings", ""))
    if found != row["model_id"]:
        raise ArtifactError(
            f"its file {place} is not what was written: its content address is {found}, the row's {row['model_id']}"
        )
    return text
