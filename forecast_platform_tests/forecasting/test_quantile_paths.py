"""Quantiles to paths: marginals, tails, dependence across days and series, order and batches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm, spearmanr

from forecast_platform.forecasting.quantile_paths import error_ranks, joint_paths, quantile_function
from forecast_platform.forecasting.shocks import Shocks, pool_dates

POOL = pool_dates(np.datetime64("2013-01-01"), np.datetime64("2018-01-01"))
ORIGINS = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-02-01"))
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
N_STEPS = 10


def walks(seed: int, common: np.ndarray | None = None) -> np.ndarray:
    """Errors of a random walk: cumulated moves from each date on, [len(POOL), N_STEPS]."""
    moves = np.random.default_rng(seed).normal(size=len(POOL) + N_STEPS)
    if common is not None:
        moves = 0.8 * common + 0.6 * moves
    return np.stack([np.cumsum(moves[k : k + N_STEPS]) for k in range(len(POOL))])


def normal_quantiles(n: int = len(ORIGINS)) -> np.ndarray:
    """Means and deviations that differ by origin and step."""
    mean = 50.0 + np.arange(n)[:, None] + np.arange(N_STEPS) * 0.1
    deviation = 2.0 * np.sqrt(1.0 + np.arange(N_STEPS))
    return mean[..., None] + deviation[None, :, None] * norm.ppf(LEVELS)


def slots(n_paths: int, seed: int = 5) -> np.ndarray:
    return Shocks(seed, len(POOL)).slots(ORIGINS, n_paths, 1)[:, 0]


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return error_ranks(walks(1), POOL, POOL)


def test_marginals_are_the_given_quantiles_within_sampling_error(places: np.ndarray) -> None:
    quantiles = normal_quantiles()
    paths = joint_paths(quantiles, LEVELS, places, slots(2000))
    found = np.moveaxis(np.quantile(paths, LEVELS, axis=1), 0, -1)
    width = quantiles[..., -2] - quantiles[..., 1]
    # The standard error of a quantile of 2,000 draws, by its level's density; five of them for 2,170 comparisons.
    error = np.sqrt(np.array(LEVELS) * (1 - np.array(LEVELS)) / 2000) / norm.pdf(norm.ppf(LEVELS))
    deviation = (quantiles[..., -1] - quantiles[..., 0]) / (norm.ppf(0.975) - norm.ppf(0.025))
    assert (np.abs(found - quantiles) < 5 * error * deviation[..., None]).all()
    assert np.abs(found - quantiles).mean() < 0.02 * width.mean()


def test_every_slot_drawn_once_gives_the_quantiles_exactly(places: np.ndarray) -> None:
    quantiles = normal_quantiles()[:1]
    paths = joint_paths(quantiles, LEVELS, places, np.arange(len(POOL))[None])
    found = np.moveaxis(np.quantile(paths, LEVELS, axis=1), 0, -1)
    deviation = (quantiles[..., -1] - quantiles[..., 0]) / (norm.ppf(0.975) - norm.ppf(0.025))
    assert (np.abs(found - quantiles) < 0.01 * deviation[..., None]).all()
    assert kstest((paths[0, :, 3] - 50.3) / 4.0, "norm").pvalue > 0.99, "normal quantiles give the normal distribution"


def test_tails_go_on_at_the_slope_of_the_two_outermost_quantiles_in_normal_scores() -> None:
    quantiles = np.array([[[-4.0, -1.0, 0.0, 3.0]]])
    levels = (0.1, 0.4, 0.5, 0.8)
    far = np.array([[0.001], [0.999]])
    low, high = quantile_function(quantiles, levels, far)[0, :, 0]
    below = 3.0 / (norm.ppf(0.4) - norm.ppf(0.1))
    above = 3.0 / (norm.ppf(0.8) - norm.ppf(0.5))
    assert low == pytest.approx(-4.0 + below * (norm.ppf(0.001) - norm.ppf(0.1)))
    assert high == pytest.approx(3.0 + above * (norm.ppf(0.999) - norm.ppf(0.8)))


def test_days_are_joint_as_the_errors_were(places: np.ndarray) -> None:
    paths = joint_paths(normal_quantiles(), LEVELS, places, slots(2000))
    for first, second in ((0, 1), (4, 9), (0, 9)):
        found = np.mean([spearmanr(one[:, first], one[:, second]).statistic for one in paths])
        # A random walk's steps: sqrt(i / j), as a rank correlation of normals.
        wanted = 6 / np.pi * np.arcsin(np.sqrt((first + 1) / (second + 1)) / 2)
        assert found == pytest.approx(wanted, abs=0.06), (first, second)


def test_series_are_joint_as_their_errors_were_though_made_apart() -> None:
    common = np.random.default_rng(9).normal(size=len(POOL) + N_STEPS)
    ranks = [error_ranks(walks(seed, common), POOL, POOL) for seed in (11, 12)]
    made = [joint_paths(normal_quantiles(), LEVELS, one, slots(2000)) for one in ranks]
    found = np.mean([spearmanr(a[:, 5], b[:, 5]).statistic for a, b in zip(*made, strict=True)])
    direct = spearmanr(ranks[0][:, 5], ranks[1][:, 5]).statistic
    assert direct > 0.5
    assert found == pytest.approx(direct, abs=0.02)
    alone = joint_paths(normal_quantiles(), LEVELS, ranks[1], slots(2000, seed=6))
    assert abs(np.mean([spearmanr(a[:, 5], b[:, 5]).statistic for a, b in zip(made[0], alone, strict=True)])) < 0.02


def test_an_origin_and_a_path_have_the_same_bits_whatever_stands_beside_them(places: np.ndarray) -> None:
    whole = joint_paths(normal_quantiles(), LEVELS, places, slots(300))
    some = joint_paths(normal_quantiles()[7:9], LEVELS, places, slots(300)[7:9, :50])
    assert np.array_equal(some, whole[7:9, :50])
    shorter = joint_paths(normal_quantiles()[:, :4], LEVELS, places, slots(300))
    assert np.array_equal(shorter, whole[:, :, :4])


def test_quantiles_that_cross_are_sorted_and_wrong_levels_are_refused(places: np.ndarray) -> None:
    crossing = normal_quantiles()
    crossing[:, :, [2, 3]] = crossing[:, :, [3, 2]]
    same = joint_paths(crossing, LEVELS, places, slots(20))
    assert np.array_equal(same, joint_paths(normal_quantiles(), LEVELS, places, slots(20)))
    with pytest.raises(ValueError, match="ascending, between 0 and 1"):
        quantile_function(crossing, (0.0, *LEVELS[1:]), places)
    with pytest.raises(ValueError, match="the 2 levels'"):
        quantile_function(crossing, (0.1, 0.9), places)
    with pytest.raises(ValueError, match="more past errors are needed"):
        joint_paths(crossing, LEVELS, places[:, :3], slots(20))


def test_a_date_without_errors_takes_those_of_another_one() -> None:
    errors = walks(1)
    errors[100] = np.nan
    errors[-3:, 5:] = np.nan
    found = error_ranks(errors, POOL, POOL)
    assert ((found > 0) & (found < 1)).all()
    assert np.array_equal(np.sort(found, axis=0)[:, 0], (np.arange(len(POOL)) + 0.5) / len(POOL))
