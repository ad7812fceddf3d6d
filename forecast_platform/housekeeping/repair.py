"""Damage mended: set aside, put back from the journal or a backup where the bytes are known, or made again.

Nothing is deleted: what is damaged goes to `_quarantine/<time>/` in the warehouse. A log entry comes back from the
journal; a file from a backup that holds the same bytes; paths, point forecasts, scores, actuals and unified data are
made again from the models and the data, rows of training jobs from the jobs' folders, a workflow's tables by running it
again. What cannot be made again (trained models, the archive, the champions) is left as it is and named.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from forecast_platform.host.files import sync_folder, sync_tree, write_whole
from forecast_platform.housekeeping import HousekeepingError, exclusive, require_folder
from forecast_platform.housekeeping.kept_fits import damaged_fits, put_back
from forecast_platform.housekeeping.remake import remake
from forecast_platform.housekeeping.remake_jobs import can_be_made
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.tables import TABLES as TABLES_OF_JOBS
from forecast_platform.warehouse.base import WarehouseError
from forecast_platform.warehouse.damage import Damage, examine, open_table
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.journal import FOLDER, LOG, actions, print_of
from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    TABLES,
    TRAINED_MODELS,
    UNIFIED_DATA,
    Table,
)
from forecast_platform.work.platform import Platform

QUARANTINE = "_quarantine"
REMADE = (UNIFIED_DATA, DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA, FORECAST_RUNS)
"""Tables whose rows follow from the others, the source and the models."""

VERIFIED = "verified.json"
"""File of the journal that keeps what the newest deep look found."""

Say = Callable[[str], None]


@dataclass
class Repair:
    """What a repair did."""

    mended: list[str] = field(default_factory=list)
    """Files that are again what was written."""
    lost: list[Damage] = field(default_factory=list)
    """Files whose rows were made again."""
    failed: list[str] = field(default_factory=list)
    """What is still not right, and what to do about it."""
    aside: Path | None = None


def verify(settings: Settings, warehouse: DeltaWarehouse) -> list[Damage]:
    """A deep look at every table, and at the files of the current fits. Files of unknown hash get one; what is found is
    kept for `health`. Raises OSError."""
    from forecast_platform.warehouse.damage import unrecorded

    found = []
    for table in warehouse.tables():
        damages = examine(warehouse, table, deep=True)
        found += damages
        if not damages:
            warehouse.journal.adopt(table.name, unrecorded(warehouse, table))
    if not any(one.table is TRAINED_MODELS for one in found):
        found += damaged_fits(settings, warehouse)
    told = {"at": settings.now().isoformat(timespec="seconds"), "damaged": [str(one) for one in found]}
    folder = warehouse.root / FOLDER
    if folder.is_dir():
        write_whole(folder / VERIFIED, json.dumps(told))
    return found


def last_verified(warehouse: DeltaWarehouse) -> tuple[dt.datetime, list[str]] | None:
    """When every byte was looked at last, and what was damaged then; None where that never was."""
    try:
        found = json.loads((warehouse.root / FOLDER / VERIFIED).read_text(encoding="utf-8"))
        return dt.datetime.fromisoformat(found["at"]), [str(one) for one in found["damaged"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def repair(settings: Settings, say: Say = print, *, backup: Path | None = None) -> Repair:
    """Look at every byte of every table, and mend what is damaged; `backup` may give files back.

    Raises HousekeepingError, with nothing changed, where the tables are not in a folder or others keep house.
    """
    require_folder(settings, "repair")
    platform = Platform.from_settings(settings)
    warehouse = platform.warehouse
    assert isinstance(warehouse, DeltaWarehouse)  # noqa: S101 - require_folder
    done = Repair()
    aside = settings.warehouse / QUARANTINE / f"{dt.datetime.now(dt.timezone.utc):%Y%m%dT%H%M%S}"
    with exclusive(settings, "repair", timeout=60):
        for table in warehouse.tables():
            try:
                _mend(settings, warehouse, table, aside, backup, done, say)
            except (OSError, WarehouseError) as error:
                done.failed.append(f"{table.name}: {error}")
        if backup is not None:
            _mend_fits(settings, warehouse, aside, backup, done, say)
        if aside.is_dir():
            done.aside = aside
            sync_tree(aside)
            sync_folder(settings.warehouse)
        # A process that was killed, or a commit that did not outlive a power loss, leaves less than is told of.
        for text in remake(Platform.from_settings(settings), done.lost, say):
            done.failed.append(text)
        done.failed += _workflows_to_run(warehouse, done.lost)
        left = verify(settings, DeltaWarehouse(settings.warehouse, horizon=settings.horizon))
        named = " ".join(done.failed)
        done.failed += [f"{one}: {_FIT if one.kind == 'fit' else _RESTORE}" for one in left if one.file not in named]
    return done


_RESTORE = (
    "it cannot be made again: name a backup that holds it (`repair --backup`), or `forecast-platform restore` one"
)
_FIT = "or name a backup that holds it (`repair --backup`)"


def _workflows_to_run(warehouse: DeltaWarehouse, lost: Sequence[Damage]) -> Iterator[str]:
    """What a workflow has to be run again for: its rows are out of these tables, and its tasks no longer finished."""
    # Here, for every command's page imports this module for a date, and this brings the grammar with it.
    from forecast_platform.ensembles.store import forget_tasks

    others = {one.table.name for one in lost if one.kind == "data" and one.table not in TABLES}
    for name in sorted(others):
        told = ", ".join(forget_tasks(warehouse, name)) or "the workflow that it is of"
        yield f"{name}: run {told} again (`forecast-platform ensemble run`), which makes its rows anew from kept fits"


def _mend_fits(
    settings: Settings, warehouse: DeltaWarehouse, aside: Path, backup: Path, done: Repair, say: Say
) -> None:
    if examine(warehouse, TRAINED_MODELS):
        return  # which fits are current is known once their table is whole
    for one in damaged_fits(settings, warehouse):
        say(str(one))
        if put_back(settings, one, backup, aside):
            say(f"{one.table.name}: {one.file} is back, from {backup}")
            done.mended.append(one.file)


def _mend(
    settings: Settings,
    warehouse: DeltaWarehouse,
    table: Table,
    aside: Path,
    backup: Path | None,
    done: Repair,
    say: Say,
) -> None:
    for _ in range(2):  # a log that is whole again may show files that are not
        found = examine(warehouse, table, deep=True)
        for one in found:
            say(str(one))
        _mend_log(warehouse, table, [one for one in found if one.kind != "data"], aside, done, say)
        files = [one for one in found if one.kind == "data"]
        if files or not found:
            break
    gone = [one for one in files if not _from_backup(warehouse, one, aside, backup, done, say)]
    if not gone:
        return
    if table not in REMADE and _undone(warehouse, table, gone, aside, done, say):
        _mend(settings, warehouse, table, aside, backup, done, say)
        return
    of_a_job = table in TABLES_OF_JOBS and can_be_made(settings, gone)
    if table in TABLES and table not in REMADE and not of_a_job:
        done.failed += [f"{one}: {_RESTORE}" for one in gone]
        return
    for one in gone:
        _set_aside(warehouse, one, aside)
    opened = open_table(warehouse, table)
    if opened is None:
        return
    before = opened.version()
    removed = set(opened.repair()["files_removed"])
    warehouse.settle(table, before + 1)
    say(f"{table.name}: {len(removed)} files are out of the table, to be made again")
    done.lost += gone


def _undone(
    warehouse: DeltaWarehouse, table: Table, gone: Sequence[Damage], aside: Path, done: Repair, say: Say
) -> bool:
    """Take the newest commit back where one of these files is of it and it never counted as written: a power loss came
    between its entry and its files. What it replaced is there still."""
    log = warehouse.path(table) / LOG
    newest, known = max(_versions(log), default=-1), warehouse.journal.versions(table.name)
    if not known or newest <= max(known):
        return False
    entry = log / f"{newest:020d}.json"
    added = {unquote(str(one["add"]["path"])) for one in actions(entry.read_text(encoding="utf-8")) if "add" in one}
    if not added & {one.file for one in gone}:
        return False
    for name in (entry.name, *(path.name for path in log.glob(f"{newest:020d}.checkpoint*")), "_last_checkpoint"):
        _set_aside(warehouse, Damage(table, f"{LOG}/{name}", "", "entry", newest), aside)
    say(f"{table.name}: {LOG}/{entry.name} was never completed; the table is back at the commit before it")
    done.lost.append(Damage(table, f"{LOG}/{entry.name}", "was never completed", "entry", newest))
    return True


def _mend_log(
    warehouse: DeltaWarehouse, table: Table, found: list[Damage], aside: Path, done: Repair, say: Say
) -> None:
    """Entries from the journal, or back to the last whole commit; checkpoints aside, for the entries say the same."""
    log = warehouse.path(table) / LOG
    for one in found:
        if one.kind == "checkpoint":
            _set_aside(warehouse, one, aside)
            # Delta reads no table whose pointer names a checkpoint that is not there; without one it looks itself.
            _set_aside(warehouse, replace(one, file=f"{LOG}/_last_checkpoint"), aside)
            say(f"{table.name}: {one.file} is set aside; Delta makes a new one")
            done.mended.append(one.file)
    bad = sorted((one for one in found if one.version is not None and one.kind == "entry"), key=_version)
    if any(one.file == LOG for one in found):
        log.mkdir(parents=True, exist_ok=True)
        bad = [
            Damage(table, f"{LOG}/{version:020d}.json", "is gone", "entry", version)
            for version in sorted(warehouse.journal.versions(table.name))
        ]
    newest = max(_versions(log), default=-1)
    for one in bad:
        version = _version(one)
        record = warehouse.journal.record(table.name, version)
        if record is None and version < newest:
            raise HousekeepingError(
                f"{one}: later commits depend on it and the journal does not hold it: `forecast-platform restore` a "
                "backup"
            )
        _set_aside(warehouse, one, aside)
        if record is not None:
            write_whole(log / f"{version:020d}.json", record.entry)
            say(f"{table.name}: {one.file} is again what was written")
            done.mended.append(one.file)
        else:
            say(f"{table.name}: {one.file} was never completed; the table is back at the commit before it")
            done.lost.append(one)


def _version(one: Damage) -> int:
    return -1 if one.version is None else one.version


def _versions(log: Path) -> Iterator[int]:
    for path in log.glob("*.json"):
        if path.name[:20].isdigit():
            yield int(path.name[:20])


def _set_aside(warehouse: DeltaWarehouse, one: Damage, aside: Path) -> None:
    source = warehouse.path(one.table) / one.file
    if source.is_file():
        target = aside / one.table.name / one.file
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        sync_folder(source.parent)


def _from_backup(
    warehouse: DeltaWarehouse, one: Damage, aside: Path, backup: Path | None, done: Repair, say: Say
) -> bool:
    """Put the file back from a backup folder that has the very bytes that were written."""
    written = warehouse.journal.prints(one.table.name).get(one.file)
    if backup is None or written is None:
        return False
    source = backup.joinpath("warehouse", *one.table.name.split("."), *Path(one.file).parts)
    if not source.is_file() or print_of(source) != written:
        return False
    _set_aside(warehouse, one, aside)
    target = warehouse.path(one.table) / one.file
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    sync_tree(target.parent)
    say(f"{one.table.name}: {one.file} is back, from {backup}")
    done.mended.append(one.file)
    return True
