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
        text = artifacts.read_text(platform.settings, Path(place))
        if text is None:
            raise ArtifactError(f"its file {place} is gone")
        return Saved(text)
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
        found = {name: artifacts.read_bytes(platform.settings, Path(place) / name) for name in manifest["files"]}
        files = {name: data for name, data in found.items() if data is not None}
    compare(manifest, files)
    return Saved(document[_MARK], files)
