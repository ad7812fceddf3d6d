"""What only the embedded warehouse has: a disk that can be full; and the helpers of the keys."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.warehouse.base import DiskFullError, months_between
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform_tests.warehouse.implementations import days, metadata, where


def test_a_disk_without_room_stops_the_write_and_says_so(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path, min_free_gb=1e9)
    with pytest.raises(DiskFullError, match="min_free_gb"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    assert warehouse.version(FORECAST_METADATA) is None


def test_months_between_names_every_month_touched() -> None:
    assert months_between(dt.date(2019, 11, 30), dt.date(2020, 2, 1)) == ["2019-11", "2019-12", "2020-01", "2020-02"]
