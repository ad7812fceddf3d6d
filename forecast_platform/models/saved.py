"""A fitted model as it is kept: its JSON alone, or a manifest with the hash of each file of a small folder.

Nothing of a folder is opened before every file was compared with the manifest; what is opened is a private copy of what
was compared. Files are in formats that run no code (JSON, safetensors, UBJ, a library's own), or a library's pickles:
those are read in a process of their own (`isolated`), after the caller has proved whose manifest it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Model, TrainingWindow
from forecast_platform.models.tags import ModelSpec

FORMAT = 1
_MARK = "__folder__"


class ArtifactError(ValueError):
    """A fitted model's files are not those of its manifest, or nobody answers for them; nothing was opened."""


@dataclass(frozen=True)
class Saved:
    """A fitted model as text, and its files by relative path; a model that is kept as JSON has none."""

    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return len(self.text.encode()) + sum(map(len, self.files.values()))


def saved_from(model: Model, fitted: FittedModel) -> Saved:
    """A fitted model as it is to be kept. Raises ArtifactError where its folder holds what is no plain file."""
    if model.tags.kept == "json":
        return Saved(fitted.to_json())
    with tempfile.TemporaryDirectory(prefix="forecast-fit-") as made:
        folder = Path(made)
        fitted.save(folder)
        files = {}
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArtifactError(f"{model.name} saves {path.relative_to(folder)}, which is no plain file")
            if path.is_file():
                files[path.relative_to(folder).as_posix()] = path.read_bytes()
    if not files:
        raise ArtifactError(f"{model.name} is kept as a folder, but its save wrote no file")
    hashes = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    manifest = {_MARK: FORMAT, "type": model.name, "state": fitted.to_json(), "files": hashes}
    return Saved(json.dumps(manifest, sort_keys=True, separators=(",", ":")), files)


def manifest_of(text: str) -> dict[str, Any] | None:
    """The manifest that a fitted model's text is; None where the text is the model itself.

    Raises ArtifactError: a format of a later version, or paths that lead out of the folder.
    """
    if not text.startswith(f'{{"{_MARK}"'):
        return None
    manifest: dict[str, Any] = json.loads(text)
    if manifest[_MARK] != FORMAT:
        raise ArtifactError(f"the fitted model has format {manifest[_MARK]}, this version reads {FORMAT}: upgrade it")
    for name in manifest["files"]:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in name:
            raise ArtifactError(f"its manifest names {name!r}, which lies outside its folder")
    return manifest


def compare(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Raises ArtifactError, naming the file, where `files` are not exactly those of the manifest."""
    wanted = manifest["files"]
    for name in sorted({*wanted, *files}):
        if name not in files:
            raise ArtifactError(f"its file {name} is gone")
        if name not in wanted:
            raise ArtifactError(f"a file {name} is there that its manifest does not name")
        found = hashlib.sha256(files[name]).hexdigest()
        if found != wanted[name]["sha256"]:
            raise ArtifactError(
                f"its file {name} has sha256 {found[:16]}..., its manifest says {wanted[name]['sha256'][:16]}..."
            )


def load(spec: ModelSpec, saved: Saved, window: TrainingWindow) -> FittedModel:
    """The fitted model that was saved. Raises ArtifactError before anything of it is opened.

    Pickles are opened by `isolated` in a process of its own, each time it simulates; that this may be done at all, the
    caller has made sure of.
    """
    model = registry.demand(spec)
    manifest = manifest_of(saved.text)
    if model.tags.kept == "json":
        if manifest is not None:
            raise ArtifactError(f"{spec.name} is kept as JSON, and this is a folder's manifest")
        return model.load(saved.text, window)
    if manifest is None:
        raise ArtifactError(f"{spec.name} is kept as a folder, and this is no manifest")
    if manifest["type"] != spec.type:
        raise ArtifactError(f"its manifest is of a {manifest['type']}, not of a {spec.type}")
    compare(manifest, saved.files)
    folder = Path(tempfile.mkdtemp(prefix="forecast-model-"))
    try:
        for name, data in saved.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        fitted: FittedModel
        if model.tags.kept == "pickle":
            from forecast_platform.models.isolated import IsolatedFitted

            fitted = IsolatedFitted(window, {}, spec, manifest["state"], folder)
        else:
            fitted = model.load_folder(manifest["state"], folder, window)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # Libraries read parts of their folder when they first forecast: it stays as long as the model does.
    weakref.finalize(fitted, shutil.rmtree, folder, True)
    return fitted


def to_bytes(files: Mapping[str, bytes]) -> bytes:
    """Files as one value, for a row that goes to a worker; empty for none."""
    return b"".join(to_parts(files))


def to_parts(files: Mapping[str, bytes]) -> list[bytes]:
    """What `to_bytes` makes, in parts to be written one after the other: the files' own bytes among them, uncopied."""
    if not files:
        return []
    sink = _Parts()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name])
    return sink.parts


class _Parts(io.RawIOBase):
    """A file that is written from its start to its end, kept as it was given."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(data)
        return len(data)


def from_bytes(data: bytes) -> dict[str, bytes]:
    """The files that `to_bytes` packed."""
    if not data:
        return {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
