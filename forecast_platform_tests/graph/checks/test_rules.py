"""Each rule holds of good data, and broken on purpose says what is wrong and what to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates
from forecast_platform.graph.checks import rules
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.path_figures import PathFigures, joined, path_figures
from forecast_platform.host.finding import Finding

TARGET = Target("Coffee", "xgboost", "v1.0", "v1.0")
DAYS = np.arange("2022-01-01", "2022-01-11", dtype="datetime64[D]")
ONE = np.timedelta64(1, "D")


def _broken(finding: Finding, *words: str, severity: str = "error") -> None:
    assert not finding.passed
    assert finding.severity == severity
    for word in words:
        assert word in finding.text, finding.text


def test_a_day_that_is_there_twice_is_named() -> None:
    assert rules.duplicate_days("Coffee", DAYS).passed
    _broken(
        rules.duplicate_days("Coffee", np.append(DAYS, DAYS[3])),
        "Coffee: 1 days are in unified_data more than once: 2022-01-04",
        "materialize unified_data of Coffee",
    )


def test_a_calendar_day_that_is_missing_is_named() -> None:
    assert rules.missing_days("Coffee", DAYS[::-1]).passed
    _broken(
        rules.missing_days("Coffee", np.delete(DAYS, [4, 5])),
        "2 days are missing between 2022-01-01 and 2022-01-10: 2022-01-05 to 2022-01-06",
        "materialize unified_data of Coffee for them",
    )
    _broken(rules.missing_days("Coffee", DAYS[:0]), "no rows", "materialize")


def _prices(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    days = np.datetime64("2021-01-01") + np.arange(n)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, n)))
    return days, close, np.zeros(n, bool)


def test_a_jump_that_reverts_and_a_move_beyond_eight_deviations_are_named_in_the_new_days_only() -> None:
    days, close, rolls = _prices()
    assert rules.price_jumps("Coffee", days, close, rolls, days[0]).passed
    glitch = close.copy()
    glitch[200] *= 1.3
    found = rules.price_jumps("Coffee", days, glitch, rolls, days[0])
    _broken(found, "1 one-session jumps that revert", str(days[200]), "second source", severity="warning")
    assert rules.price_jumps("Coffee", days, glitch, rolls, days[250]).passed
    jump = close.copy()
    jump[200:] *= 1.15
    found = rules.price_jumps("Coffee", days, jump, rolls, days[0])
    _broken(found, "0 one-session", "1 moves beyond 8 deviations", str(days[200]), "roll_dates", severity="warning")
    for odd in (jump, glitch):
        assert rules.price_jumps("Coffee", days, odd, rolls, days[0], [days[200].item(), days[201].item()]).passed
    rolls[200] = True
    assert rules.price_jumps("Coffee", days, jump, rolls, days[0]).passed


def test_prices_at_or_below_zero_break_no_rule_by_themselves() -> None:
    days, close, rolls = _prices()
    assert rules.price_jumps("WTI", days, close - 100, rolls, days[-5]).figures["largest_move_percent"] < 1e4


@pytest.mark.parametrize(("last", "severity"), [("2022-01-05", "warning"), ("2021-12-20", "error")])
def test_a_session_that_is_late_is_a_warning_and_beyond_the_limit_an_error(last: str, severity: str) -> None:
    sessions = np.arange("2021-12-01", "2022-02-01", dtype="datetime64[D]")
    today = dt.date(2022, 1, 8)
    found = rules.stale_source("Coffee", dt.date.fromisoformat(last), sessions, today, 0, 5, None)
    _broken(found, f"the newest close is of {last}", "the last of 2022-01-07", "infer", severity=severity)
    assert rules.stale_source("Coffee", dt.date(2022, 1, 7), sessions, today, 0, 5, None).passed
    # Published a day late, Thursday's close is first seen on Friday: on Saturday nothing newer is due.
    assert rules.stale_source("Coffee", dt.date(2022, 1, 7), sessions, today, 1, 5, None).passed
    late = rules.stale_source("Coffee", dt.date(2022, 1, 6), sessions, today, 1, 5, None)
    _broken(late, "1 sessions are late, the last of 2022-01-07", severity="warning")
    assert rules.stale_source("Coffee", dt.date(2019, 1, 6), sessions, today, 0, 5, dt.date(2019, 1, 7)).passed


def test_a_covariate_that_is_missing_sparse_or_no_longer_arrives_is_named() -> None:
    days = np.datetime64("2021-01-01") + np.arange(400)
    filled = [""] * 400
    known = {"vix": np.ones(400), "usd_brl": np.where(np.arange(400) < 370, np.nan, 1.0)}
    assert rules.covariate_coverage("Coffee", days, {"vix": known["vix"]}, filled, ["vix"]).passed
    late = ["vix,open" if row >= 380 else "" for row in range(400)]
    found = rules.covariate_coverage("Coffee", days, known, late, ["vix", "usd_brl", "usd_idr"])
    _broken(
        found,
        f"vix has no value of its own since {days[379]}, 20 days",
        "usd_brl is known on 8 % of the last year's days",
        "usd_idr is not in unified_data",
        "bring macro or weather files up to date",
        severity="warning",
    )


def test_a_window_without_a_model_is_named_with_the_command_that_trains_it() -> None:
    windows = [dt.date(2022, 1, 1), dt.date(2022, 7, 1)]
    assert rules.windows_complete(TARGET, windows, windows).passed
    _broken(
        rules.windows_complete(TARGET, windows[:1], windows),
        "1 of 2 windows have no model: 2022-07-01",
        "`forecast-platform train --commodity Coffee --models xgboost --start-date 2022-07-01 --end-date 2022-07-01`",
        severity="warning",
    )


@pytest.mark.parametrize("bad", ['{"a":[1,NaN]}', '{"a":-Infinity}', '{"tree":"[0.5,nan]"}'])
def test_a_parameter_that_is_not_finite_is_found_wherever_it_is(bad: str) -> None:
    good = '{"Nancy":1.0,"text":"information","info":[1e-300]}'
    assert rules.finite_parameters(TARGET, {dt.date(2022, 1, 1): good}, {}).passed
    found = rules.finite_parameters(TARGET, {dt.date(2022, 1, 1): good, dt.date(2022, 7, 1): bad}, {})
    _broken(found, "1 models cannot be used: 2022-07-01 (it holds", "train --commodity Coffee", "--overwrite")
    _broken(
        rules.finite_parameters(TARGET, {}, {dt.date(2022, 1, 1): "its file is gone"}),
        "its file is gone",
        "--overwrite",
    )


def test_a_fit_worse_than_naive_on_its_holdout_is_a_warning() -> None:
    better = {dt.date(2022, 1, 1): {"holdout_crps": 0.9, "holdout_crps_naive": 1.0}, dt.date(2022, 7, 1): {}}
    assert rules.holdout_skill(TARGET, better).passed
    worse = {**better, dt.date(2023, 1, 1): {"holdout_crps": 1.3, "holdout_crps_naive": 1.0}}
    _broken(
        rules.holdout_skill(TARGET, worse),
        "holdout CRPS is 10.0 % worse than naive over 2 windows, most in 2023-01-01",
        "forecast-platform evaluate --commodity Coffee",
        severity="warning",
    )


def _figures(
    days: Dates, path_ids: NDArray[np.int64] | None = None, columns: Sequence[NDArray[np.float32]] | None = None
) -> PathFigures:
    """The figures of three dates' five paths, all ones where no columns are given."""
    ids = np.tile(np.arange(5), 3) if path_ids is None else path_ids
    return _of(days, ids, columns or [np.ones(len(days), np.float32)] * 14, 5)


