"""Risk of positions, by known answers."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.portfolio import (
    expected_shortfall,
    leg_profits,
    portfolio_risk,
    probability_above,
    probability_below,
    probability_of_touch,
    quantiles,
    value_at_risk,
)


def test_var_and_cvar_of_a_normal_are_the_known_figures() -> None:
    profit = np.random.default_rng(1).normal(0.0, 1.0, 1_000_000)
    assert value_at_risk(profit, 0.95) == pytest.approx(1.645, abs=0.01)
    assert expected_shortfall(profit, 0.95) == pytest.approx(2.063, abs=0.01)
    with pytest.raises(ValueError, match=r"level = 95: .* such as 0\.95"):
        value_at_risk(profit, 95)


def test_of_a_hundred_equal_steps_the_tail_is_the_worst_five() -> None:
    profit = np.arange(-100.0, 0.0)
    assert value_at_risk(profit, 0.95) == pytest.approx(95.05)
    assert expected_shortfall(profit, 0.95) == 98.0


def test_contributions_add_up_and_are_the_derivative_by_the_size() -> None:
    rng = np.random.default_rng(3)
    moves = rng.standard_t(5, (3, 4, 2000)) + 0.8 * rng.standard_t(5, (1, 4, 2000))
    sizes = np.array([10.0, -4.0, 7.0])
    found = portfolio_risk(moves * sizes[:, None, None], 0.95)
    assert found.contribution.shape == (3, 4)
    assert np.allclose(found.contribution.sum(axis=0), found.cvar, rtol=1e-12)
    for leg in range(3):
        step = np.zeros(3)
        step[leg] = 1e-7
        up, down = (
            expected_shortfall((moves * (sizes + sign * step)[:, None, None]).sum(axis=0), 0.95) for sign in (1, -1)
        )
        assert np.allclose(sizes[leg] * (up - down) / 2e-7, found.contribution[leg], rtol=1e-5)


def test_known_contributions_of_two_normal_legs() -> None:
    """Of jointly normal legs a contribution is cvar times the leg's covariance with the sum over its variance."""
    covariance = np.array([[4.0, -1.5], [-1.5, 1.0]])
    profits = np.random.default_rng(5).multivariate_normal([0, 0], covariance, 400_000).T
    found = portfolio_risk(profits, 0.95)
    share = covariance.sum(axis=1) / covariance.sum()
    assert np.allclose(found.contribution / found.cvar, share, atol=0.03)
    assert found.contribution[1] < 0  # the second leg hedges the first
    assert found.sum_of_legs == pytest.approx(2.063 * 3, rel=0.01)
    assert found.diversification == pytest.approx(2.063 * (3 - np.sqrt(2)), rel=0.01)


def test_legs_that_move_as_one_save_nothing_and_opposite_ones_cancel() -> None:
    moves = np.random.default_rng(2).normal(size=2000)
    together = portfolio_risk(np.stack([moves, 2 * moves]), 0.99)
    assert together.diversification == pytest.approx(0.0, abs=1e-12)
    assert together.contribution[1] == pytest.approx(2 * together.contribution[0])
    hedged = portfolio_risk(np.stack([moves, -moves]), 0.99)
    assert hedged.var == hedged.cvar == 0.0


def test_a_leg_earns_its_size_times_the_move_from_the_last_close() -> None:
    paths = np.array([[[110.0, 120.0], [90.0, 80.0]], [[11.0, 12.0], [9.0, 8.0]]], np.float32)
    first = leg_profits(paths, [100.0, 10.0], [2.0, -30.0], day_ahead=1)
    assert first.tolist() == [[20.0, -20.0], [-30.0, 30.0]]
    assert leg_profits(paths, [100.0, 10.0], [2.0, -30.0]).tolist() == [[40.0, -40.0], [-60.0, 60.0]]
    with pytest.raises(ValueError, match="day_ahead = 3: 1 to 2"):
        leg_profits(paths, [100.0, 10.0], [2.0, -30.0], 3)
    with pytest.raises(ValueError, match="one size a leg"):
        leg_profits(paths, [100.0, 10.0], [2.0])


def test_many_dates_are_the_same_as_each_alone() -> None:
    rng = np.random.default_rng(4)
    paths = (100 + rng.normal(size=(2, 5, 300, 14)).cumsum(axis=-1)).astype(np.float32)
    last, sizes = rng.normal(100, 1, (2, 5)), [3.0, -2.0]
    together = portfolio_risk(leg_profits(paths, last, sizes, 10), 0.95)
    for date in range(5):
        alone = portfolio_risk(leg_profits(paths[:, date], last[:, date], sizes, 10), 0.95)
        assert alone.cvar == together.cvar[date]
        assert np.array_equal(alone.contribution, together.contribution[:, date])


def test_odds_of_a_price_are_shares_of_paths() -> None:
    paths = np.array([[101, 99, 99], [100, 103, 98], [97, 97, 97], [102, 102, 104]], np.float32)
    assert probability_above(paths, 100).tolist() == [0.5, 0.5, 0.25]
    assert probability_below(paths, 100).tolist() == [0.25, 0.5, 0.75]
    assert probability_of_touch(paths, 102, 100.0).tolist() == [0.25, 0.5, 0.5]
    assert probability_of_touch(paths, 98, 100.0).tolist() == [0.25, 0.25, 0.5]
    assert probability_of_touch(paths, 100, 100.0).tolist() == [1.0, 1.0, 1.0]
    both = probability_of_touch(np.stack([paths, paths]), 100, [99.0, 101.0])
    assert both.tolist() == [[0.75, 0.75, 0.75], [0.5, 0.75, 0.75]]


def test_the_odds_of_touching_are_those_of_a_random_walk() -> None:
    """Reflection: a driftless walk has touched a level with about twice the odds of being beyond it at the end."""
    steps = np.random.default_rng(6).choice([-1.0, 1.0], (40_000, 100))
    paths = steps.cumsum(axis=1)
    touched, beyond = probability_of_touch(paths, 11.0, 0.0)[-1], probability_above(paths, 11.0)[-1]
    at = (paths[:, -1] == 11.0).mean()
    assert touched == pytest.approx(2 * beyond + at, rel=0.03)


def test_quantiles_by_level_and_day() -> None:
    paths = np.stack([np.arange(101.0), np.arange(101.0) * 2], axis=-1)
    assert quantiles(paths, [0.05, 0.5]).tolist() == [[5.0, 10.0], [50.0, 100.0]]
    assert quantiles(paths[None], 0.1).shape == (1, 1, 2)
    with pytest.raises(ValueError, match=r"such as 0.05"):
        quantiles(paths, [5])
