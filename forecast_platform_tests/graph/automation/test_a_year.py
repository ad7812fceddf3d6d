"""Four hundred days by themselves, over real coffee prices, with everything that goes wrong in a year."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecast_platform.graph.keys import FORECAST, Keys
from forecast_platform.settings import build
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_RUNS, POINT_FORECASTS
from forecast_platform.work.fits import trained_windows
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.simulation import Landing, Simulation, memory_instance

pytestmark = [pytest.mark.slow, pytest.mark.year]

ZONE = ZoneInfo("America/Los_Angeles")
MODELS = ("naive", "random_walk")
FIRST, LAST = dt.date(2021, 1, 4), dt.date(2022, 2, 7)
FILES = ("market/coffee.csv", "macro.csv")
DAY = dt.timedelta(days=1)


def _at(year: int, month: int, day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, tzinfo=ZONE)


OUTAGES = {
    "past the deadline": (dt.date(2021, 3, 10), _at(2021, 3, 11, 14)),
    "before the deadline": (dt.date(2021, 4, 14), _at(2021, 4, 15, 9, 30)),
    "beyond the staleness limit": (dt.date(2021, 5, 11), _at(2021, 5, 20, 4)),
    "on a half-year boundary": (dt.date(2021, 6, 30), _at(2021, 7, 1, 14)),
    "over the end of daylight saving": (dt.date(2021, 11, 5), _at(2021, 11, 7, 9, 30)),
}
"""First session that is held back, and until when."""

REVISED, NOTICED, REFRESHED = dt.date(2021, 9, 1), dt.date(2021, 9, 15), dt.date(2021, 9, 17)
CRASHED = dt.date(2021, 10, 20)
OFF = (dt.date(2021, 8, 10), dt.date(2021, 8, 12))
"""The machine is off on these days, and comes back on the next at 09:00."""

SPECIAL = {
    *(first + n * DAY for first, until in OUTAGES.values() for n in range((until.date() - first).days + 2)),
    NOTICED,
    REFRESHED,
    REFRESHED + DAY,
    CRASHED,
    OFF[1] + DAY,
    dt.date(2022, 1, 1),
}


def _days() -> Iterator[dt.date]:
    return (FIRST + n * DAY for n in range((LAST - FIRST).days + 1))


class Year:
    """The year's events over one simulation."""

    def __init__(self, root: Path, landing: Path) -> None:
        self.landing = Landing(root / "landing", landing, "2020-01-01", FILES)
        start = _at(2021, 1, 4, 0, 5)
        for name in FILES:
            self.landing.land(name, dt.date(2020, 12, 31), start - dt.timedelta(hours=1))
        self.settings = build(
            source="landing",
            landing=root / "landing",
            warehouse=root / "warehouse",
            models=MODELS,
            n_paths=100,
            lookback_years=1,
            start_date=dt.date(2021, 1, 1),
            series=[{"name": "Coffee", "regions": []}],
            notifiers=("recorder",),
            min_free_gb=0,
        )
        self.sim = Simulation(self.settings, memory_instance(root / "dagster"), start.astimezone(dt.timezone.utc))
        self.landed = dt.date(2020, 12, 31)

    def deliver(self, day: dt.date, hour: int, minute: int = 0) -> None:
        """The feed brings what it has at this time."""
        self.sim.local(day, hour, minute)
        now = self.sim.clock.at
        newest = day - DAY
        for first, until in OUTAGES.values():
            if now < until:
                newest = min(newest, first - DAY)
        if newest != self.landed or day == NOTICED:
            self.landed = newest
            for name in FILES:
                self.landing.land(name, newest, now)

    def run(self, day: dt.date) -> None:
        sim = self.sim
        if OFF[0] <= day <= OFF[1]:
            return
        if day == OFF[1] + DAY:
            self.come_back(day)
            return
        if sim.settings.start_date < day and day.day == 1 and day.month in (1, 7):
            sim.local(day, 0)
            assert sim.schedule("training") == (
                [],
                f"window {day}: waits for the close of Coffee of {day - DAY} (newest {day - 2 * DAY})",
            )
        if day == NOTICED:
            self.landing.revise("market/coffee.csv", REVISED, lambda row: [*row[:4], str(float(row[4]) + 3), *row[5:]])
        self.deliver(day, 5)
        sim.local(day, 5, 0, 5)
        sim.sensor("new_data")
        sim.local(day, 5, 1)
        sim.until_quiet("new_data")
        if day in SPECIAL:
            sim.until_quiet("train_missing_windows")
        if day == CRASHED:
            sim.crash_next = "forecast"
        sim.local(day, 8)
        sim.schedule("daily")
        sim.local(day, 8, 2)
        sim.until_quiet("daily_forecast")
        sim.until_quiet("alerts")
        if day in SPECIAL:
            self.long_day(day)

    def long_day(self, day: dt.date) -> None:
        """Looks through the rest of the day."""
        sim = self.sim
        for hour, minute in ((8, 20), (9, 31), (11, 1), (11, 20), (14, 1), (16, 0), (23, 50)):
            self.deliver(day, hour, minute)
            sim.clock.at += dt.timedelta(seconds=25)
            sim.sensor("new_data")
            sim.clock.at += dt.timedelta(seconds=25)
            sim.tick_all()
            if day == REFRESHED and hour == 9:
                keys = Keys().of_job(FORECAST, MODELS, actuals=False)
                sim.command("forecast", keys, REVISED - 12 * DAY, day, ("Coffee",))

    def come_back(self, day: dt.date) -> None:
        """The machine comes back: the daemon makes up the missed tick, the sensors the missed days."""
        sim = self.sim
        self.deliver(day, 9)
        sim.local(day, 9, 1)
        sim.sensor("alerts")
        sim.sensor("new_data")
        sim.schedule("daily", due=_at(day.year, day.month, day.day, 8))
        sim.local(day, 9, 5)
        sim.tick_all()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory, landing: Path) -> Year:
    found = Year(tmp_path_factory.mktemp("year"), landing)
    found.sim.tick_all()
    for day in _days():
        found.run(day)
    return found