def _of(
    days: Dates, path_ids: NDArray[np.int64], columns: Sequence[NDArray[np.float32]], n_paths: int, parts: int = 2
) -> PathFigures:
    """The figures of columns that are read in parts."""
    split = [pa.chunked_array([pa.array(part) for part in np.array_split(values, parts)]) for values in columns]
    return path_figures(days, path_ids, split, n_paths)


def test_a_date_with_a_path_too_few_too_many_or_twice_is_named() -> None:
    days, ids = np.repeat(DAYS[:3], 5), np.tile(np.arange(5), 3)
    assert rules.path_shape(TARGET, _figures(days, ids), 5, DAYS[:3]).passed
    fewer = np.arange(15) != 7
    _broken(
        rules.path_shape(TARGET, _figures(days[fewer], ids[fewer]), 5, DAYS[:3]),
        "1 dates do not hold 5 paths: 2022-01-02 (2022-01-02 has 4)",
        "`forecast-platform backfill --commodity Coffee --models xgboost --start-date 2022-01-02 --end-date "
        "2022-01-02 --overwrite`",
    )
    twice = ids.copy()
    twice[1] = 0
    _broken(rules.path_shape(TARGET, _figures(days, twice), 5, DAYS[:3]), "2022-01-01 has 5")
    _broken(rules.path_shape(TARGET, _figures(days, np.where(ids == 4, 9, ids)), 5, DAYS[:3]), "3 dates")
    _broken(rules.path_shape(TARGET, _figures(days, ids), 5, DAYS[:4]), "2022-01-04 has 0")


def test_the_order_of_rows_and_files_makes_no_difference() -> None:
    random = np.random.default_rng(5)
    days, ids = np.repeat(DAYS[:4], 5), np.tile(np.arange(5), 4)
    columns = list(random.normal(100, 9, (14, 20)).astype(np.float32))
    columns[3][6] = np.nan
    wanted = _of(days, ids, columns, 5)
    assert wanted.not_finite.tolist() == [0, 1, 0, 0]
    assert wanted.complete.all()
    dates = np.concatenate([np.flatnonzero(days == day) for day in DAYS[[2, 0, 3, 1]]])
    for order in (dates, random.permutation(20)):
        found = _of(days[order], ids[order], [values[order] for values in columns], 5)
        for field in fields(wanted):
            np.testing.assert_allclose(
                getattr(found, field.name).astype(float), getattr(wanted, field.name).astype(float), err_msg=field.name
            )


