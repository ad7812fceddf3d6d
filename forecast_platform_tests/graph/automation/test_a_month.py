"""The end of the simulated year by itself: a second series, a window's begin, a daemon's death, a day of two daemons, a
restart and a new version. The whole year takes half an hour: `python3 tasks.py year`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform_tests.graph.automation import year_rules
from forecast_platform_tests.graph.automation.simulated_year import Year
from forecast_platform_tests.graph.automation.simulation import memory_instance

pytestmark = pytest.mark.slow

FIRST, LAST = dt.date(2021, 12, 19), dt.date(2022, 1, 15)


def test_a_month_leaves_every_forecast_once(tmp_path: Path, landing: Path) -> None:
    year_rules.check_month(Year(tmp_path, landing, memory_instance, FIRST, LAST).go())
