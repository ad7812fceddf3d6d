"""Putting a backup back: verified beside the warehouse first, then swapped in one step; what was there is kept."""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from forecast_platform.host.disk import full_disk
from forecast_platform.host.files import sync_folder, sync_tree
from forecast_platform.host.home import instance_home
from forecast_platform.housekeeping import HousekeepingError, exclusive, require_folder, unused
from forecast_platform.housekeeping.archive import Manifest, extract, read_manifest
from forecast_platform.housekeeping.moved import follow
from forecast_platform.settings import Settings

_DAGSTER = re.compile(r"(dagster([._-](daemon|webserver|_daemon))?|webserver)$")
"""Names of Dagster's programs and modules, and of the command that serves its UI."""

_MARK = ".restored"
"""File that a restored folder bears, from when it is whole until what was there before is aside."""

_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's renameat2(2)."""


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    kept: list[Path]
    """Folders that were there before, set aside; to be deleted by hand."""


def restore(settings: Settings, source: Path, *, force: bool = False) -> Restored:
    """Put the backup `source` in place of the warehouse and of Dagster's records.

    Everything is unpacked and verified beside the warehouse before anything is touched; then the folders are
    exchanged. A warehouse with anything in it is only replaced with `force`, and is set aside, not deleted. Paths
    inside the records follow where the warehouse has moved. Raises HousekeepingError, with nothing changed.
    """
    from deltalake.exceptions import DeltaError

    require_folder(settings, "restore")
    source = source.expanduser().absolute()
    warehouse, home = settings.warehouse, instance_home(settings)
    if not force and (_filled(warehouse) or _filled(home)):
        raise HousekeepingError(
            f"{warehouse if _filled(warehouse) else home} is not empty: restore with --force sets it aside and puts "
            "the backup in its place"
        )
    manifest = read_manifest(source)
    complete_restore(settings)
    stamp = f"{dt.datetime.now(dt.timezone.utc):%Y%m%dT%H%M%S%f}"
    staging = warehouse.with_name(f".{warehouse.name}.restore-{stamp}")
    inside = home.is_relative_to(warehouse)
    staged_home = staging / home.relative_to(warehouse) if inside else home.with_name(f".{home.name}.restore-{stamp}")
    try:
        with exclusive(settings, "restore"), _nothing_runs(home), unused(settings, "restore"):
            _refuse_without_room(warehouse, manifest)
            extract(source, manifest, lambda name: _place(name, staging, staged_home))
            follow(Path(manifest.warehouse), warehouse, staging)
            _verify(manifest, staging)
            _mark(staging, stamp)
            if not inside and staged_home.is_dir():
                _mark(staged_home, stamp)
            kept = [_swap(staging, warehouse, stamp)]
            if not inside and staged_home.is_dir():
                kept.append(_swap(staged_home, home, stamp))
            for folder in (warehouse, home):
                (folder / _MARK).unlink(missing_ok=True)
    except (OSError, sqlite3.Error, DeltaError) as error:
        said = full_disk(error, warehouse.parent, home.parent) or error
        raise HousekeepingError(f"restore of {source} failed: {said}") from error
    finally:
        for left in (staging, staged_home):
            shutil.rmtree(left, ignore_errors=True)
    return Restored(manifest, [path for path in kept if path is not None])


def complete_restore(settings: Settings) -> list[str]:
    """Bring a restore that was killed to its end: the old warehouse under its name, or the new one; says what it did.

    Nothing is touched while another process keeps house. Raises OSError.
    """
    warehouse, home = settings.warehouse, instance_home(settings)
    if not any(_leftovers(folder) for folder in (warehouse, home)):
        return []
    told: list[str] = []
    try:
        with exclusive(settings, "restore"):
            # The warehouse is swapped first: where that was done, the instance's folder follows it.
            swapped = _stamp(warehouse)
            told += _complete(warehouse, None)
            if not home.is_relative_to(warehouse):
                told += _complete(home, swapped or _stamp(warehouse))
            for folder in (warehouse, home):
                (folder / _MARK).unlink(missing_ok=True)
    except HousekeepingError:
        return []
    return told


