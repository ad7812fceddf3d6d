from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.oracle import _crps, oracle_crps, realised

DATES = np.arange(np.datetime64("2010-01-01"), np.datetime64("2016-01-01"))
DATES = DATES[np.is_busday(DATES)]


def prices(deviation: np.ndarray, seed: int = 1) -> np.ndarray:
    return 100 * np.exp(np.cumsum(deviation * np.random.default_rng(seed).standard_normal(len(deviation))))


def test_crps_by_prefix_sums_is_that_of_the_sample() -> None:
    sample = np.sort(np.random.default_rng(1).standard_t(4, 501))
    targets = np.array([-9.0, -0.3, sample[7], 0.0, 1.2, 30.0])
    expected = crps(np.broadcast_to(sample, (6, 501)), targets)
    assert _crps(sample, targets) == pytest.approx(expected, rel=1e-12)


def test_realised_is_the_root_mean_square_around_the_targets_with_or_without_them() -> None:
    changes = 0.01 * np.random.default_rng(2).standard_normal(200)
    at = 60
    around = np.r_[at - 10 : at, at + 10 : at + 20]
    assert realised(changes, 10, targets_in=False)[at] == pytest.approx(np.sqrt(np.mean(changes[around] ** 2)))
    assert realised(changes, 10, targets_in=True)[at] == pytest.approx(
        np.sqrt(np.mean(changes[at - 10 : at + 20] ** 2))
    )
    assert np.isnan(realised(changes, 10, targets_in=True)[[5, 185]]).all()
    changes[70] = np.nan
    assert np.isfinite(realised(changes, 10, targets_in=False)[at])


def test_knowing_a_changing_volatility_is_a_gain_and_a_constant_one_is_not() -> None:
    slow = 0.015 * np.exp(np.sin(np.arange(len(DATES)) / 90))
    origins = DATES[300:-60]
    rolls = np.zeros(len(DATES), bool)
    gains = {}
    for name, deviation in (("changing", slow), ("constant", np.full(len(DATES), 0.015))):
        closes = prices(deviation)
        scores = {inside: oracle_crps(DATES, closes, rolls, origins, 14, targets_in=inside) for inside in (False, True)}
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
    closes, rolls = prices(np.full(len(DATES), 0.01)), np.zeros(len(DATES), bool)
    scores = oracle_crps(DATES, closes, rolls, DATES[[400, -5]], 14, targets_in=True)
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])
