"""A disk that fills up stops writes cleanly: on a real small file system."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.host.disk import full_disk
from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.backup import backup
from forecast_platform.pipeline.training import train
from forecast_platform.runs.launch import Launcher
from forecast_platform.settings import load
from forecast_platform.warehouse.base import DiskFullError, keys_of
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform
from forecast_platform.work.rows import distributions_table
from forecast_platform_tests.worlds import settings_for

pytestmark = pytest.mark.slow

DAY = dt.date(2020, 1, 1)


@contextmanager
def _disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size at `folder`, with what is there."""
    if not shutil.which("mount"):
        pytest.skip("no mount command here")
    aside = folder.with_name(f"{folder.name}.aside")
    if folder.exists():
        folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        if aside.exists():
            shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """Not a byte is free at `folder`."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        ballast.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with _disk(tmp_path / "disk", 3) as folder:
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
    with _filled(small_disk), pytest.raises(HousekeepingError, match="nothing is left of it: the disk is full") as full:
        backup(settings, small_disk / name)
    _told(str(full.value), small_disk)
    assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    assert backup(settings, small_disk / name).size > 0
    assert [path.name for path in small_disk.iterdir()] == [name]


def test_mlflow_without_room_costs_the_link_and_says_where_space_is_needed(root: Path) -> None:
    settings, window = settings_for(root), dt.date(2018, 1, 1)
    with _disk(settings.warehouse / "_mlflow", 20) as folder:
        with _filled(folder):
            outcome = train(Platform.from_settings(settings), "Alpha", "naive", [window], overwrite=True)
        assert outcome.written == {window}
        _told(outcome.notes[-1], folder)
        again = train(Platform.from_settings(settings), "Alpha", "naive", [window], overwrite=True)
        assert (again.written, again.notes) == ({window}, [])


def test_dagster_s_records_without_room_are_a_full_disk_and_no_damage(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls it a fault of the disk, and a backup in place of the records would lose the newest of them."""
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(root / "warehouse"))
    load.cache_clear()
    settings = settings_for(root)
    Launcher(settings).instance.get_runs()
    with _disk(settings.warehouse / "_dagster", 20) as folder:
        with _filled(folder), pytest.raises(Exception, match="disk") as full:
            Launcher(settings).instance.get_runs()
        said = full_disk(full.value)
        assert said is not None, full.value
        _told(said, folder)
        assert Launcher(settings).instance.get_runs() == []
    load.cache_clear()
