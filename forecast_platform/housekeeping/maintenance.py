"""Weekly maintenance: compaction and vacuum of the tables, pruning of Dagster's log, archiving of MLflow runs.

Each part is a series of small atomic steps: killed anywhere, it leaves readable tables and a log that is still right,
and the next run goes on. Each can run beside forecasts: what a writer is at work on is left for the next week.
"""

from __future__ import annotations

import datetime as dt
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.host.files import remove_leftovers
from forecast_platform.housekeeping import HousekeepingError, exclusive
from forecast_platform.housekeeping.repair import verify
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import Warehouse
from forecast_platform.warehouse.damage import active, open_table
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.journal import LOG
from forecast_platform.warehouse.schemas import TABLES, TRAINED_MODELS, Table
from forecast_platform.warehouse.unity import UnityWarehouse

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from deltalake import DeltaTable

    from forecast_platform.work.platform import Platform

log = logging.getLogger(__name__)

MIN_VACUUM_HOURS = 24
"""Least age of a file that vacuum may delete: far longer than any reader holds a table's version."""

_PERIODS = {"forecast_month": "%Y-%m", "job_day": "%Y-%m-%d"}
"""File partitions of a span of time, as they are written."""

_CHUNK = 1000


@dataclass(frozen=True)
class Compaction:
    """What compacting a table did."""

    table: str
    removed: int
    added: int
    busy: bool = False
    """True where a writer was at work on the same files; they are left for the next time."""


@dataclass(frozen=True)
class Vacuum:
    """What vacuuming a table deleted."""

    table: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Pruning:
    """What pruning Dagster's log did."""

    deleted: int
    kept: int
    """Runs old enough, but holding the newest materialization of some partition."""


def compact(warehouse: DeltaWarehouse, today: dt.date, tables: Sequence[Table] = ()) -> list[Compaction]:
    """Merge small files of each table (or of `tables`), one commit a file partition; months still being written stay
    as they are."""
    found = []
    for table in tables or warehouse.tables():
        opened = open_table(warehouse, table)
        if opened is not None:
            found.append(_compact(warehouse, table, opened, today))
    return found


def _compact(warehouse: DeltaWarehouse, table: Table, opened: DeltaTable, today: dt.date) -> Compaction:
    from deltalake.exceptions import CommitFailedError

    # The daily run writes the current month, jobs write the current day; one that has ended is rewritten by a backfill
    # or a job that is tried again alone.
    ended = [(name, "<", f"{today:{shown}}") for name, shown in _PERIODS.items() if name in table.partition_by] or None
    before = opened.version()
    try:
        done: dict[str, Any] = opened.optimize.compact(
            partition_filters=ended,
            min_commit_interval=0,
            max_concurrent_tasks=1,
            writer_properties=warehouse.writer_properties,
        )
    except CommitFailedError as error:
        log.info("%s: a writer is at work, compaction is left for the next time: %s", table.name, error)
        return Compaction(table.name, 0, 0, busy=True)
    if opened.version() > before:
        warehouse.settle(table, before + 1)
    return Compaction(table.name, int(done["numFilesRemoved"]), int(done["numFilesAdded"]))


def vacuum(warehouse: DeltaWarehouse, hours: int, tables: Sequence[Table] = ()) -> list[Vacuum]:
    """Delete files that no version of the last `hours` refers to, and what killed writers left.

    Raises HousekeepingError where `hours` is below MIN_VACUUM_HOURS: a reader could lose a file that it is about to
    open.
    """
    _check_hours(hours)
    found = []
    for table in tables or warehouse.tables():
        opened = open_table(warehouse, table)
        if opened is None:
            continue
        # The full listing also finds files that a killed writer never committed; they too must be `hours` old.
        root = warehouse.path(table)
        doomed = opened.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=True)
        size = sum((root / name).stat().st_size for name in doomed if (root / name).is_file())
        opened.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True)
        opened.create_checkpoint()
        warehouse.settle(table, opened.version())
        found.append(Vacuum(table.name, len(doomed), size))
    return found


