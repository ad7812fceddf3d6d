"""A disk that is full, however the library that met it says so."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from forecast_platform.host.home import instance_home
from forecast_platform.settings import SettingsError, load

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_ROOM = 5_000_000
"""Bytes below which a disk may be too full for one more page of a database and its log."""

_TEXTS = ("database or disk is full", "No space left on device", "os error 28")


def full_disk(error: BaseException) -> str | None:
    """What to say of an error that a full disk caused: the folder with the least room, and the mend; else None."""
    chain = list(_chain(error, set()))
    sure = any(_is_full(one) for one in chain)
    # What SQLite says where it has no room for the index of its log, and of a broken disk too.
    if not sure and not any(isinstance(one, sqlite3.Error) and "disk I/O error" in str(one) for one in chain):
        return None
    folders = [Path(tempfile.gettempdir())]
    try:
        settings = load()
        folders = [settings.warehouse, instance_home(settings), *folders]
    except SettingsError:
        pass
    free, folder = min((shutil.disk_usage(_existing(folder)).free, str(folder)) for folder in folders)
    if not sure and free > _NO_ROOM:
        return None
    return (
        f"the disk is full: {free / 1e6:.1f} MB free at {folder}: free some space there, then run the same command "
        "again; what was written is kept"
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, OSError | sqlite3.Error | RuntimeError) and any(text in str(error) for text in _TEXTS)


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """The error, what it came from, and what a database's wrapper holds."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for other in (error.__cause__, error.__context__, getattr(error, "orig", None)):
        if isinstance(other, BaseException):
            yield from _chain(other, seen)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
