"""The scores of a backtest against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.training_jobs import scores

ACTUAL = np.array([[10.0, 20.0], [5.0, np.nan]])
POINTS = np.array([[12.0, 15.0], [4.0, 100.0]])


def test_mase_is_the_error_over_that_of_the_seasonal_naive_method_within_the_history() -> None:
    scale = scores.seasonal_scale(np.array([1.0, 5.0, 3.0, 9.0]), 2)  # |3-1|, |9-5|
    assert scale == 3.0
    assert scores.mase(ACTUAL, POINTS, np.array([scale, 2.0])) == pytest.approx([3.5 / 3, 0.5])


def test_a_history_without_changes_has_no_scale_and_its_mase_is_not_a_number() -> None:
    assert np.isnan(scores.seasonal_scale(np.ones(5), 1))
    assert np.isnan(scores.mase(ACTUAL, POINTS, np.array([np.nan, 1.0]))[0])


def test_a_history_of_one_season_is_scaled_by_its_steps() -> None:
    assert scores.seasonal_scale(np.array([1.0, 2.0, 4.0]), 3) == 1.5


def test_smape_is_that_of_the_m4_competition() -> None:
    found = scores.smape(ACTUAL, POINTS)
    assert found == pytest.approx([(200 * 2 / 22 + 200 * 5 / 35) / 2, 200 * 1 / 9])
    assert scores.smape(np.zeros((1, 1)), np.zeros((1, 1))) == pytest.approx([0.0])


def test_mape_is_positive_in_percent_and_leaves_out_zeros() -> None:
    assert scores.mape(ACTUAL, POINTS) == pytest.approx([(20 + 25) / 2, 20.0])
    assert scores.mape(np.array([[0.0, 2.0]]), np.array([[5.0, 1.0]])) == pytest.approx([50.0])
    assert np.isnan(scores.mape(np.array([[0.0]]), np.array([[5.0]]))[0])


def test_wql_is_twice_the_quantile_loss_over_what_happened() -> None:
    quantiles = np.array([[[8.0, 12.0]]])
    # at .1: .1 * (10 - 8); at .9: (1 - .9) * (12 - 10)
    assert scores.wql(np.array([[10.0]]), quantiles, (0.1, 0.9)) == pytest.approx(2 * 0.2 / 10)


def test_the_median_s_loss_is_half_the_absolute_error() -> None:
    loss = scores.pinball(np.array([[10.0, np.nan]]), np.array([[[7.0], [1.0]]]), (0.5,))
    assert loss == pytest.approx(np.array([[1.5]]))


def test_coverage_counts_the_ends_and_leaves_out_what_is_not_known() -> None:
    quantiles = np.array([[[10.0, 0.0, 15.0], [21.0, 0.0, 30.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]])
    assert scores.coverage(ACTUAL, quantiles, (0.1, 0.5, 0.9), 80) == pytest.approx(100 / 3)