def prune_runs(instance: DagsterInstance, before: dt.datetime, jobs: Iterable[str] = ()) -> Pruning:
    """Delete Dagster's record of runs that ended before `before`, through Dagster's own `delete_run`.

    Kept are runs that hold the newest materialization of any partition, and the newest success of each of `jobs`:
    the partition view, and what depends on it, is the same before and after. A failed partition that was never
    materialized since is shown as missing once the run that failed is gone.
    """
    from dagster import DagsterRunStatus, RunsFilter

    ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
    old = instance.get_run_records(RunsFilter(statuses=ended, created_before=before))
    if not old:
        return Pruning(0, 0)
    needed = _runs_of_newest(instance)
    for job in jobs:
        newest = instance.get_run_records(RunsFilter(job_name=job, statuses=[DagsterRunStatus.SUCCESS]), limit=1)
        needed.update(record.dagster_run.run_id for record in newest)
    deleted = 0
    for record in old:
        run_id = record.dagster_run.run_id
        late = record.end_time is None or record.end_time >= before.timestamp()
        if run_id in needed or late:
            continue
        instance.delete_run(run_id)
        _remove_outputs(instance, run_id)
        deleted += 1
    return Pruning(deleted, len(old) - deleted)


def _runs_of_newest(instance: DagsterInstance) -> set[str]:
    """Runs that hold the newest materialization of an asset or of one of its partitions."""
    from dagster import AssetRecordsFilter, DagsterEventType

    needed: set[str] = set()
    for key in instance.all_asset_keys():
        newest = instance.get_latest_materialization_event(key)
        if newest is not None:
            needed.add(newest.run_id)
        by_partition = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = sorted(by_partition.values())
        for begin in range(0, len(ids), _CHUNK):
            chosen = AssetRecordsFilter(asset_key=key, storage_ids=ids[begin : begin + _CHUNK])
            records = instance.fetch_materializations(chosen, limit=_CHUNK).records
            needed.update(record.run_id for record in records)
    return needed


def _remove_outputs(instance: DagsterInstance, run_id: str) -> None:
    """A deleted run's step output, and its own SQLite file, which Dagster empties but leaves."""
    from dagster._core.storage.event_log import SqliteEventLogStorage

    root = Path(instance.storage_directory())
    shutil.rmtree(root / run_id, ignore_errors=True)
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        file = Path(storage.path_for_shard(run_id))
        for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            path.unlink(missing_ok=True)


def archive_superseded(settings: Settings, warehouse: Warehouse) -> int:
    """Move MLflow runs of fits that a newer fit has replaced to MLflow's `deleted` stage; returns how many.

    They can be restored there until `mlflow gc` removes them; the fitted model stays in trained_models in any case.
    """
    columns = ["mlflow_run_id", "is_active"]
    rows = warehouse.read(TRAINED_MODELS, columns).to_pylist()
    active = {row["mlflow_run_id"] for row in rows if row["is_active"]}
    superseded = {row["mlflow_run_id"] for row in rows if row["mlflow_run_id"] and not row["is_active"]} - active
    if not superseded:
        return 0
    from forecast_platform.pipeline.tracking import Tracker

    client = Tracker(settings).client
    archived = 0
    for run_id in sorted(superseded):
        if _is_active(client, run_id):
            client.delete_run(run_id)
            archived += 1
    return archived


