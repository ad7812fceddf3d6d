"""A disk that is full, however the library that met it says so."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from forecast_platform.host.databases import lacks_room
from forecast_platform.host.home import instance_home
from forecast_platform.settings import SettingsError, load

_FULL = {errno.ENOSPC, errno.EDQUOT}
_TEXTS = ("database or disk is full", "No space left on device", "os error 28", "Disk quota exceeded")
_MEND = "free some space"


def full_disk(error: BaseException, *places: Path) -> str | None:
    """What to say of an error that a full disk caused: the folder with the least room, and the mend; else None.

    Looked at are `places`, or else the warehouse with the folders in it, the instance's and the temporary one: a write
    that finds no room does not say where.
    """
    chain = list(_chain(error, set()))
    sure = any(_is_full(one) for one in chain)
    folders = {_existing(folder) for folder in places or _ours()}
    # What SQLite says where it has no room for the index of its log, and of a broken disk too.
    odd = [one for one in chain if isinstance(one, sqlite3.Error)]
    if not sure and not any(lacks_room(one, folder) for one in odd for folder in folders):
        return None
    return _room(folders)


def with_room(said: str) -> str:
    """The text of an error of which nothing else is known, another process's or a step's; where a full disk caused it,
    the line of it that says so, with the folder and the mend where they are not told yet."""
    if _MEND in said:
        return next(line.strip() for line in said.splitlines() if _MEND in line)
    folders = {_existing(folder) for folder in _ours()}
    for line in said.splitlines():
        if any(text in line for text in _TEXTS) or any(lacks_room(line, folder) for folder in folders):
            return f"{line.strip()}: {_room(folders)}"
    return said


def _room(folders: Iterable[Path]) -> str:
    free, folder = min((shutil.disk_usage(folder).free, str(folder)) for folder in folders)
    return f"the disk is full: {free / 1e6:.1f} MB free at {folder}: {_MEND} there, then run the same command again"


def _ours() -> Iterator[Path]:
    yield Path(tempfile.gettempdir())
    try:
        settings = load()
    except SettingsError:
        return
    yield from (settings.warehouse, instance_home(settings))
    if settings.warehouse.is_dir():
        yield from (folder for folder in settings.warehouse.iterdir() if folder.is_dir())


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