@pytest.fixture(scope="module")
def platform(year: Year) -> Platform:
    return Platform.from_settings(year.sim.settings)


def _expected_dates() -> list[dt.date]:
    first = dt.date(2021, 1, 1)
    return [first + n * DAY for n in range((LAST - first).days + 1)]


@pytest.mark.parametrize("model", MODELS)
def test_every_date_has_exactly_one_forecast_per_model(platform: Platform, model: str) -> None:
    points = platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], {"model_name": model, "day_ahead": 14})
    paths = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "path_id"], {"model_name": model})
    assert sorted(points["forecast_date"].to_pylist()) == _expected_dates()
    counts = Counter(paths["forecast_date"].to_pylist())
    assert sorted(counts) == _expected_dates()
    assert set(counts.values()) == {100}


@pytest.mark.parametrize("model", MODELS)
def test_no_forecast_knows_more_than_had_landed_when_it_was_made(year: Year, platform: Platform, model: str) -> None:
    columns = ["forecast_date", "last_observed_date", "generation_timestamp", "staleness_days", "is_backfill"]
    rows = platform.warehouse.read(DISTRIBUTIONS, columns, {"model_name": model, "path_id": 0}).to_pylist()
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
    assert all(trained_windows(platform, "Coffee", model, "v1.0") == windows for model in MODELS)


def test_forecasts_are_live_but_for_the_days_that_could_not_be(platform: Platform) -> None:
    rows = platform.warehouse.read(
        DISTRIBUTIONS, ["forecast_date", "is_backfill"], {"model_name": "naive", "path_id": 0}
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
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "day_14"], {"model_name": "actuals"}).to_pylist()
    assert sorted(row["forecast_date"] for row in rows) == _expected_dates()
    incomplete = {row["forecast_date"] for row in rows if row["day_14"] is None}
    assert incomplete == {LAST - n * DAY for n in range(14)}


def test_the_same_data_never_run_twice(year: Year) -> None:
    good = Counter(key for _, key, status in year.sim.runs if status == "SUCCESS" and key)
    assert max(good.values()) == 1
    steps = Counter(key.split("/")[0] for _, key, _ in year.sim.runs)
    days = (LAST - FIRST).days + 1
    assert steps["forecast"] <= days + 20
    assert steps["train"] == 3


def test_ready_signal_is_there_for_every_date(platform: Platform) -> None:
    rows = platform.warehouse.read(FORECAST_RUNS, ["forecast_date", "status"]).to_pylist()
    assert sorted(row["forecast_date"] for row in rows) == _expected_dates()
    assert {row["status"] for row in rows} <= {"complete", "late"}


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
        # an outage longer than max_staleness_days: forecasts from old data, then none
        ("late", "open", day(2021, 5, 12)),
        ("run", "open", day(2021, 5, 18)),
        ("missing", "open", day(2021, 5, 18)),
        ("late", "over", day(2021, 5, 20)),
        ("missing", "over", day(2021, 5, 20)),
        ("run", "over", day(2021, 5, 20)),
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
    assert Counter(told) == Counter(expected)


def _day_of(stamp: str) -> dt.date:
    return dt.datetime.fromisoformat(stamp).astimezone(ZONE).date()
