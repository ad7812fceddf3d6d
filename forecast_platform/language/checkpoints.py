"""Files that a run goes on from: each folder names its files' hashes last, so that a torn or foreign one is told.

A checkpoint holds the optimizer's and the generators' states in torch's own format; none is opened whose hashes are not
those that this program wrote beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecast_platform.host.files import sync_tree, write_whole
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.models import file_hash

HASHES = "files.json"
_PREFIX = "checkpoint-"


def seal(folder: Path, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the hashes of a folder's files into it, once all of them are on disk; returns what was written."""
    sync_tree(folder)
    files = {
        str(path.relative_to(folder)): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != HASHES
    }
    found = {**(about or {}), "files": files}
    write_whole(folder / HASHES, json.dumps(found, indent=2) + "\n", 0o644)
    return found


def sealed(folder: Path) -> dict[str, Any]:
    """What `seal` wrote, each file compared with it. Raises LanguageError that names the first that differs."""
    manifest = folder / HASHES
    if not manifest.is_file():
        raise LanguageError(f"{folder}: no {HASHES} in it: it was not finished, or is not one of ours")
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        files = dict(found["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise LanguageError(f"{manifest}: not readable: take a copy that is whole") from error
    for name, known in files.items():
        path = folder / name
        if not path.is_file():
            raise LanguageError(f"{path}: lacking, though {HASHES} lists it: take a copy that is whole")
        if file_hash(path) != known:
            raise LanguageError(f"{path}: cut short or changed since it was written (its hash differs): make it again")
    return dict(found)


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with newer ones."""
    found = sorted(
        (path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()),
        key=lambda path: -int(path.name.removeprefix(_PREFIX)),
    )
    wrong = []
    for path in found:
        try:
            sealed(path)
        except LanguageError as error:
            wrong.append(str(error))
            continue
        return path, wrong
    return None, wrong


def drop_torn(folder: Path) -> None:
    """Remove the checkpoints of a run that are newer than the newest whole one: the run would write into them."""
    last, _ = newest(folder)
    step = -1 if last is None else int(last.name.removeprefix(_PREFIX))
    for path in folder.glob(f"{_PREFIX}*"):
        number = path.name.removeprefix(_PREFIX)
        if number.isdecimal() and int(number) > step:
            shutil.rmtree(path)
