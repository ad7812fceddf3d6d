"""What must hold after any stretch of the simulated year, whatever keeps Dagster's records."""

from __future__ import annotations

import datetime as dt
from collections import Counter

from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    FORECAST_RUNS,
    POINT_FORECASTS,
)
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.simulated_year import (
    DAY,
    JOINED,
    MODELS,
    TWO_DAEMONS,
    VERSION,
    ZONE,
    Year,
)

Key = tuple[str, str, str]

CATCH_UP = 13 * DAY
"""What a new series or version is given of the days before: `catch_up_days` with the day itself."""


def followed(platform: Platform) -> dict[str, str]:
    """By series, the model that readers follow under v1.0, which goes on after the version has changed."""
    rows = platform.warehouse.read(CHAMPIONS, ["commodity", "model_name", "model_version"]).to_pylist()
    return {row["commodity"]: row["model_name"] for row in rows if row["model_version"] == "v1.0"}


def expected_keys(year: Year, first: dt.date) -> dict[Key, list[dt.date]]:
    """The dates that each series, model and version has a forecast of: Coffee's from `first` on, the second series' and
    the new version's from when they came, and what it caught up; the old version's on for the models that readers of
    any series follow: one run makes them of all series."""
    champions = set(followed(Platform.from_settings(year.settings)).values())
    found = {}
    for series, begin in (("Coffee", first), ("London", JOINED - CATCH_UP)):
        for model in MODELS:
            end = year.last if model in champions else min(VERSION - DAY, year.last)
            found[series, model, "v1.0"] = _span(begin, end)
            found[series, model, "v1.1"] = _span(VERSION - CATCH_UP, year.last)
    return found


def _span(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + n * DAY for n in range((last - first).days + 1)]


def check_one_forecast_each(year: Year, first: dt.date) -> None:
    """Every date due has exactly one forecast of 100 paths a series, model and version, with its points."""
    platform = Platform.from_settings(year.settings)
    key = ["commodity", "model_name", "model_version", "forecast_date"]
    paths = platform.warehouse.read(DISTRIBUTIONS, key).to_pylist()
    points = platform.warehouse.read(POINT_FORECASTS, key, {"day_ahead": 14}).to_pylist()
    counts = Counter(tuple(row[name] for name in key) for row in paths if row["model_name"] != "actuals")
    assert set(counts.values()) == {100}
    wanted = {(*each, day) for each, days in expected_keys(year, first).items() for day in days}
    assert set(counts) == wanted
    assert Counter(tuple(row[name] for name in key) for row in points) == Counter(dict.fromkeys(wanted, 1))


def check_two_daemons(year: Year) -> None:
    """Both ran all of that day's runs, and the second wrote nothing: no forecast that was live was replaced."""
    platform = Platform.from_settings(year.settings)
    day = [(key, status) for at, key, status in year.sim.runs if at.astimezone(ZONE).date() == TWO_DAEMONS and key]
    assert {step for step, _, _ in (key.partition("/") for key, _ in day)} == {"ingest", "forecast", "score"}
    assert set(Counter(day).values()) == {2}
    where = {"forecast_date": TWO_DAEMONS, "model_version": "v1.0"}
    made = platform.warehouse.read(
        DISTRIBUTIONS, ["commodity", "model_name", "generation_timestamp"], where
    ).to_pylist()
    assert set(Counter(tuple(row.values()) for row in made).values()) == {100}, "each made at one time"
    assert len(made) == 100 * len(MODELS) * 2
    replaced = platform.warehouse.read(DISTRIBUTIONS_ARCHIVE, ["forecast_date"])["forecast_date"].to_pylist()
    assert TWO_DAEMONS not in replaced


def check_runs(year: Year) -> None:
    """The same data never run twice but on the day of two daemons; restarts and a daemon's death repeat nothing."""
    good = Counter(
        key
        for at, key, status in year.sim.runs
        if status == "SUCCESS" and key and at.astimezone(ZONE).date() != TWO_DAEMONS
    )
    assert max(good.values()) == 1


def check_ready(year: Year, first: dt.date) -> None:
    """The ready signal is there for every date, and complete unless its data were late."""
    rows = Platform.from_settings(year.settings).warehouse.read(FORECAST_RUNS, ["forecast_date", "status"]).to_pylist()
    assert sorted(row["forecast_date"] for row in rows) == _span(first, year.last)
    assert {row["status"] for row in rows} <= {"complete", "late"}


def check_month(year: Year) -> None:
    """The end of the year by itself: one forecast each, no run twice, every day ready, and no alert but of checks."""
    begin = year.first - CATCH_UP
    check_one_forecast_each(year, begin)
    check_two_daemons(year)
    check_runs(year)
    check_ready(year, begin)
    told = [message.problem.key for message in year.sim.recorder.messages]
    assert [key for key in told if not key.startswith("check/")] == []
