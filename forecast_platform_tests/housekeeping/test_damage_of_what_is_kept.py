"""Damage in the tables that nothing else tells: it is named and left, and comes back from the journal or a backup."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.health import health
from forecast_platform.housekeeping.repair import repair
from forecast_platform.pipeline import champions
from forecast_platform.training_jobs.tables import TABLES as TABLES_OF_JOBS
from forecast_platform.warehouse.damage import examine
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    TABLES,
    TRAINED_MODELS,
)
from forecast_platform.work.platform import Platform
from forecast_platform_tests.housekeeping.test_repair import DAMAGES, THERE, _folder, _largest, _newest_entry

pytestmark = pytest.mark.slow

KEPT = (TRAINED_MODELS, DISTRIBUTIONS_ARCHIVE, CHAMPIONS)
ARCHIVED = dt.datetime(2018, 4, 1, tzinfo=dt.timezone.utc)


def test_each_table_s_damage_is_under_test() -> None:
    assert {*THERE, *KEPT, *TABLES_OF_JOBS} == set(TABLES)


@pytest.fixture
def kept(platform: Platform) -> DeltaWarehouse:
    """The tables of a platform that also has an archive and a champion."""
    warehouse = _folder(platform)
    champions.promote(platform, "Alpha", "naive", "v1.0", "a test", force=True)
    where = {"commodity": "Alpha", "model_name": "naive", "model_version": "v1.0", "forecast_month": "2018-03"}
    rows = warehouse.read(DISTRIBUTIONS, where=where)
    times = pa.array([ARCHIVED] * rows.num_rows, pa.timestamp("us", "UTC"))
    warehouse.replace(DISTRIBUTIONS_ARCHIVE, rows.append_column("archived_at", times), where)
    return warehouse


def _contents(platform: Platform) -> dict[str, pa.Table]:
    fresh = DeltaWarehouse(platform.settings.warehouse)
    return {
        table.name: fresh.read(table).sort_by([(name, "ascending") for name in table.key]).combine_chunks()
        for table in KEPT
    }


def test_a_damaged_file_is_named_and_left_and_comes_back_from_a_backup(
    platform: Platform, kept: DeltaWarehouse, tmp_path: Path
) -> None:
    backup(platform.settings, tmp_path / "copy")
    before = _contents(platform)
    for name, damage in DAMAGES.items():
        paths = [_largest(kept, table) for table in KEPT]
        for path in paths:
            damage(path)
        told = [str(one) for table in KEPT for one in examine(kept, table, deep=True)]
        assert [text.split(":")[0] for text in told] == [table.name for table in KEPT], name
        if name != "flipped":  # a look sees sizes, not bytes
            fact = next(fact for fact in health(platform.settings).facts if fact.name == "tables")
            assert fact.severity == "error"
            assert all(text in fact.text for text in told)
        done = repair(platform.settings, lambda text: None)
        assert len(done.failed) == len(KEPT), done.failed
        assert all("cannot be made again" in text for text in done.failed)
        assert all(path.is_file() == (name != "gone") for path in paths), "left as they are"
        assert not repair(platform.settings, lambda text: None, backup=tmp_path / "copy").failed
        assert _contents(platform) == before, name


def test_a_damaged_log_entry_comes_back_as_it_was(platform: Platform, kept: DeltaWarehouse) -> None:
    before = _contents(platform)
    for name in ("empty", "cut", "gone"):
        for table in KEPT:
            DAMAGES[name](_newest_entry(kept, table))
        assert all(examine(kept, table) for table in KEPT), name
        assert not repair(platform.settings, lambda text: None).failed
        assert _contents(platform) == before, name
