"""Scores: known answers, slow obvious versions, and the properties that make them honest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from forecast_platform.forecasting import metrics
from forecast_platform.forecasting.metrics import score_columns, score_dates
from forecast_platform.forecasting.summary import sorted_paths

DAY = np.datetime64("2018-01-01")
_values = st.floats(-1000, 1000, width=32)


def _normal_crps(mean: float, sigma: float, y: float) -> float:
    z = (y - mean) / sigma
    return sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


def _case(n: int = 40, n_paths: int = 400, sigma: float = 2.0, seed: int = 0, start: str = "2018-01-01") -> dict:
    """Driftless walks that move on weekdays, and actuals from the same law with standard deviation 2 a day."""
    rng = np.random.default_rng(seed)
    origins = np.datetime64(start) + np.arange(n)
    trading = np.is_busday(origins[:, None] + np.arange(14))
    steps = np.where(trading[:, None], rng.standard_normal((n, n_paths, 14)), 0.0)
    moves = np.where(trading, rng.standard_normal((n, 14)), 0.0)
    return {
        "paths": (100 + sigma * steps.cumsum(axis=2)).astype(np.float32),
        "last_close": np.full(n, 100.0),
        "targets": 100 + 2.0 * moves.cumsum(axis=1),
        "is_trading": trading,
        "origins": origins,
    }


def test_crps_of_a_normal_distribution_is_the_closed_form() -> None:
    assert _normal_crps(100, 5, 103) == pytest.approx(1.865779, abs=1e-6)
    samples = stats.norm(100, 5).ppf((np.arange(20_000) + 0.5) / 20_000)
    assert metrics.crps(samples[None], np.array([103.0]))[0] == pytest.approx(1.865779, abs=1e-4)


@given(arrays(np.float32, st.integers(1, 30), elements=_values), _values)
def test_crps_equals_the_double_sum(samples: np.ndarray, y: float) -> None:
    exact = samples.astype(np.float64)
    slow = np.abs(exact - y).mean() - np.abs(exact[:, None] - exact[None]).mean() / 2
    assert metrics.crps(np.sort(samples)[None], np.array([y]))[0] == pytest.approx(slow, rel=1e-9, abs=1e-6)


def test_crps_of_a_point_mass_is_the_absolute_error() -> None:
    assert metrics.crps(np.full((1, 50), 98.0), np.array([103.0]))[0] == pytest.approx(5.0)


def test_crps_is_best_for_the_true_spread() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(100, 5, 2000)
    quantiles = stats.norm.ppf((np.arange(500) + 0.5) / 500)
    scores = {
        sigma: metrics.crps(np.broadcast_to(100 + sigma * quantiles, (2000, 500)), y).mean() for sigma in (2, 5, 12)
    }
    assert min(scores, key=scores.__getitem__) == 5


def test_crps_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        metrics.crps(np.zeros((3, 10)), np.zeros(4))


def test_coverage_of_a_known_distribution_is_nominal() -> None:
    y = np.random.default_rng(1).normal(0, 1, 40_000)
    bound = stats.norm.ppf(0.9)
    assert metrics.coverage(y, np.full(len(y), -bound), np.full(len(y), bound)) == pytest.approx(0.8, abs=0.01)
    assert metrics.coverage(np.array([1.0, 3.0, np.nan]), np.array([1.0] * 3), np.array([2.0] * 3)) == 0.5


def test_pit_is_uniform_where_the_forecast_is_the_truth() -> None:
    rng = np.random.default_rng(2)
    samples = np.sort(rng.normal(0, 1, (1500, 60)), axis=1)
    values = metrics.pit(samples, rng.normal(0, 1, 1500), rng.random(1500))
    assert stats.kstest(values, "uniform").pvalue > 0.01
    assert values.min() > 0
    assert values.max() < 1


def test_pit_is_uniform_where_samples_tie_with_the_observation() -> None:
    rng = np.random.default_rng(3)
    samples = np.sort(rng.integers(0, 3, (1500, 60)).astype(np.float32), axis=1)
    values = metrics.pit(samples, rng.integers(0, 3, 1500).astype(np.float64), rng.random(1500))
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_pit_finds_ties_in_the_precision_of_the_paths() -> None:
    held = np.full((1, 99), 204.35, np.float32)
    assert metrics.pit(held, np.array([204.35]), np.array([0.5]))[0] == pytest.approx(0.5)


def test_the_number_that_breaks_ties_depends_on_the_date_alone() -> None:
    days = DAY + np.arange(500)
    whole = metrics.pit_uniforms(days)
    np.testing.assert_array_equal(whole[[7, 3]], metrics.pit_uniforms(days[[7, 3]]))
    assert len(np.unique(whole)) == 500
    assert stats.kstest(whole, "uniform").pvalue > 0.01


def test_point_measures_on_a_hand_made_series() -> None:
    actual, forecast = np.array([10.0, 0.0, -20.0, np.nan]), np.array([12.0, 1.0, -16.0, 5.0])
    assert metrics.mae(actual, forecast) == pytest.approx(7 / 3)
    assert metrics.rmse(actual, forecast) == pytest.approx(np.sqrt(7))
    assert metrics.mape(actual, forecast) == pytest.approx((20 + 20) / 2)
    assert metrics.smape(actual, forecast) == pytest.approx((200 * 2 / 22 + 200 + 200 * 4 / 36) / 3)
    assert metrics.smape(np.zeros(2), np.zeros(2)) == 0
    assert metrics.mase(actual, forecast, np.array([1.0, 3.0, 2.0, 5.0])) == pytest.approx((7 / 3) / 2)
    assert metrics.mase(actual, forecast, np.array([1.0, 3.0, 2.0, 5.0]), season=2) == pytest.approx((7 / 3) / 1.5)
    assert np.isnan(metrics.mae(np.array([np.nan]), np.array([1.0])))


def test_mase_refuses_a_series_that_gives_no_scale() -> None:
    with pytest.raises(ValueError, match="never changes"):
        metrics.mase(np.ones(2), np.ones(2), np.full(9, 4.0))
    with pytest.raises(ValueError, match="more than season"):
        metrics.mase(np.ones(2), np.ones(2), np.ones(1))


def test_pinball_loss_is_least_at_the_true_quantile() -> None:
    y = np.random.default_rng(4).normal(0, 1, 20_000)
    losses = [float(metrics.pinball(y, np.full(len(y), q), 0.9)) for q in (0.8, stats.norm.ppf(0.9), 1.8)]
    assert losses[1] == min(losses)
    assert metrics.pinball(np.array([3.0, 1.0]), np.array([2.0, 2.0]), 0.9) == pytest.approx((0.9 + 0.1) / 2)


def test_direction_counts_sides_and_calls_no_move_a_coin_toss() -> None:
    forecast, actual = np.array([101.0, 99, 101, 100, 101, np.nan]), np.array([102.0, 98, 99, 98, 100, 102])
    np.testing.assert_array_equal(
        metrics.direction(np.full(6, 100.0), forecast, actual), [1, 1, 0, 0.5, np.nan, np.nan]
    )


def test_skill_is_the_share_of_the_loss_saved() -> None:
    np.testing.assert_allclose(metrics.skill(np.array([1.0, 2.0, 1.0]), np.array([2.0, 1.0, 0.0])), [0.5, -1, np.nan])


def test_diebold_mariano_equals_a_hand_computation() -> None:
    d = np.array([1.0, 3.0, -1.0, 2.0, 4.0, 0.0])
    # mean 1.5; deviations -.5 1.5 -2.5 .5 2.5 -1.5; gamma0 = 17.5/6, gamma1 = (-.75-3.75-1.25+1.25-3.75)/6 = -8.25/6
    variance = (17.5 - 2 * 8.25) / 6
    statistic = 1.5 / np.sqrt(variance / 6) * np.sqrt((6 + 1 - 4 + 2 / 6) / 6)
    found = metrics.diebold_mariano(d + 7, np.full(6, 7.0), horizon=2)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(2 * stats.t.sf(statistic, 5))
    swapped = metrics.diebold_mariano(np.full(6, 7.0), d + 7, horizon=2)
    assert swapped.statistic == pytest.approx(-statistic)


def test_diebold_mariano_at_horizon_one_is_the_t_test_of_the_difference() -> None:
    d = np.random.default_rng(5).normal(0.1, 1, 50)
    found = metrics.diebold_mariano(d, np.zeros(50), horizon=1)
    assert found.p_value == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    assert found.statistic == pytest.approx(stats.ttest_1samp(d, 0).statistic)


def test_diebold_mariano_holds_its_size_on_overlapping_losses() -> None:
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((400, 409))
    losses = np.lib.stride_tricks.sliding_window_view(noise, 10, axis=1).mean(axis=2)
    rejected = np.mean([metrics.diebold_mariano(row, np.zeros(400), 10).p_value < 0.05 for row in losses])
    assert rejected < 0.12
    assert np.mean([metrics.diebold_mariano(row, np.zeros(400), 1).p_value < 0.05 for row in losses]) > 0.3


def test_diebold_mariano_says_nothing_where_there_is_nothing_to_say() -> None:
    losses = np.arange(20.0)
    assert metrics.diebold_mariano(losses, losses, 10) == (0.0, 1.0)
    assert np.isnan(metrics.diebold_mariano(losses[:10], losses[:10] ** 2, 10).p_value)
    assert np.isnan(metrics.diebold_mariano(losses + 1, losses, 3).p_value)
    with pytest.raises(ValueError, match="horizon"):
        metrics.diebold_mariano(losses, losses, 0)


def test_scores_of_dates_equal_a_slow_obvious_version() -> None:
    case = _case(n=12)
    case["targets"][-1, 5:] = np.nan
    columns = score_dates(**case)
    assert tuple(columns) == score_columns(14)
    for row in range(12):
        for suffix, days in {"1d": 1, "7d": 7, "14d": 14}.items():
            cells = [
                (case["paths"][row, :, day].astype(np.float64), case["targets"][row, day])
                for day in range(days)
                if case["is_trading"][row, day] and np.isfinite(case["targets"][row, day])
            ]
            slow = {
                "mae": [abs(np.median(x) - y) for x, y in cells],
                "mape": [100 * abs(np.median(x) - y) / abs(y) for x, y in cells],
                "rmse": [(x.mean() - y) ** 2 for x, y in cells],
                "crps": [np.abs(x - y).mean() - np.abs(x[:, None] - x).mean() / 2 for x, y in cells],
                "coverage_80": [np.quantile(x, 0.1) <= y <= np.quantile(x, 0.9) for x, y in cells],
                "coverage_95": [np.quantile(x, 0.025) <= y <= np.quantile(x, 0.975) for x, y in cells],
                "sharpness_80": [np.quantile(x, 0.9) - np.quantile(x, 0.1) for x, y in cells],
                "sharpness_95": [np.quantile(x, 0.975) - np.quantile(x, 0.025) for x, y in cells],
            }
            for measure, values in slow.items():
                expected = np.mean(values) if values else np.nan
                expected = np.sqrt(expected) if measure == "rmse" else expected
                assert columns[f"{measure}_{suffix}"][row] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert columns["actuals_available"].tolist() == [14] * 11 + [5]
    assert np.isnan(columns["pit"][-1])
    assert np.isfinite(columns["pit"][:-1]).all()


def test_weekends_and_holidays_never_count() -> None:
    case = _case(n=14)
    scored = score_dates(**case)
    shut = ~case["is_trading"]
    for value in (100.0, 250.0, np.nan):
        case["targets"] = np.where(shut, value, case["targets"])
        changed = score_dates(**case)
        for name in set(score_columns(14)) - {"actuals_available"}:
            np.testing.assert_array_equal(scored[name], changed[name])
    saturday = np.is_busday(case["origins"], weekmask="0000010")
    assert np.isnan(scored["crps_1d"][saturday]).all()
    assert np.isnan(scored["dir_day0"][saturday]).all()


def test_a_date_whose_market_stays_shut_has_no_score() -> None:
    case = _case(n=3)
    case["is_trading"][:] = False
    columns = score_dates(**case)
    assert all(np.isnan(columns[name]).all() for name in score_columns(14) if name != "actuals_available")


def test_a_date_with_no_actual_yet_has_no_score() -> None:
    case = _case(n=3)
    case["targets"][:] = np.nan
    columns = score_dates(**case)
    assert columns["actuals_available"].tolist() == [0, 0, 0]
    assert all(np.isnan(columns[name]).all() for name in score_columns(14) if name != "actuals_available")


def test_scores_do_not_depend_on_the_batch_or_on_who_sorted() -> None:
    case = _case(n=60, n_paths=2000)
    whole = score_dates(**case)
    given_sorted = score_dates(**case, ordered=sorted_paths(case["paths"]))
    alone = score_dates(**{name: array[31:32] for name, array in case.items()})
    for name in score_columns(14):
        np.testing.assert_array_equal(whole[name], given_sorted[name])
        np.testing.assert_array_equal(whole[name][31:32], alone[name])


def test_better_predictions_improve_the_score() -> None:
    case = _case(n=250)
    truth = score_dates(**case)
    wide, narrow = score_dates(**_case(n=250, sigma=5.0)), score_dates(**_case(n=250, sigma=0.7))
    biased = score_dates(**{**case, "paths": case["paths"] + np.float32(6)})
    for worse in (wide, narrow, biased):
        assert np.nanmean(truth["crps_14d"]) < np.nanmean(worse["crps_14d"])
    assert np.nanmean(truth["mae_14d"]) < np.nanmean(biased["mae_14d"])
    assert np.nanmean(narrow["coverage_80_14d"]) < np.nanmean(truth["coverage_80_14d"])
    assert np.nanmean(truth["coverage_80_14d"]) == pytest.approx(0.8, abs=0.05)
    assert np.nanmean(narrow["sharpness_80_14d"]) < np.nanmean(truth["sharpness_80_14d"])
    assert stats.kstest(truth["pit"], "uniform").pvalue > 0.001 > stats.kstest(narrow["pit"], "uniform").pvalue


def test_direction_of_a_date_is_against_the_last_known_close() -> None:
    case = _case(n=5)
    case["paths"][:, :, 0] = 100 + np.linspace(-1, 2, 400, dtype=np.float32)
    case["paths"][4, :, 0] = 100
    case["targets"][:, 0] = [103, 97, 100, 103, 103]
    case["is_trading"][3, 0] = False
    np.testing.assert_array_equal(score_dates(**case)["dir_day0"], [1, 0, np.nan, np.nan, 0.5])


def test_a_held_close_in_single_precision_is_no_move() -> None:
    case = _case(n=1)
    case["last_close"][:] = 204.35
    case["targets"][:, 0] = np.float32(204.35)
    assert np.isnan(score_dates(**case)["dir_day0"][0])


def test_negative_actuals_are_scored() -> None:
    case = _case(n=5)
    mirrored = {**case, "paths": -case["paths"], "targets": -case["targets"], "last_close": -case["last_close"]}
    for name in ("crps_14d", "mae_14d", "mape_14d", "rmse_7d", "coverage_80_14d"):
        np.testing.assert_allclose(score_dates(**case)[name], score_dates(**mirrored)[name], rtol=1e-9)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="targets"):
        score_dates(**{**_case(n=3), "targets": np.zeros((3, 7))})


def test_each_last_close_counts_once_with_its_latest_forecast() -> None:
    friday, monday = np.datetime64("2018-01-05"), np.datetime64("2018-01-08")
    forecast = friday + np.arange(1, 5)  # Saturday, Sunday, Monday, Tuesday
    last = np.array([friday, friday, friday, monday])
    assert metrics.unique_origins(last).tolist() == [False, False, True, True]
    mixed = np.array([2, 0, 3, 1])
    assert metrics.unique_origins(last[mixed], forecast[mixed]).tolist() == [True, False, True, False]
    unknown = np.array([friday, np.datetime64("NaT"), np.datetime64("NaT")])
    assert metrics.unique_origins(unknown).tolist() == [True, False, False]
    assert metrics.unique_origins(last[:0]).tolist() == []


def test_pooled_figures_leave_out_what_does_not_count() -> None:
    keep = np.array([True, False, True, True])
    values = np.array([3.0, 100.0, 4.0, np.nan])
    assert metrics.pooled(values, keep) == 3.5
    assert metrics.pooled(values, keep, "root_mean_square") == pytest.approx(np.sqrt(12.5))
    assert np.isnan(metrics.pooled(values, ~keep & False))


@pytest.mark.parametrize(
    ("m", "n", "decimals"), [(6, 150, 9), (8, 8, 9), (20, 3, 9), (9, 40, 9), (6, 30, 1), (12, 12, 1)]
)
def test_mann_whitney_is_that_of_scipy(m: int, n: int, decimals: int) -> None:
    rng = np.random.default_rng(m * n)
    for shift in (-1.0, 0.0, 0.5, 3.0):
        recent, earlier = (np.round(values, decimals) for values in (rng.normal(shift, 1, m), rng.normal(0, 1, n)))
        expected = stats.mannwhitneyu(recent, earlier, alternative="greater").pvalue
        assert metrics.mann_whitney_greater(recent, earlier) == pytest.approx(expected, rel=1e-9)


def test_mann_whitney_of_equal_values_says_nothing_and_of_unknown_ones_is_refused() -> None:
    assert metrics.mann_whitney_greater(np.ones(20), np.ones(30)) == 1.0
    with pytest.raises(ValueError, match="all finite"):
        metrics.mann_whitney_greater(np.array([1.0, np.nan]), np.ones(3))
