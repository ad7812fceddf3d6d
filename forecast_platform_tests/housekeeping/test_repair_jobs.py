"""Damage in the tables of training jobs' results: rows come again from the jobs' folders, or are left and named."""

from __future__ import annotations

import datetime as dt
import shutil
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from forecast_platform.housekeeping.repair import repair
from forecast_platform.settings import Settings, build
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.tables import TABLES
from forecast_platform.warehouse.damage import examine
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TRAINING_JOB_LEADERBOARDS, Table
from forecast_platform_tests.housekeeping.test_repair import DAMAGES, _largest, _newest_entry
from forecast_platform_tests.training_jobs.tables import write_results_of_a_job

DAYS = (dt.datetime(2026, 3, 1, 9, tzinfo=dt.timezone.utc), dt.datetime(2026, 3, 2, 9, tzinfo=dt.timezone.utc))


def _same(day: dt.datetime) -> dt.datetime:
    return day


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A warehouse with the results of two jobs of one day and of one of the next."""
    settings = build(warehouse=tmp_path / "warehouse")
    for day in (DAYS[0], *DAYS):
        write_results_of_a_job(settings.with_clock(partial(_same, day)), DeltaWarehouse(settings.warehouse))
    return settings


def contents(settings: Settings) -> dict[str, pa.Table]:
    warehouse = DeltaWarehouse(settings.warehouse)
    return {
        table.name: warehouse.read(table).sort_by([(name, "ascending") for name in table.key]).combine_chunks()
        for table in TABLES
    }


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_rows_of_a_damaged_file_come_again_from_the_job_s_folder(settings: Settings, damage: str) -> None:
    before = contents(settings)
    for table in TABLES:
        DAMAGES[damage](_largest(DeltaWarehouse(settings.warehouse), table))
    told: list[str] = []
    done = repair(settings, told.append)
    assert not done.failed
    assert len(done.lost) == len(TABLES)
    assert contents(settings) == before
    assert any("from their folders" in text for text in told)
    assert not any(examine(DeltaWarehouse(settings.warehouse), table, deep=True) for table in TABLES)


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_a_commit_that_a_power_loss_left_empty_is_made_again(settings: Settings, table: Table) -> None:
    before = contents(settings)
    warehouse = DeltaWarehouse(settings.warehouse)
    entry = _newest_entry(warehouse, table)
    entry.write_bytes(b"")
    (warehouse.journal.folder(table.name) / entry.name).unlink()
    assert not repair(settings, lambda text: None).failed
    assert contents(settings) == before


def test_a_log_entry_comes_back_as_it_was(settings: Settings) -> None:
    before = contents(settings)
    for table in TABLES:
        DAMAGES["cut"](_newest_entry(DeltaWarehouse(settings.warehouse), table))
    assert not repair(settings, lambda text: None).failed
    assert contents(settings) == before


def test_a_file_is_left_and_named_where_a_job_of_its_day_has_lost_its_results(settings: Settings) -> None:
    store, warehouse = JobStore(settings), DeltaWarehouse(settings.warehouse)
    for job in store.submitted_on():
        shutil.rmtree(store.job_folder(job.job_id))
    path = _largest(warehouse, TRAINING_JOB_LEADERBOARDS)
    DAMAGES["cut"](path)
    done = repair(settings, lambda text: None)
    [failed] = done.failed
    assert path.name in failed
    assert "cannot be made again" in failed
    assert path.is_file()
