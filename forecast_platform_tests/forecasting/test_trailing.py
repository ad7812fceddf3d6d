"""Scores of the days before: what is known on an origin, weights and routes."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.trailing import (
    LEVELS,
    MemberScores,
    aggregation_weights,
    best,
    quantile_losses,
    standing,
    volatility_routes,
)
from forecast_platform.testing import changed_from, random_history

START = np.datetime64("2018-01-01")
HORIZON = 5


def scores(n: int = 120, seed: int = 3) -> MemberScores:
    origins = START + np.arange(n)
    losses = np.random.default_rng(seed).gamma(4.0, size=(3, n, HORIZON))
    losses[2] *= 2.0
    losses[:, ::7] = np.nan
    return MemberScores(origins, losses)


def test_scores_of_targets_on_or_after_the_origin_are_never_read() -> None:
    origins = START + np.array([30, 60, 90])
    before = standing(scores(), origins, 20.0, 80)
    poisoned = scores()
    targets = poisoned.origins[:, None] + np.arange(HORIZON)
    for row, origin in enumerate(origins):
        losses = np.where(targets >= origin, 1e9, poisoned.losses)
        after = standing(MemberScores(poisoned.origins, losses), origins, 20.0, 80)
        assert np.array_equal(after.loss[:, : row + 1], before.loss[:, : row + 1])
        shown = np.where(targets == origin - np.timedelta64(1, "D"), 1e9, poisoned.losses)
        assert (standing(MemberScores(poisoned.origins, shown), origins, 20.0, 80).loss[:, row] > 1e6).all(), "known"


def test_recent_scores_count_more_by_the_half_life_and_an_origin_s_bits_are_its_own() -> None:
    losses = np.full((2, 50, 1), 1.0)
    losses[0, 49], losses[0, 39] = 3.0, 2.0
    known = standing(MemberScores(START + np.arange(50), losses), START + np.array([50]), 10.0, 50)
    memory = 0.5 ** (np.arange(50) / 10.0)
    assert known.loss[0, 0] == pytest.approx((memory.sum() + 2.0 + 1.0 * 0.5) / memory.sum())
    assert known.days[0] == pytest.approx(memory.sum())
    origins = START + np.arange(40, 100)
    whole = standing(scores(), origins, 20.0, 30)
    alone = standing(scores(), origins[17:18], 20.0, 30)
    assert np.array_equal(alone.loss, whole.loss[:, 17:18])
    late = MemberScores(scores().origins[22:], scores().losses[:, 22:])
    assert np.array_equal(standing(late, origins[17:18], 20.0, 30).loss, alone.loss), "what lies before is not read"


@pytest.mark.parametrize("n_members", [2, 8, 9, 20])
def test_an_origin_s_weights_are_the_same_bits_alone_and_among_others(n_members: int) -> None:
    losses = np.random.default_rng(5).gamma(2.0, size=(n_members, 200, HORIZON))
    many, origins = MemberScores(START + np.arange(200), losses), START + np.arange(150, 180)

    def weights(of: np.ndarray) -> np.ndarray:
        return aggregation_weights(standing(many, of, 50.0, 120), np.ones((n_members, len(of)), bool), 0.5, 0.5)

    alone = [weights(origins[row : row + 1]) for row in range(len(origins))]
    assert np.array_equal(weights(origins), np.concatenate(alone, axis=1))


def test_only_dates_that_all_members_have_count() -> None:
    known = scores()
    losses = known.losses.copy()
    losses[0, 20:40] = np.nan
    losses[1:, 20:40] = 1e9
    assert (standing(MemberScores(known.origins, losses), START + np.array([60]), 20.0, 60).loss < 100).all()


def test_weights_follow_the_losses_and_shrink_to_equal() -> None:
    known = standing(scores(), START + np.array([100]), 50.0, 100)
    there = np.ones((3, 1), bool)
    free = aggregation_weights(known, there, 0.5, 0.0)[:, 0]
    half = aggregation_weights(known, there, 0.5, 0.5)[:, 0]
    assert free.sum() == pytest.approx(1.0)
    assert free[2] < 0.01 < 0.16 < half[2] < 0.2
    assert np.allclose(aggregation_weights(known, there, 0.5, 1.0), 1 / 3)
    assert np.allclose(aggregation_weights(known, there, 0.0, 0.0), 1 / 3)
    there[0] = False
    assert aggregation_weights(known, there, 0.5, 0.5)[0, 0] == 0.0
    nothing = standing(scores(), START + np.array([0]), 50.0, 100)
    assert aggregation_weights(nothing, there, 0.5, 0.0)[:, 0].tolist() == [0.0, 0.5, 0.5]


def test_the_best_takes_all_once_enough_is_known() -> None:
    known = standing(scores(), START + np.array([2, 100]), 50.0, 100)
    there = np.ones((3, 2), bool)
    chosen = best(known, there, 20.0)
    assert chosen[:, 0].tolist() == [1 / 3] * 3
    assert chosen[:, 1].max() == 1.0
    assert chosen[known.loss[:, 1].argmin(), 1] == 1.0
    there[:, 1] = [False, False, True]
    assert best(known, there, 20.0)[:, 1].tolist() == [0.0, 0.0, 1.0]


def test_quantile_losses_are_near_the_crps_they_stand_for_and_rank_as_it_does() -> None:
    generator = np.random.default_rng(1)
    sample, truth = np.sort(generator.normal(size=4000)), generator.normal(size=2000)
    exact = float(crps(np.broadcast_to(sample, (2000, 4000)), truth).mean())
    quantiles = np.broadcast_to(np.quantile(sample, LEVELS), (2000, 5))
    found = float(quantile_losses(quantiles, truth).mean())
    assert found == pytest.approx(exact, rel=0.15)
    others = [quantiles * 0.7, quantiles * 1.4, quantiles + 0.4]
    assert min(float(quantile_losses(other, truth).mean()) for other in others) > 1.01 * found


def test_routes_are_regimes_of_the_volatility_before_the_date() -> None:
    history = random_history(seed=2)
    end = np.datetime64("2017-07-01")
    dates = np.arange(end, np.datetime64("2018-03-01"))
    routes = volatility_routes(history, dates, end, 3)
    assert set(routes) == {0, 1, 2}
    day = np.datetime64("2017-10-03")
    changed = volatility_routes(changed_from(history, day, 3.0), dates, end, 3)
    assert np.array_equal(changed[dates <= day], routes[dates <= day])
    assert (changed[(dates > day) & (dates < day + np.timedelta64(20, "D"))] == 2).all(), "the jump is seen after it"
    assert (volatility_routes(history, history.dates[:5], end, 3) == 0).all()
