"""A year and three weeks by themselves, over real coffee prices, with everything that goes wrong in a year."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.fits import trained_windows
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation import year_rules
from forecast_platform_tests.graph.automation.simulated_year import (
    DAY,
    FIRST,
    LAST,
    MODELS,
    NOTICED,
    OFF,
    OUTAGES,
    REVISED,
    ZONE,
    Year,
)
from forecast_platform_tests.graph.automation.simulation import memory_instance

pytestmark = [pytest.mark.slow, pytest.mark.year]

BEGIN = dt.date(2021, 1, 1)
"""The first date that is forecast: the machine was started three days later."""


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory, landing: Path) -> Year:
    return Year(tmp_path_factory.mktemp("year"), landing, memory_instance, FIRST, LAST).go()


@pytest.fixture(scope="module")
def platform(year: Year) -> Platform:
    return Platform.from_settings(year.settings)


def test_every_date_has_exactly_one_forecast_a_series_model_and_version(year: Year) -> None:
    year_rules.check_one_forecast_each(year, BEGIN)


def test_a_day_of_two_daemons_is_a_day_like_others(year: Year) -> None:
    year_rules.check_two_daemons(year)


@pytest.mark.parametrize("model", MODELS)
def test_no_forecast_knows_more_than_had_landed_when_it_was_made(year: Year, platform: Platform, model: str) -> None:
    columns = ["forecast_date", "last_observed_date", "generation_timestamp", "staleness_days", "is_backfill"]
    where = {"commodity": "Coffee", "model_name": model, "path_id": 0}
    rows = platform.warehouse.read(DISTRIBUTIONS, columns, where).to_pylist()
    for row in rows:
        assert row["last_observed_date"] < row["forecast_date"], row
        made = row["generation_timestamp"].astimezone(ZONE)
        assert made.date() >= row["forecast_date"]
        assert row["is_backfill"] == (made.date() > row["forecast_date"])
        held = [first for first, until in OUTAGES.values() if first < made.date() and made < until]
        assert row["last_observed_date"] < min([made.date(), *held]), row
    late = {row["forecast_date"]: row["staleness_days"] for row in rows if row["staleness_days"]}
    # What was published from old data stays as it was; within the limit only, and noted.
    assert set(late) <= {dt.date(2021, 5, n) for n in range(12, 21)} | {dt.date(2021, 11, 6)}
    assert max(late.values()) <= year.settings.max_staleness_days
    assert late[dt.date(2021, 11, 6)] == 1


def test_every_window_has_a_model(platform: Platform) -> None:
    windows = {dt.date(2021, 1, 1), dt.date(2021, 7, 1), dt.date(2022, 1, 1)}
    # Of the series that joined in December, and of the version that came in January, the newest two windows by then
    # (catch_up_windows), and those that began later.
    for series, version, wanted in (
        ("Coffee", "v1.0", windows),
        ("London", "v1.0", windows),
        ("Coffee", "v1.1", windows - {BEGIN}),
        ("London", "v1.1", windows - {BEGIN}),
    ):
        assert all(trained_windows(platform, series, model, version) == wanted for model in MODELS), (series, version)


def test_forecasts_are_live_but_for_the_days_that_could_not_be(platform: Platform) -> None:
    rows = platform.warehouse.read(
        DISTRIBUTIONS,
        ["forecast_date", "is_backfill"],
        {"model_name": "naive", "model_version": "v1.0", "path_id": 0, "commodity": "Coffee"},
    )
    late = {row["forecast_date"] for row in rows.to_pylist() if row["is_backfill"]}
    expected = {dt.date(2021, 1, n) for n in (1, 2, 3)} | {OFF[0] + n * DAY for n in range(3)}
    # The last close is of Monday 10 May: on the 17th the last session due, Friday's, is four days newer; on the 18th
    # it is seven.
    expected |= {dt.date(2021, 5, n) for n in (18, 19)}
    # From the day it was noticed, forecasts rest on the revised price and need no refreshing.
    refreshed = {REVISED + n * DAY for n in range(1, (NOTICED - REVISED).days)}
    assert expected | refreshed == late


def test_scores_follow_the_actuals(platform: Platform) -> None:
    from forecast_platform.pages.display import metadata_frame

    frame = metadata_frame(platform, "Coffee")
    whole = frame[frame.forecast_date.astype(str) <= str(LAST - 14 * DAY)]
    assert (whole.actuals_available == 14).all()
    assert np.isfinite(whole.crps_14d).all()


def test_actuals_are_there_for_every_date_and_whole_once_its_days_are_over(platform: Platform) -> None:
    where = {"model_name": "actuals", "commodity": "Coffee"}
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "day_14"], where).to_pylist()
    assert sorted(row["forecast_date"] for row in rows) == [BEGIN + n * DAY for n in range((LAST - BEGIN).days + 1)]
    incomplete = {row["forecast_date"] for row in rows if row["day_14"] is None}
    assert incomplete == {LAST - n * DAY for n in range(14)}


def test_the_same_data_never_run_twice(year: Year) -> None:
    year_rules.check_runs(year)
    steps = Counter(key.split("/")[0] for _, key, _ in year.sim.runs)
    days = (LAST - FIRST).days + 1
    assert steps["forecast"] <= days + 25


def test_ready_signal_is_there_for_every_date(year: Year) -> None:
    year_rules.check_ready(year, BEGIN)


def test_alerts_are_exactly_where_they_should_be(year: Year) -> None:
    told = [
        (message.problem.key.split("/")[0], "over" if message.resolved else "open", _day_of(message.at))
        for message in year.sim.recorder.messages
        if not message.problem.key.startswith("check/")
    ]
    day = dt.date
    expected = [
        # the close of 10 March comes after the deadline
        ("late", "open", day(2021, 3, 11)),
        ("late", "over", day(2021, 3, 11)),
        # an outage longer than max_staleness_days: forecasts from old data, then none, which is told as worse
        ("late", "open", day(2021, 5, 12)),
        ("late", "open", day(2021, 5, 18)),
        ("late", "over", day(2021, 5, 20)),
        # the last close before a window is late: no model, so no forecast until it comes
        ("late", "open", day(2021, 7, 1)),
        ("run", "open", day(2021, 7, 1)),
        ("missing", "open", day(2021, 7, 1)),
        ("late", "over", day(2021, 7, 1)),
        ("missing", "over", day(2021, 7, 1)),
        ("run", "over", day(2021, 7, 1)),
        # the machine was off
        ("schedule", "open", day(2021, 8, 13)),
        ("schedule", "over", day(2021, 8, 13)),
        # a price of 1 September is revised; the operator refreshes what came of it
        ("revised", "open", day(2021, 9, 15)),
        ("revised", "over", day(2021, 9, 17)),
        # the worker dies in the middle of a run
        ("run", "open", day(2021, 10, 20)),
        ("run", "over", day(2021, 10, 20)),
        # Friday's close comes on Sunday
        ("late", "open", day(2021, 11, 6)),
        ("late", "over", day(2021, 11, 7)),
    ]
    assert sorted(told) == sorted(expected)


def _day_of(stamp: str) -> dt.date:
    return dt.datetime.fromisoformat(stamp).astimezone(ZONE).date()