def test_a_path_that_is_not_finite_is_found_in_any_column() -> None:
    columns = [np.ones(15, np.float32) for _ in range(14)]
    days = np.repeat(DAYS[:3], 5)
    assert rules.finite_paths(TARGET, _figures(days, None, columns)).passed
    columns[12][6], columns[3][7] = np.inf, -np.inf
    _broken(rules.finite_paths(TARGET, _figures(days, None, columns)), "2 paths are not finite, of 2022-01-02")


def test_figures_are_those_of_each_dates_paths_in_whatever_order_and_parts_the_rows_come() -> None:
    random = np.random.default_rng(3)
    paths = random.normal(100, 3, (3, 5, 14)).astype(np.float32)
    paths[1, 2, 7] = np.nan
    days, ids = np.repeat(DAYS[:3], 5), np.tile(np.arange(5), 3)
    columns = [paths[:, :, ahead].ravel() for ahead in range(14)]
    mixed = random.permutation(15)
    one = _figures(days[mixed], ids[mixed], [values[mixed] for values in columns])
    later, earlier = (
        _figures(days[part], ids[part], [of[part] for of in columns]) for part in (slice(5, 15), slice(5))
    )
    for found in (one, joined([later, earlier])):
        assert found.dates.tolist() == DAYS[:3].tolist()
        assert found.rows.tolist() == [5, 5, 5]
        assert found.complete.all()
        assert found.not_finite.tolist() == [0, 1, 0]
        assert found.sound.tolist() == [True, False, True]
        assert np.array_equal(
            found.median, np.where(found.sound, np.median(paths[:, :, 0], axis=1), np.nan), equal_nan=True
        )
        assert np.allclose(found.last_deviation[[0, 2]], paths[[0, 2], :, 13].std(axis=1), rtol=1e-6)
        assert np.isnan(found.deviation[1])


def test_a_forecast_that_knows_its_own_day_is_a_leak() -> None:
    none = np.zeros(3, bool)
    dates = DAYS[:3]
    assert rules.no_leak(TARGET, dates, dates - ONE, dates - 2 * ONE, none).passed
    for cutoff, last, flags in (
        (dates - np.array([1, 0, 1]) * ONE, dates - 2 * ONE, none),
        (dates - ONE, dates - np.array([1, 0, 1]) * ONE, none),
        (dates - ONE, dates - ONE, np.array([False, True, False])),
    ):
        found = rules.no_leak(TARGET, dates, cutoff, last, flags)
        _broken(found, "1 forecasts know their own future: 2022-01-02", "do not trade on them", "--overwrite")


def test_a_forecast_of_another_windows_model_is_named() -> None:
    starts = np.full(3, np.datetime64("2022-01-01"))
    assert rules.training_cutoff(TARGET, DAYS[:3], starts - ONE, starts).passed
    wrong = starts - ONE
    wrong[2] = np.datetime64("2021-06-30")
    _broken(
        rules.training_cutoff(TARGET, DAYS[:3], wrong, starts),
        "1 forecasts are of another window's model: 2022-01-03",
        "training cutoff 2021-06-30, its window begins on 2022-01-01",
    )


def _of_day_1(day_1: NDArray[np.float32]) -> PathFigures:
    days, ids = np.repeat(DAYS[:3], 500), np.tile(np.arange(500), 3)
    return _of(days, ids, [day_1.ravel()] * 14, 500)


def test_paths_that_start_elsewhere_than_the_last_close_are_named() -> None:
    day_1 = np.random.default_rng(2).normal(100, 2, (3, 500)).astype(np.float32)
    day_1[0] = 100
    close, trading = np.full(3, 100.0), np.array([False, True, True])
    assert rules.starts_from_last_close(TARGET, _of_day_1(day_1), close, trading).passed
    moved = day_1.copy()
    moved[2] += 10
    _broken(
        rules.starts_from_last_close(TARGET, _of_day_1(moved), close, trading),
        "1 forecasts do not start from the last close: 2022-01-03",
        "the last close is 100",
    )
    shut = day_1.copy()
    shut[0, 3] = 100.5
    _broken(rules.starts_from_last_close(TARGET, _of_day_1(shut), close, trading), "2022-01-01")


@pytest.mark.parametrize("factor", [0.1, 8.0, np.nan])
def test_a_spread_far_from_recent_volatility_is_a_warning(factor: float) -> None:
    recent = np.array([1.0, 1.0, np.nan])
    assert rules.spread_bounds(TARGET, DAYS[:3], np.array([0.5, 4.0, 99.0]), recent).passed
    found = rules.spread_bounds(TARGET, DAYS[:3], np.array([1.0, factor, 1.0]), recent)
    _broken(found, "the spread of 1 forecasts is out of bounds: 2022-01-02", "fan chart", severity="warning")


def test_commands_carry_a_version_that_is_not_the_default_one() -> None:
    other = Target("Coffee", "xgboost", "v1.1", "v1.0")
    assert other.command("backfill", [dt.date(2022, 1, 1)]).endswith("--model-version-tag v1.1`")
