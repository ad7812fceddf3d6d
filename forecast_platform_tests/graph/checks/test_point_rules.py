"""Rules of point forecasts, coverage of dates, timeliness and calibration, each broken on purpose."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from forecast_platform.graph.checks import point_rules as rules
from forecast_platform.graph.checks.findings import Target

TARGET = Target("Coffee", "xgboost", "v1.0", "v1.0")
DAYS = np.arange("2022-01-01", "2022-01-04", dtype="datetime64[D]")


def _points(n: int = 42) -> dict[str, np.ndarray]:
    values = {"lower_95": 80, "lower_80": 90, "forecast_median": 100, "upper_80": 110, "upper_95": 120}
    values |= {"forecast_mean": 100, "forecast_std": 10}
    return {name: np.full(n, float(value)) for name, value in values.items()}


@pytest.mark.parametrize(
    ("name", "value"), [("lower_80", 101.0), ("upper_95", np.nan), ("forecast_std", -1.0), ("forecast_mean", np.inf)]
)
def test_quantiles_out_of_order_are_named(name: str, value: float) -> None:
    dates = np.repeat(DAYS, 14)
    assert rules.ordered_quantiles(TARGET, dates, _points()).passed
    wrong = _points()
    wrong[name][20] = value
    found = rules.ordered_quantiles(TARGET, dates, wrong)
    assert not found.passed
    assert "2022-01-02" in found.text
    assert "--overwrite" in found.text


def test_a_date_with_other_than_fourteen_days_is_named() -> None:
    dates = np.repeat(DAYS, 14)[:-1]
    found = rules.ordered_quantiles(TARGET, dates, _points(41))
    assert "not 14 days: 2022-01-03" in found.text


def test_statistics_that_are_not_those_of_the_paths_are_named() -> None:
    paths = {name: values.reshape(3, 14) for name, values in _points().items()}
    stored = {name: values * (1 + 1e-9) for name, values in paths.items()}
    assert rules.agrees_with_paths(TARGET, DAYS, stored, paths).passed
    stored["upper_80"][1, 13] += 0.01
    found = rules.agrees_with_paths(TARGET, DAYS, stored, paths)
    assert "statistics of 1 of 3 sampled dates are not those of the paths: 2022-01-02" in found.text


def test_a_date_without_a_forecast_is_named_with_the_command_that_makes_it() -> None:
    there = np.arange("2022-01-01", "2022-01-11", dtype="datetime64[D]")
    assert rules.date_gaps(TARGET, there, dt.date(2022, 1, 10)).passed
    found = rules.date_gaps(TARGET, np.delete(there, [3, 4]), dt.date(2022, 1, 11))
    assert found.severity == "warning"
    assert "3 dates have no forecast: 2022-01-04 to 2022-01-05, 2022-01-11" in found.text
    assert "--start-date 2022-01-04 --end-date 2022-01-11`" in found.text
    assert "there are no forecasts" in rules.date_gaps(TARGET, there[:0], dt.date(2022, 1, 11)).text


def test_todays_forecast_is_due_at_the_deadline_and_not_before() -> None:
    deadline = dt.datetime(2022, 1, 10, 11, tzinfo=dt.timezone.utc)
    early, late = deadline - dt.timedelta(minutes=1), deadline
    yesterday = dt.date(2022, 1, 9)
    assert rules.fresh(TARGET, yesterday, early, deadline, None, None).passed
    assert rules.fresh(TARGET, dt.date(2022, 1, 10), late, deadline, None, None).passed
    found = rules.fresh(TARGET, yesterday, late, deadline, None, None)
    assert found.severity == "error"
    assert "no forecast for 2022-01-10, due by 11:00; the newest is for 2022-01-09" in found.text
    assert "forecast-platform backfill --commodity Coffee --models xgboost --start-date 2022-01-10" in found.text
    stale = rules.fresh(TARGET, yesterday, late, deadline, None, "the newest close is of 2021-12-01")
    assert stale.severity == "warning"
    assert "2021-12-01" in stale.text
    assert rules.fresh(TARGET, None, late, deadline, dt.date(2019, 1, 4), None).passed


def _scores(n: int, inside_80: float, inside_95: float, pit: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    share = {80: inside_80, 95: inside_95}
    drawn = {f"coverage_{level}_1d": (rng.random(n) < part).astype(float) for level, part in share.items()}
    drawn |= {f"coverage_{level}_14d": rng.binomial(10, part, n) / 10 for level, part in share.items()}
    return {**drawn, "pit": pit}


def test_calibrated_forecasts_pass_and_too_few_say_nothing() -> None:
    uniform = np.random.default_rng(6).random(65)
    assert rules.calibration(TARGET, _scores(65, 0.8, 0.95, uniform), "14d", 10).passed
    assert rules.calibration(TARGET, _scores(20, 0.1, 0.1, uniform[:20]), "14d", 10).passed


@pytest.mark.parametrize(
    ("inside", "pit", "words"),
    [
        ((0.5, 0.7), np.random.default_rng(6).random(65), "the 80 % band of 1d held"),
        ((1.0, 1.0), np.random.default_rng(6).random(65), "the 80 % band of 1d held 100 %"),
        ((0.8, 0.95), 0.7 + 0.3 * np.random.default_rng(6).random(65), "forecasts are too low"),
        ((0.8, 0.95), 0.3 * np.random.default_rng(6).random(65), "forecasts are too high"),
        ((0.8, 0.95), np.random.default_rng(6).random(65).round(), "forecasts are too narrow"),
        ((0.8, 0.95), 0.45 + 0.1 * np.random.default_rng(6).random(65), "forecasts are too wide"),
    ],
)
def test_bands_and_pit_that_do_not_hold_what_they_promise_are_named(
    inside: tuple[float, float], pit: np.ndarray, words: str
) -> None:
    found = rules.calibration(TARGET, _scores(65, *inside, pit), "14d", 10)
    assert not found.passed
    assert found.severity == "warning"
    assert words in found.text
    assert "forecast-platform evaluate --commodity Coffee" in found.text
