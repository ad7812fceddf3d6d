"""Prices that are published days after their session are on time when they come, and no window waits for more."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.housekeeping.health import health
from forecast_platform.pages.daily_page import daily_page
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_RUNS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.test_ticks import simulate
from forecast_platform_tests.worlds import write_landing

SATURDAY = dt.date(2017, 7, 1)
"""A window's first day. Five days after their session, closes up to that of Friday 23 June were seen before it."""


@pytest.mark.slow
def test_a_window_and_its_first_day_run_by_themselves_and_nothing_is_late(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing", last=dt.date(2017, 6, 26))
    simulation = simulate(tmp_path, SATURDAY, 9, publication_lag_days={"market": 5}, models=("naive",))
    simulation.until_quiet("new_data")
    simulation.until_quiet("train_missing_windows")
    assert simulation.until_quiet("daily_forecast") == "2017-07-01 is complete"
    assert [(key.split("/")[0], status) for _, key, status in simulation.runs] == [
        (step, "SUCCESS") for step in ("ingest", "train", "forecast", "score")
    ]
    platform = Platform.from_settings(simulation.settings)
    assert platform.series_table("Alpha").last_observed == dt.date(2017, 6, 28)
    where = {"commodity": "Alpha", "model_name": "naive", "path_id": 0}
    [paths] = platform.warehouse.read(DISTRIBUTIONS, ["last_observed_date", "staleness_days"], where).to_pylist()
    assert paths == {"last_observed_date": dt.date(2017, 6, 28), "staleness_days": 0}
    [signal] = platform.warehouse.read(FORECAST_RUNS).to_pylist()
    assert signal["status"] == "complete"
    assert daily_page(platform, health).address.endswith("daily_2017-07-01.html")
    facts = {fact.name: fact.text for fact in health(simulation.settings).facts if fact.severity == "good"}
    assert facts["data Alpha"] == "newest close 2017-06-28, due 2017-06-28"


def test_what_is_later_than_the_lag_is_late(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing", last=dt.date(2017, 6, 26))
    simulation = simulate(tmp_path, dt.date(2017, 7, 6), 12, publication_lag_days={"market": 5}, models=("naive",))
    simulation.until_quiet("new_data")
    facts = {fact.name: fact for fact in health(simulation.settings).facts}
    # Friday's close of 30 June was to be seen on Wednesday.
    assert "newest close 2017-07-01, due 2017-07-05: 4 days late" in facts["data Alpha, Beta"].text
    assert facts["data Alpha, Beta"].severity == "warning"
