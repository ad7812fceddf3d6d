"""A disk that fills up stops writes cleanly: on a real small file system."""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deltalake.exceptions import DeltaError

from forecast_platform.host.databases import why_foreign
from forecast_platform.host.disk import full_disk
from forecast_platform.host.home import prepare_home
from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.migrate import migrate
from forecast_platform.housekeeping.restore import restore
from forecast_platform.pipeline.training import train
from forecast_platform.settings import build
from forecast_platform.warehouse.base import DiskFullError, WarehouseError, keys_of
from forecast_platform.warehouse.damage import examine
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS, Column
from forecast_platform.work.platform import Platform
from forecast_platform.work.rows import distributions_table
from forecast_platform_tests.small_disk import disk_at, filled, resize
from forecast_platform_tests.worlds import settings_for

pytestmark = pytest.mark.slow

DAY = dt.date(2020, 1, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_at(tmp_path / "disk", 3) as folder:
        yield folder


def _write(warehouse: DeltaWarehouse, day: dt.date) -> None:
    rng = np.random.default_rng(day.toordinal())
    rows = distributions_table(
        rng.normal(100, 5, (1, 2000, 14)).astype(np.float32),
        np.array([day], "datetime64[D]"),
        {},
        commodity="Coffee",
        model_name="naive",
        model_version="v1.0",
        training_cutoff_date=DAY - dt.timedelta(days=1),
        generation_timestamp=dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc),
        has_data_leakage=False,
        model_id="m",
        input_hash="h",
        algorithm_version=1,
        last_observed_date=day - dt.timedelta(days=1),
        staleness_days=0,
        is_backfill=True,
    )
    warehouse.replace(DISTRIBUTIONS, rows, keys_of("Coffee", "naive", "v1.0", [day], by_month=True))


def _fill(warehouse: DeltaWarehouse, written: list[dt.date]) -> None:
    """Write day after day, adding each to `written` once it is there."""
    for offset in range(200):
        day = DAY + dt.timedelta(days=offset % 28)
        _write(warehouse, day)
        written.append(day)


def test_a_disk_that_is_full_keeps_what_was_written_and_says_so(small_disk: Path) -> None:
    warehouse = DeltaWarehouse(small_disk)
    written: list[dt.date] = []
    with pytest.raises(DiskFullError, match="GB free"):
        _fill(warehouse, written)
    assert written
    fresh = DeltaWarehouse(small_disk)
    assert set(fresh.read(DISTRIBUTIONS, ["forecast_date"])["forecast_date"].to_pylist()) == set(written)
    assert fresh.rows(DISTRIBUTIONS) == 2000 * len(set(written))


def test_writes_stop_before_the_disk_is_full(small_disk: Path) -> None:
    warehouse = DeltaWarehouse(small_disk, min_free_gb=0.002)
    with pytest.raises(DiskFullError, match=r"would leave less than 0\.002 GB"):
        _fill(warehouse, [])
    assert shutil.disk_usage(small_disk).free > 1.5e6


def _told(text: str, folder: Path) -> None:
    assert "\n" not in text
    assert f" free at {folder}: free some space there, then run the same command again" in text


@pytest.mark.parametrize("name", ["saved", "saved.tar"])
def test_a_backup_that_finds_no_room_says_where_and_is_made_once_there_is(
    root: Path, small_disk: Path, name: str
) -> None:
    settings = settings_for(root)
    with filled(small_disk), pytest.raises(HousekeepingError, match="nothing is left of it: the disk is full") as full:
        backup(settings, small_disk / name)
    _told(str(full.value), small_disk)
    assert list(small_disk.iterdir()) == []
    resize(small_disk, 100_000_000)
    assert backup(settings, small_disk / name).size > 0
    assert [path.name for path in small_disk.iterdir()] == [name]


@pytest.mark.parametrize(("share", "said"), [(0.5, "free some space first"), (1.06, "the disk is full")])
def test_a_restore_that_finds_no_room_changes_nothing_and_is_made_once_there_is(
    root: Path, tmp_path: Path, share: float, said: str
) -> None:
    """The second has room for the bytes, as was looked first, and not for what a file system adds to each file."""
    settings = settings_for(root)
    saved = backup(settings, tmp_path / "saved")
    rows = DeltaWarehouse(settings.warehouse).read(POINT_FORECASTS)
    with disk_at(root, 500) as folder:
        resize(folder, shutil.disk_usage(folder).used + int(share * saved.size))
        before = sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")
        with pytest.raises(HousekeepingError, match=said) as full:
            restore(settings, tmp_path / "saved", force=True)
        assert str(folder) in str(full.value)
        assert "\n" not in str(full.value)
        assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == before
        assert DeltaWarehouse(settings.warehouse).read(POINT_FORECASTS).equals(rows)
        resize(folder, 500_000_000)
        assert len(restore(settings, tmp_path / "saved", force=True).kept) == 1
        assert DeltaWarehouse(settings.warehouse).rows(POINT_FORECASTS) == rows.num_rows


def test_a_migration_that_finds_no_room_keeps_the_tables_and_is_made_once_there_is(root: Path) -> None:
    settings = settings_for(root)
    newer = replace(POINT_FORECASTS, columns=(*POINT_FORECASTS.columns, Column("note", "string", "A remark.")))
    with disk_at(settings.warehouse, 300) as folder:
        warehouse = Platform.from_settings(settings).warehouse
        rows = warehouse.read(POINT_FORECASTS)
        with filled(folder), pytest.raises((OSError, WarehouseError, DeltaError)) as full:
            migrate(warehouse, [newer])
        told = full_disk(full.value, folder)
        assert told is not None
        _told(told, folder)
        assert DeltaWarehouse(folder).read(POINT_FORECASTS).equals(rows)
        assert migrate(warehouse, [newer]) == 1
        assert DeltaWarehouse(folder).read(newer).drop_columns(["note"]).num_rows == rows.num_rows
        assert not examine(DeltaWarehouse(folder), POINT_FORECASTS, deep=True)


def test_a_home_that_finds_no_room_is_a_full_disk_and_no_wrong_folder(small_disk: Path) -> None:
    settings = build(source="sample", warehouse=small_disk / "warehouse")
    with filled(small_disk), pytest.raises(OSError, match="No space left") as full:
        prepare_home(settings)
    told = full_disk(full.value, small_disk)
    assert told is not None
    _told(told, small_disk)


def test_mlflow_without_room_costs_the_link_and_says_where_space_is_needed(root: Path) -> None:
    settings, window = settings_for(root), dt.date(2018, 1, 1)
    with disk_at(settings.warehouse / "_mlflow", 20) as folder:
        with filled(folder):
            outcome = train(Platform.from_settings(settings), "Alpha", "naive", [window], overwrite=True)
        assert outcome.written == {window}
        _told(outcome.notes[-1], folder)
        again = train(Platform.from_settings(settings), "Alpha", "naive", [window], overwrite=True)
        assert (again.written, again.notes) == ({window}, [])


def test_records_without_room_are_a_full_disk_and_no_damage(small_disk: Path) -> None:
    """SQLite calls it a fault of the disk; a backup in the place of the records would lose the newest of them."""
    path = small_disk / "runs.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE runs (body TEXT)")
    with filled(small_disk):
        assert why_foreign(path, "runs", records=True) is None
        with closing(sqlite3.connect(path)) as store, pytest.raises(sqlite3.OperationalError, match="disk") as full:
            store.execute("SELECT * FROM runs")
        said = full_disk(full.value, small_disk)
        assert said is not None
        _told(said, small_disk)
    assert why_foreign(path, "runs", records=True) is None
