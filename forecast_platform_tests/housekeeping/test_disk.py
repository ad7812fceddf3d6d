"""A disk that fills up stops writes cleanly: on a real small file system."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.warehouse.base import DiskFullError, keys_of
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.rows import distributions_table

pytestmark = pytest.mark.slow

DAY = dt.date(2020, 1, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("no mount command here")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


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
