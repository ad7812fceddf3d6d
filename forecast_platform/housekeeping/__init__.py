"""Keeping a year-old installation well: health, backup and restore, migration, maintenance. No forecasting here."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forecast_platform.host import process_identity
from forecast_platform.settings import Settings
from forecast_platform.work.results import RefusedError


class HousekeepingError(RefusedError):
    """The request was refused or failed; the message says why and what to do. Nothing is half done."""


@contextmanager
def exclusive(settings: Settings, what: str, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock that backup, restore and maintenance share: each assumes that none of the others runs.

    The lock lies beside the warehouse, so that it survives a restore that swaps the folder. A killed process lets it
    go. Raises HousekeepingError where it is still held after `timeout` seconds. Tables in Unity Catalog need no lock:
    the engine orders its own statements; nor does a file system that can only be read.
    """
    from filelock import FileLock, Timeout

    if settings.tables != "folder":
        yield
        return
    path = lock_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(path), timeout=timeout)
    try:
        lock.acquire()
    except Timeout as error:
        raise HousekeepingError(
            f"{what}: a backup, restore or maintenance is at work on {settings.warehouse}; wait until it has ended"
        ) from error
    except OSError as error:
        # Where nothing can be written nothing changes: a disk that became read-only is to be backed up.
        if error.errno != errno.EROFS:
            raise
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_use(settings: Settings, *, looks: bool = False) -> Iterator[None]:
    """Hold, as many may at once, that a command is at work on the warehouse, so that no restore exchanges it meanwhile:
    what is computed from one would be written into the other. A killed process lets it go.

    looks: a command that writes nothing makes no file for it either.
    """
    with _used(settings, shared=True, make=not looks):
        yield


@contextmanager
def unused(settings: Settings, what: str) -> Iterator[None]:
    """Hold that no command is at work on the warehouse. Raises HousekeepingError where one is."""
    with _used(settings, shared=False, make=True) as alone:
        if not alone:
            raise HousekeepingError(
                f"{what}: another forecast-platform command is at work on {settings.warehouse}: wait until it has "
                "ended, or stop it"
            )
        yield


@contextmanager
def _used(settings: Settings, *, shared: bool, make: bool) -> Iterator[bool]:
    """Hold the lock of use; whether it could be had. A folder that cannot be written to holds no lock, and nothing is
    exchanged there; nor does a system that has no such locks (Windows)."""
    try:
        import fcntl

        path = settings.warehouse.with_name(f".{settings.warehouse.name}.in-use.lock")
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o600)
    except (ImportError, OSError):
        yield True
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
            had = True
        except BlockingIOError:
            had = False
        except OSError:  # a file system without locks
            had = True
        yield had
    finally:
        os.close(handle)


def partial_of(target: Path) -> Path:
    """Where this process makes what is to be `target`; what processes of this machine that were killed had begun in the
    same folder is removed: each may be as large as a whole backup."""
    for path in target.parent.glob(".*@*+*+*.partial"):
        owner = path.name.removesuffix(".partial").rpartition("@")[2].replace("+", ":")
        if process_identity.here(owner) and not process_identity.alive(owner):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    owner = process_identity.this_process().replace(":", "+")
    return target.with_name(f".{target.name}@{owner}.partial")


def lock_file(settings: Settings) -> Path:
    """The lock of this warehouse's house-keeping."""
    return settings.warehouse.parent / f".{settings.warehouse.name}.housekeeping.lock"


def require_folder(settings: Settings, what: str) -> None:
    """Raise HousekeepingError where the tables are not in the warehouse folder, with what does the same there."""
    if settings.tables != "folder":
        raise HousekeepingError(
            f"{what}: the tables are in Unity Catalog ({settings.unity.catalog}), not in a folder. There a copy is "
            "CREATE TABLE ... DEEP CLONE, an earlier version RESTORE TABLE ... TO VERSION AS OF, and UNDROP TABLE "
            "brings back a dropped table (docs/databricks.md, Unity Catalog)"
        )