def _is_active(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _compact_all(platform: Platform, instance: DagsterInstance) -> list[str]:
    warehouse = platform.warehouse
    if isinstance(warehouse, UnityWarehouse):
        done = optimize(warehouse)
    else:
        done = compact(_folder(platform), platform.settings.today())
    return [
        f"{one.table}: {'left for the next time, a writer is at work' if one.busy else _merged(one)}" for one in done
    ]


def optimize(warehouse: UnityWarehouse, tables: Sequence[Table] = TABLES) -> list[Compaction]:
    """Compaction of Unity Catalog's tables by the engine, which orders it with writers itself."""
    found = []
    for table in tables:
        done = warehouse.optimize(table)
        if done is not None:
            found.append(Compaction(warehouse.name(table), done.removed, done.added))
    return found


def _merged(one: Compaction) -> str:
    return f"{one.removed} files merged into {one.added}" if one.removed else "nothing to merge"


def _vacuum_all(platform: Platform, instance: DagsterInstance) -> list[str]:
    hours = platform.settings.vacuum_hours
    warehouse = platform.warehouse
    if isinstance(warehouse, UnityWarehouse):
        _check_hours(hours)
        there = [warehouse.name(table) for table in TABLES if warehouse.vacuum(table, hours)]
        return [f"{name}: files that no version of the last {hours} hours refers to are deleted" for name in there]
    done = vacuum(_folder(platform), hours)
    left = remove_leftovers(platform.settings.warehouse, hours)
    said = [f"{left} files beside the tables that killed processes left are deleted"] if left else []
    return [*(f"{one.table}: {one.files} files, {one.bytes / 1e6:.1f} MB deleted" for one in done), *said]


def _check_hours(hours: int) -> None:
    if hours < MIN_VACUUM_HOURS:
        raise HousekeepingError(
            f"vacuum_hours = {hours}: at least {MIN_VACUUM_HOURS}, or a running reader loses the files it reads"
        )


def _verify(platform: Platform, instance: DagsterInstance) -> list[str]:
    """Every byte of every table, once a week. Raises HousekeepingError where one is not what was written."""
    if isinstance(platform.warehouse, UnityWarehouse):
        return ["the files of Unity Catalog's tables are the platform's to keep"]
    warehouse = _folder(platform)
    damaged = verify(platform.settings, warehouse)
    if damaged:
        raise HousekeepingError(
            f"{len(damaged)} files are damaged; `forecast-platform repair` makes again what can be:\n  "
            + "\n  ".join(map(str, damaged))
        )
    dropped, files = 0, 0
    for table in warehouse.tables():
        opened = open_table(warehouse, table)
        if opened is not None:
            names = [name for name, *_ in active(opened)]
            files += len(names)
            entries = (int(path.stem) for path in (warehouse.path(table) / LOG).glob("*.json") if path.stem.isdigit())
            dropped += warehouse.journal.prune(table.name, min(entries, default=0), names)
    return [f"{files} files are what was written; {dropped} records of versions that are gone dropped"]


def _prune(platform: Platform, instance: DagsterInstance) -> list[str]:
    from forecast_platform.graph.keys import JOBS, all_keys
    from forecast_platform.training_jobs.store import JobStore
    from forecast_platform.training_jobs.tables import remove_forgotten

    days = platform.settings.keep_runs_days
    before = platform.settings.now() - dt.timedelta(days=days)
    done = prune_runs(instance, before, [keys.job(job) for keys in all_keys(platform.settings) for job in JOBS])
    said = [
        f"{done.deleted} runs older than {days} days deleted, {done.kept} kept: they hold the newest of a partition"
    ]
    jobs = JobStore(platform.settings)
    gone = remove_forgotten(platform.warehouse, jobs) if jobs.exists else 0
    return [*said, f"rows of {gone} training jobs that are gone deleted"] if gone else said


def _archive(platform: Platform, instance: DagsterInstance) -> list[str]:
    count = archive_superseded(platform.settings, platform.warehouse)
    return [f"{count} MLflow runs of superseded fits archived"]


def _folder(platform: Platform) -> DeltaWarehouse:
    if not isinstance(platform.warehouse, DeltaWarehouse):
        raise HousekeepingError(f"{type(platform.warehouse).__name__}: its maintenance is not known here")
    return platform.warehouse


PARTS: Mapping[str, Callable[[Platform, DagsterInstance], list[str]]] = {
    "compact": _compact_all,
    "vacuum": _vacuum_all,
    "verify": _verify,
    "prune": _prune,
    "archive": _archive,
}
"""The parts of the weekly maintenance, in order; each says what it did."""


def maintain_part(name: str, platform: Platform, instance: DagsterInstance) -> list[str]:
    """Do one part of the weekly maintenance, alone; returns what was done. Raises HousekeepingError where it cannot."""
    with exclusive(platform.settings, "maintenance", timeout=600):
        return PARTS[name](platform, instance)
