"""Maintenance keeps every row and every newest materialization, whatever runs beside it and wherever it is killed."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    RunsFilter,
    StaticPartitionsDefinition,
    asset,
    materialize,
)
from deltalake import DeltaTable

from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.maintenance import archive_superseded, compact, prune_runs, vacuum
from forecast_platform.pipeline.training import train
from forecast_platform.runs.launch import Launcher
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS, TABLES
from forecast_platform.work.platform import Platform

TODAY = dt.date(2018, 4, 10)
LATER = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)
"""A moment before which every run of a test has ended."""


def _rows(root: Path) -> dict[str, pa.Table]:
    warehouse = DeltaWarehouse(root / "warehouse")
    return {table.name: warehouse.read(table).sort_by([(name, "ascending") for name in table.key]) for table in TABLES}


def test_compaction_merges_files_and_keeps_every_row(root: Path, platform: Platform) -> None:
    before = _rows(root)
    done = {one.table: one for one in compact(platform.warehouse, TODAY)}
    assert done[DISTRIBUTIONS.name].removed > done[DISTRIBUTIONS.name].added > 0
    assert _rows(root) == before


def test_a_month_that_is_still_written_is_left_alone(platform: Platform) -> None:
    def files(month: str) -> set[str]:
        return {uri for uri in platform.warehouse._table(DISTRIBUTIONS).file_uris() if f"forecast_month={month}" in uri}

    running = files("2018-03")
    compact(platform.warehouse, dt.date(2018, 3, 31))
    assert files("2018-03") == running
    compact(platform.warehouse, TODAY)
    assert files("2018-03") < running | files("2018-03")


def test_compacting_twice_does_nothing_the_second_time(platform: Platform) -> None:
    compact(platform.warehouse, TODAY)
    assert all(one.removed == one.added == 0 for one in compact(platform.warehouse, TODAY))


def test_a_reader_that_opened_a_table_before_reads_it_after(root: Path, platform: Platform) -> None:
    opened = {table.name: DeltaTable(str(platform.warehouse.path(table))) for table in (DISTRIBUTIONS, POINT_FORECASTS)}
    before = {name: sum(ds.dataset(found.file_uris()).count_rows() for _ in "1") for name, found in opened.items()}
    compact(platform.warehouse, TODAY)
    assert all(one.files == 0 for one in vacuum(platform.warehouse, 24))
    assert {name: ds.dataset(found.file_uris()).count_rows() for name, found in opened.items()} == before


def test_vacuum_deletes_only_what_is_old_and_unused(
    root: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _rows(root)
    compact(platform.warehouse, TODAY)
    folder = platform.warehouse.path(DISTRIBUTIONS)
    used = set(DeltaTable(str(folder)).file_uris())
    orphan = next(folder.rglob("*.parquet")).with_name("part-left-by-a-killed-writer.parquet")
    orphan.write_bytes(b"PAR1")
    long_ago = time.time() - 48 * 3600
    for path in folder.rglob("*.parquet"):
        os.utime(path, (long_ago, long_ago))
    [done] = vacuum(platform.warehouse, 24, [DISTRIBUTIONS])
    # Replaced files count from when they were replaced, which was just now.
    assert done.files == 1
    assert not orphan.exists()
    assert all(Path(uri).exists() for uri in used)
    assert _rows(root) == before


def test_vacuum_refuses_a_retention_that_breaks_readers(platform: Platform) -> None:
    with pytest.raises(HousekeepingError, match="vacuum_hours = 1: at least 24"):
        vacuum(platform.warehouse, 1)


_MAINTAIN = """
import datetime as dt, sys
from pathlib import Path
from forecast_platform.housekeeping.maintenance import compact, vacuum
from forecast_platform.warehouse.delta import DeltaWarehouse

