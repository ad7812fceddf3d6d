from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.history import History
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.oracle import AROUND, _crps, _rolls, oracle_crps, realised
from forecast_platform.forecasting.roll_moves import RollMoves
from forecast_platform_tests.histories import nearby_history

DAYS = np.arange(np.datetime64("2010-01-01"), np.datetime64("2016-01-01"))
DATES = DAYS[np.is_busday(DAYS)]


def prices(deviation: np.ndarray, seed: int = 1) -> np.ndarray:
    return 100 * np.exp(np.cumsum(deviation * np.random.default_rng(seed).standard_normal(len(deviation))))


def history_of(closes: np.ndarray) -> History:
    """These closes on the weekdays of DATES."""
    held = closes[np.searchsorted(DATES, DAYS, side="right") - 1]
    return History("Prices", DAYS, held, np.isin(DAYS, DATES), DATES)


def test_crps_by_prefix_sums_is_that_of_the_sample() -> None:
    sample = np.sort(np.random.default_rng(1).standard_t(4, 501))
    targets = np.array([-9.0, -0.3, sample[7], 0.0, 1.2, 30.0])
    expected = crps(np.broadcast_to(sample, (6, 501)), targets)
    assert _crps(sample, targets) == pytest.approx(expected, rel=1e-12)


def test_realised_is_the_root_mean_square_around_the_targets_with_or_without_them() -> None:
    changes = 0.01 * np.random.default_rng(2).standard_normal(200)
    at = 60
    around = np.r_[at - AROUND : at, at + 10 : at + 10 + AROUND]
    assert realised(changes, 10, targets_in=False)[at] == pytest.approx(np.sqrt(np.mean(changes[around] ** 2)))
    assert realised(changes, 10, targets_in=True)[at] == pytest.approx(
        np.sqrt(np.mean(changes[at - AROUND : at + 10 + AROUND] ** 2))
    )
    assert np.isnan(realised(changes, 10, targets_in=True)[[5, 185]]).all()
    changes[70] = np.nan
    assert np.isfinite(realised(changes, 10, targets_in=False)[at])


def test_knowing_a_changing_volatility_is_a_gain_and_a_constant_one_is_not() -> None:
    slow = 0.015 * np.exp(np.sin(np.arange(len(DATES)) / 90))
    origins = DATES[300:-60]
    gains = {}
    for name, deviation in (("changing", slow), ("constant", np.full(len(DATES), 0.015))):
        closes = prices(deviation)
        scores = {
            inside: oracle_crps(history_of(closes), origins, 14, targets_in=inside)[-1] for inside in (False, True)
        }
        # Without any knowledge of it: one volatility for all origins.
        relative = np.diff(closes) / closes[:-1]
        flat = np.sort(np.random.default_rng(0).choice(relative, (2000, 10)).cumsum(axis=1), axis=0)
        at = np.searchsorted(DATES, origins)
        naive = np.mean(
            [
                closes[at - 1] * _crps(flat[:, step], (closes[at + step] - closes[at - 1]) / closes[at - 1])
                for step in range(10)
            ]
        )
        gains[name] = {inside: 1 - np.nanmean(found) / naive for inside, found in scores.items()}
    assert gains["changing"][False] > 0.04
    assert gains["changing"][True] >= gains["changing"][False]
    assert abs(gains["constant"][False]) < 0.03


def test_an_origin_near_the_end_has_no_score_yet() -> None:
    history = history_of(prices(np.full(len(DATES), 0.01)))
    scores = oracle_crps(history, DATES[[400, -5]], 14, targets_in=True)
    assert np.isfinite(scores[:, 0]).all()
    assert np.isnan(scores[:, 1]).all()


def test_spans_are_scored_over_their_own_sessions() -> None:
    history = history_of(prices(np.full(len(DATES), 0.01)))
    one, week, whole = oracle_crps(history, DATES[300:-60], 14, targets_in=True).mean(axis=1)
    # The CRPS of a sum of n changes goes with the root of n.
    assert week / one == pytest.approx(np.mean(np.sqrt(np.arange(1, 6))), rel=0.1)
    assert whole / one == pytest.approx(np.mean(np.sqrt(np.arange(1, 11))), rel=0.1)


def test_the_rolls_that_the_calendar_and_earlier_ones_foretell_are_part_of_it() -> None:
    history = nearby_history(seed=3, end="2019-06-01", mean=3.0, spread=0.5)
    origins = history.observed_dates[600:-60]
    with_rolls, without = (
        oracle_crps(one, origins, 14, targets_in=True) for one in (history, replace(history, schedule=None))
    )
    gains = 1 - with_rolls.mean(axis=1) / without.mean(axis=1)
    assert (gains > 0.02).all(), gains
    # Where none lies ahead, nothing is other.
    assert history.schedule is not None
    days = history.schedule.dates
    after = days[np.searchsorted(days, origins) - 1] < origins - 3
    ahead = days[np.searchsorted(days, origins)] >= origins + 14
    assert (after & ahead).any()
    assert np.array_equal(with_rolls[:, after & ahead], without[:, after & ahead])


def test_a_roll_s_variance_widens_the_sum_by_what_it_adds() -> None:
    moves = RollMoves(np.array([[False, True, False]]), np.array([[0.0, 0.02, 0.0]]), np.array([[1.0, 3.0, 1.0]]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecast_platform.forecasting.oracle.roll_moves", lambda *_: moves)
        history = nearby_history()
        days = np.zeros((1, 3), "datetime64[D]")
        mean, spread = _rolls(history, 50.0, np.array([40]), days, np.ones((1, 3), bool))
    assert mean.tolist() == [[0.0, 0.02, 0.02]]
    assert (spread**2).tolist() == [pytest.approx([1.0, 1 + 2 / 2, 1 + 2 / 3])]
