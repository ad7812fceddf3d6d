from __future__ import annotations

import hashlib

import numpy as np
import pytest

from forecast_platform.forecasting.history import ONE_DAY
from forecast_platform.forecasting.shocks import Shocks, pool_dates, residual_table

POOL = pool_dates(np.datetime64("2013-01-01"), np.datetime64("2018-01-01"))
ORIGINS = np.datetime64("2018-01-01") + np.arange(30) * ONE_DAY
SHOCKS = Shocks(seed=11, n_slots=len(POOL))


def test_pool_is_the_weekdays_before_the_window_s_end() -> None:
    assert POOL[0] == np.datetime64("2013-01-01")
    assert POOL[-1] == np.datetime64("2017-12-29")
    assert np.is_busday(POOL).all()
    assert len(POOL) == np.busday_count("2013-01-01", "2018-01-01")


def test_a_draw_depends_on_origin_path_and_day_only() -> None:
    whole = SHOCKS.slots(ORIGINS, 50, 14)
    assert np.array_equal(SHOCKS.slots(ORIGINS[::-1], 50, 14), whole[::-1])
    assert np.array_equal(SHOCKS.slots(ORIGINS[7:8], 50, 14)[0], whole[7])
    assert np.array_equal(SHOCKS.slots(ORIGINS, 9, 14), whole[:, :, :9])
    assert np.array_equal(SHOCKS.slots(ORIGINS, 50, 3), whole[:, :3])


def test_draws_differ_between_origins_days_paths_and_seeds() -> None:
    drawn = SHOCKS.slots(ORIGINS, 500, 14)
    for other in (drawn[:, :, ::-1], drawn[:, ::-1], drawn[::-1], Shocks(12, len(POOL)).slots(ORIGINS, 500, 14)):
        assert (drawn == other).mean() < 0.01


def test_every_pool_date_is_drawn_equally_often() -> None:
    counts = np.bincount(SHOCKS.slots(ORIGINS, 2000, 14).ravel(), minlength=len(POOL))
    expected = counts.sum() / len(POOL)
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert len(counts) == len(POOL)
    assert abs(chi_squared - len(POOL)) < 5 * np.sqrt(2 * len(POOL))


def test_draws_are_these_numbers_on_every_machine() -> None:
    raw = np.random.Philox(key=np.array([11, 17532], np.uint64)).random_raw(1)[0]
    low_word = int(raw) & 0xFFFFFFFF
    assert SHOCKS.slots(np.array(["2018-01-01"], "datetime64[D]"), 1, 1)[0, 0, 0] == low_word * len(POOL) >> 32


def test_the_first_fourteen_days_draws_are_these_for_ever() -> None:
    drawn = SHOCKS.slots(ORIGINS, 40, 14)
    digest = hashlib.sha256(np.ascontiguousarray(drawn, "<u4").tobytes()).hexdigest()
    assert digest == "b2ffaa114e9bf2580136f53e829602e4f69c125574b43a5650d0674eee03c226"


@pytest.mark.parametrize("horizon", [7, 13, 15, 20, 28, 29, 60])
def test_a_longer_horizon_begins_with_a_shorter_one_s_draws(horizon: int) -> None:
    assert np.array_equal(SHOCKS.slots(ORIGINS, 25, 60)[:, :horizon], SHOCKS.slots(ORIGINS, 25, horizon))


def test_days_past_the_fourteenth_draw_from_streams_of_their_own() -> None:
    drawn = SHOCKS.slots(ORIGINS, 500, 60)
    for first in range(14, 60, 14):
        part = drawn[:, first : first + 14]
        assert (part == drawn[:, : part.shape[1]]).mean() < 0.01
    counts = np.bincount(drawn[:, 14:].ravel(), minlength=len(POOL))
    expected = counts.sum() / len(POOL)
    assert abs(float(((counts - expected) ** 2 / expected).sum()) - len(POOL)) < 5 * np.sqrt(2 * len(POOL))


@pytest.mark.parametrize("horizon", [0, 61])
def test_a_horizon_out_of_bounds_is_refused(horizon: int) -> None:
    with pytest.raises(ValueError, match=f"horizon is {horizon}"):
        SHOCKS.slots(ORIGINS, 2, horizon)


def test_table_holds_a_date_s_own_residual() -> None:
    residuals = np.arange(len(POOL), dtype=np.float64)
    assert np.array_equal(residual_table(POOL, POOL, residuals), residuals)


def test_missing_dates_take_a_fixed_stand_in_that_no_later_data_moves() -> None:
    residuals = np.arange(len(POOL), dtype=np.float64)
    residuals[::7] = np.nan
    table = residual_table(POOL, POOL, residuals)
    assert np.array_equal(table[np.isfinite(residuals)], residuals[np.isfinite(residuals)])
    assert np.isin(table, residuals[np.isfinite(residuals)]).all()
    stand_ins = table[::7]
    assert len(np.unique(stand_ins)) > 0.8 * len(stand_ins), "spread over the pool, not one date for all"


def test_series_with_the_same_holes_get_the_same_stand_ins() -> None:
    first = np.random.default_rng(0).normal(size=len(POOL))
    holes = np.arange(len(POOL)) % 9 == 0
    first[holes] = np.nan
    tables = [residual_table(POOL, POOL, series) for series in (first, 3.0 * first)]
    assert np.array_equal(3.0 * tables[0], tables[1])


def test_dates_outside_the_pool_are_left_out() -> None:
    dates = np.array(["2012-12-31", "2013-01-01", "2018-01-01"], "datetime64[D]")
    assert (residual_table(POOL, dates, np.array([1.0, 2.0, 3.0])) == 2.0).all()


def test_table_without_any_residual_is_refused() -> None:
    with pytest.raises(ValueError, match="no residual lies between 2013-01-01 and 2017-12-29"):
        residual_table(POOL, POOL[:2], np.array([np.nan, np.nan]))
    with pytest.raises(ValueError, match="pool is empty"):
        residual_table(POOL[:0], POOL, np.zeros(len(POOL)))