warehouse = DeltaWarehouse(Path(sys.argv[1]))
print("begins", flush=True)
compact(warehouse, dt.date(2018, 4, 10))
vacuum(warehouse, 24)
print("ended", flush=True)
"""


@pytest.mark.slow
def test_killed_anywhere_the_tables_read_the_same(root: Path) -> None:
    before = _rows(root)
    moments = random.Random(5)
    ended = False
    for _ in range(4):
        command = [sys.executable, "-c", _MAINTAIN, str(root / "warehouse")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0.005, 0.1))
            process.kill()
            ended |= "ended" in process.stdout.read()
        assert _rows(root) == before
    assert not ended, "every run was over before it was killed: the moments are too late"
    platform = DeltaWarehouse(root / "warehouse")
    compact(platform, TODAY)
    assert _rows(root) == before


PARTS = StaticPartitionsDefinition(["a", "b", "c"])


@asset(partitions_def=PARTS)
def prices() -> None:
    """An asset with partitions."""


@asset
def summary() -> None:
    """An asset without."""


@asset(partitions_def=PARTS)
def broken() -> None:
    """An asset that fails."""
    raise ValueError("no")


@pytest.fixture
def instance(platform: Platform) -> DagsterInstance:
    return Launcher(platform.settings).instance


def _run(instance: DagsterInstance, one: object, partition: str | None = None) -> str:
    done = materialize([one], instance=instance, partition_key=partition, raise_on_error=False)  # type: ignore[list-item]
    return done.run_id


def test_runs_that_hold_the_newest_of_a_partition_are_kept(instance: DagsterInstance) -> None:
    old_a, only_b = _run(instance, prices, "a"), _run(instance, prices, "b")
    old_summary, failed = _run(instance, summary), _run(instance, broken, "c")
    new_a, new_summary = _run(instance, prices, "a"), _run(instance, summary)
    before = instance.get_status_by_partition(AssetKey("prices"), ["a", "b", "c"], PARTS)
    done = prune_runs(instance, LATER)
    assert (done.deleted, done.kept) == (3, 3)
    left = {run.run_id for run in instance.get_runs()}
    assert left == {only_b, new_a, new_summary}
    assert not {old_a, old_summary, failed} & left
    assert instance.get_status_by_partition(AssetKey("prices"), ["a", "b", "c"], PARTS) == before
    assert instance.get_latest_materialization_event(AssetKey("summary")).run_id == new_summary
    files = {path.stem for path in (Path(instance.root_directory) / "history" / "runs").glob("*.db")}
    assert {only_b, new_a, new_summary} <= files
    assert not {old_a, old_summary, failed} & files
    assert prune_runs(instance, LATER).deleted == 0


def test_young_and_unfinished_runs_and_the_newest_success_of_a_job_are_kept(instance: DagsterInstance) -> None:
    ended = [_run(instance, summary) for _ in range(2)]
    running = instance.create_run_for_job(Definitions([summary]).resolve_implicit_global_asset_job_def())
    instance.report_engine_event("starts", running)
    long_ago = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
    assert prune_runs(instance, long_ago).deleted == 0
    assert prune_runs(instance, LATER).deleted == 1
    assert {run.run_id for run in instance.get_runs()} == {ended[1], running.run_id}
    assert instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.NOT_STARTED]))


def test_mlflow_runs_of_superseded_fits_are_archived_and_the_active_ones_stay(platform: Platform) -> None:
    from mlflow.entities import ViewType

    from forecast_platform.pipeline.tracking import Tracker

    tracker = Tracker(platform.settings)

    def runs(view: int) -> int:
        return len(tracker.client.search_runs([tracker.experiment_id], run_view_type=view))

    active = runs(ViewType.ACTIVE_ONLY)
    assert archive_superseded(platform.settings, platform.warehouse) == 0
    window = dt.date(2018, 1, 1)
    assert train(platform, "Alpha", "random_walk", [window], overwrite=True).written == {window}
    assert runs(ViewType.ACTIVE_ONLY) == active + 1
    assert archive_superseded(platform.settings, platform.warehouse) == 1
    assert archive_superseded(platform.settings, platform.warehouse) == 0
    assert (runs(ViewType.ACTIVE_ONLY), runs(ViewType.DELETED_ONLY)) == (active, 1)


def test_the_weekly_job_runs_its_parts_in_order_and_none_waits_for_anothers_success(platform: Platform) -> None:
    from dagster import ResourceDefinition

    from forecast_platform.graph.assets.maintenance import ORDER, maintenance_job, maintenance_schedule
    from forecast_platform.housekeeping.maintenance import maintain_part

    job = maintenance_job(maintain_part)
    settings = platform.settings.model_copy(update={"vacuum_hours": 1})
    broken_platform = Platform(settings, platform.warehouse)
    instance = Launcher(settings).instance
    done = job.execute_in_process(
        instance=instance,
        resources={"platform": ResourceDefinition.hardcoded_resource(broken_platform)},
        raise_on_error=False,
    )
    outcomes = [(event.step_key, event.event_type_value) for event in done.all_node_events if event.step_key]
    ended = {key: kind for key, kind in outcomes if kind in ("STEP_SUCCESS", "STEP_FAILURE")}
    assert list(ended) == list(ORDER)
    assert ended["vacuum"] == "STEP_FAILURE"
    assert [key for key, kind in ended.items() if kind == "STEP_SUCCESS"] == ["compact", "verify", "prune", "archive"]
    schedule = maintenance_schedule(settings, job)
    assert schedule.cron_schedule == "0 2 * * 0"
    assert schedule.execution_timezone == settings.timezone


def test_the_command_goes_on_after_a_part_that_fails_and_says_which(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecast_platform.cli.house import maintain

    broken = platform.settings.model_copy(update={"vacuum_hours": 1})
    assert not maintain(broken, argparse.Namespace())
    said = capsys.readouterr()
    assert "vacuum: FAILED: HousekeepingError: vacuum_hours = 1: at least 24" in said.err
    assert [line.split(":")[0] for line in said.out.splitlines() if "done in" in line] == [
        "compact",
        "verify",
        "prune",
        "archive",
    ]
    assert maintain(platform.settings, argparse.Namespace())