def _complete(target: Path, wanted: str | None) -> Iterator[str]:
    for left in _leftovers(target):
        stamp = left.name.rpartition("-")[2]
        aside = target.with_name(f"{target.name}.before-restore-{stamp}")
        if _stamp(target) == stamp:
            left.rename(aside)  # the exchange was made: this is what was there before
            yield f"a restore that was killed is complete; what was there before is in {aside}"
        elif _stamp(left) == stamp and (not target.exists() or wanted == stamp):
            _swap(left, target, stamp)
            yield f"a restore that was killed is complete; what was there before is in {aside}"
        else:
            shutil.rmtree(left)
            yield f"a restore that was killed had changed nothing; what it had unpacked is removed: {left}"
    sync_folder(target.parent)


def _leftovers(target: Path) -> list[Path]:
    found = target.parent.glob(f".{target.name}.restore-*") if target.parent.is_dir() else ()
    return sorted(path for path in found if path.is_dir())


def _mark(staging: Path, stamp: str) -> None:
    """Say of a folder that it is whole, on disk, and which restore it belongs to."""
    (staging / _MARK).write_text(stamp, encoding="utf-8")
    sync_tree(staging)


def _stamp(folder: Path) -> str | None:
    path = folder / _MARK
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _place(name: str, staging: Path, home: Path) -> Path:
    """Where a file of the backup goes. Raises HousekeepingError for a name that leads anywhere else."""
    room, _, rest = name.partition("/")
    parts = PurePosixPath(rest).parts
    if ".." in parts or rest.startswith("/") or "\\" in rest:
        raise HousekeepingError(f"the backup holds the path {name!r}, which leads out of it; nothing was restored")
    if room == "warehouse":
        return staging.joinpath(*parts)
    if room == "dagster":
        return home.joinpath(*parts)
    return staging / "_restored" / name


@contextlib.contextmanager
def _nothing_runs(home: Path) -> Iterator[None]:
    """Hold the lock of `forecast-platform up` while the folders are swapped. Processes of units of their own hold none:
    they are looked for on this machine."""
    from filelock import FileLock, Timeout

    if not home.is_dir():
        yield
        return
    for running in _dagster_processes(home):
        raise HousekeepingError(f"{running} is running on {home}: stop it (and what starts it again), then restore")
    try:
        with FileLock(str(home / ".up.lock"), timeout=0):
            yield
    except Timeout as error:
        raise HousekeepingError("`forecast-platform up` is running on this warehouse: stop it, then restore") from error


def _dagster_processes(home: Path) -> Iterator[str]:
    """Dagster's servers and runs whose instance is in `home`, as far as this account may see."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            program = next((Path(word).name for word in process.cmdline()[:4] if _DAGSTER.match(Path(word).name)), None)
            if program and Path(process.environ().get("DAGSTER_HOME", "")) == home:
                yield f"{program} (process {process.pid})"


def _refuse_without_room(warehouse: Path, manifest: Manifest) -> None:
    warehouse.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(warehouse.parent).free
    if free < manifest.size * 1.05:
        raise HousekeepingError(
            f"{warehouse.parent}: {free / 1e9:.2f} GB free, the backup unpacks to {manifest.size / 1e9:.2f} GB beside "
            "what is there: free some space first"
        )


def _verify(manifest: Manifest, staging: Path) -> None:
    """Every table opens, with the files the manifest counts. Raises HousekeepingError."""
    from deltalake import DeltaTable

    for name, expected in manifest.tables.items():
        path = staging.joinpath(*name.split("."))
        found = DeltaTable(str(path))
        # A table whose paths were made to follow has one commit more.
        if found.version() < expected["version"] or any(not Path(uri).is_file() for uri in found.file_uris()):
            raise HousekeepingError(f"{name} in the backup is not whole; nothing was restored, take another backup")


def _swap(staging: Path, target: Path, stamp: str) -> Path | None:
    """Put `staging` at `target`; returns where what was there is now."""
    if not target.exists():
        staging.rename(target)
        sync_folder(target.parent)
        return None
    aside = target.with_name(f"{target.name}.before-restore-{stamp}")
    if _exchange(staging, target):
        staging.rename(aside)
        sync_folder(target.parent)
        return aside
    target.rename(aside)
    try:
        staging.rename(target)
    except OSError:
        aside.rename(target)
        raise
    return aside


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system has no such call (two renames do then)."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    here = -100  # AT_FDCWD
    code = library.renameat2(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE)
    return bool(code == 0)
