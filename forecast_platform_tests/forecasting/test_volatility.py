from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.volatility import ConditionalVariance

INNOVATIONS = 0.02 * np.random.default_rng(4).standard_t(4, 1000)


def test_filter_is_the_recursion_of_step() -> None:
    variance = ConditionalVariance.fit(INNOVATIONS)
    expected = [np.float64(variance.level)]
    for innovation in INNOVATIONS:
        expected.append(variance.step(expected[-1], innovation))
    assert variance.filter(INNOVATIONS) == pytest.approx(np.array(expected), rel=1e-13)


def test_filter_is_causal_to_the_bit() -> None:
    variance = ConditionalVariance.fit(INNOVATIONS)
    whole = variance.filter(INNOVATIONS)
    assert np.array_equal(variance.filter(INNOVATIONS[:300]), whole[:301])
    changed = INNOVATIONS.copy()
    changed[300:] *= 5
    assert np.array_equal(variance.filter(changed)[:301], whole[:301])
    assert variance.filter(changed)[301] > whole[301]


def test_one_wild_innovation_moves_the_variance_by_a_bounded_factor() -> None:
    variance = ConditionalVariance.fit(INNOVATIONS)
    wild = np.append(np.zeros(50), 100.0)
    *_, before, after = variance.filter(wild)
    assert after < (1 + variance.alpha * variance.limit) * before + variance.omega


def test_paths_that_draw_a_wild_residual_again_and_again_stay_bounded_by_the_limit() -> None:
    variance = ConditionalVariance.fit(INNOVATIONS)
    value = np.full((2, 3), variance.level)
    for _ in range(10):
        value = variance.step(value, 20.0 * np.sqrt(value))
    assert np.sqrt(value.max() / variance.level) < (1 + variance.alpha * variance.limit) ** 5 * 1.05


def test_variance_returns_to_its_level() -> None:
    variance = ConditionalVariance.fit(INNOVATIONS)
    unsurprising = np.full(2000, np.nan)
    assert variance.filter(unsurprising) == pytest.approx(np.full(2001, variance.level))
    high = variance.level * 4
    for _ in range(2000):
        high = variance.step(np.float64(high), np.sqrt(high))
    assert high == pytest.approx(variance.level, rel=1e-3)


def test_filter_follows_a_change_of_regime() -> None:
    calm_then_wild = INNOVATIONS * np.where(np.arange(1000) < 500, 1.0, 3.0)
    variances = ConditionalVariance.fit(calm_then_wild).filter(calm_then_wild)
    assert variances[600:].mean() > 3 * variances[100:500].mean()


def test_parameters_survive_storage() -> None:
    variance = ConditionalVariance.fit(INNOVATIONS)
    assert ConditionalVariance.from_state(variance.to_state()) == variance


@pytest.mark.parametrize("innovations", [np.zeros(50), np.full(50, np.nan), np.array([])])
def test_innovations_that_do_not_vary_are_refused(innovations: np.ndarray) -> None:
    with pytest.raises(ValueError, match="does not move"):
        ConditionalVariance.fit(innovations)
