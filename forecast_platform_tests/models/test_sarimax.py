"""Covariates of SARIMAX: known the evening before, projected, and kept only where they are worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.history import ONE_DAY, Floats, History
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.sarimax import (
    SarimaxAutoWeather,
    covariate_names,
    describe,
    known_before,
    ridge,
    worthwhile_effect,
)
from forecast_platform.testing.histories import changed_from, random_history

WINDOW = TrainingWindow(np.datetime64("2014-01-01"), np.datetime64("2018-01-01"))
PERSISTENCE = 0.8


def history_with_weather(effect: float, seed: int = 1) -> History:
    """A random walk whose moves follow the evening before's anomaly of `temp_min_c` by `effect` standard deviations."""
    base = random_history(seed=seed, start="2014-01-01", end="2018-07-01", name="Planted")
    noise = np.random.default_rng(seed + 100).normal(size=(2, len(base)))
    anomaly = noise[0]
    for day in range(1, len(anomaly)):
        anomaly[day] = PERSISTENCE * anomaly[day - 1] + np.sqrt(1 - PERSISTENCE**2) * noise[0, day]
    moves = np.where(base.observed, 0.02 * effect * np.concatenate([[0.0], anomaly[:-1]]), 0.0)
    season = 8.0 * np.cos(2 * np.pi * np.arange(len(base)) / 365.2425)
    columns = {"temp_min_c": 15.0 + season + 3.0 * anomaly, "precipitation_mm": noise[1] ** 2}
    return replace(base, close=base.close * np.exp(np.cumsum(moves)), covariates=columns)


def test_a_planted_weather_effect_is_found() -> None:
    history = history_with_weather(0.3)
    fitted = SarimaxAutoWeather().fit(history.before(WINDOW.end), WINDOW)
    figures = fitted.training_metrics()
    assert figures["effect_kept"] > 0.5
    beta = {entry["name"]: entry["beta"] / figures["sigma"] for entry in fitted.state["covariates"]}
    assert 0.15 < beta["temp_min_c"] < 0.35
    assert abs(beta["precipitation_mm"]) < 0.08
    blind = SarimaxAutoWeather().fit(replace(history, covariates={}).before(WINDOW.end), WINDOW)
    later = history.observed_dates >= WINDOW.end
    assert _squares(fitted.filter(history).innovations[later]) < 0.97 * _squares(
        blind.filter(history).innovations[later]
    )


def test_weather_without_an_effect_is_dropped() -> None:
    rng = np.random.default_rng(8)
    kept = [worthwhile_effect(rng.normal(size=1250), rng.normal(size=(1250, 4)))[1] for _ in range(100)]
    assert np.mean(np.array(kept) > 0.0) < 0.1
    fitted = SarimaxAutoWeather().fit(history_with_weather(0.0).before(WINDOW.end), WINDOW)
    assert fitted.state["covariates"] == []
    assert fitted.offset(history_with_weather(0.0), np.array([WINDOW.end]), 14) is None


def test_the_projected_effect_decays_by_trading_day_and_reads_the_evening_before_the_origin_only() -> None:
    history = history_with_weather(0.3)
    fitted = SarimaxAutoWeather().fit(history.before(WINDOW.end), WINDOW)
    origins = np.array(["2018-02-05"], "datetime64[D]")
    offset = fitted.offset(history, origins, 14)
    assert offset is not None
    single = replace(fitted, state={**fitted.state, "covariates": fitted.state["covariates"][1:]})
    (entry,) = single.state["covariates"]
    decay = single.offset(history, origins, 14)[0]
    np.testing.assert_allclose(decay[1:5] / decay[0:4], entry["persistence"])
    np.testing.assert_allclose(decay[7] / decay[4], entry["persistence"])
    assert entry["persistence"] == pytest.approx(0.8 * PERSISTENCE + 0.2 * PERSISTENCE**3, abs=0.06)
    np.testing.assert_array_equal(fitted.offset(changed_from(history, origins[0]), origins, 14), offset)
    assert not np.array_equal(fitted.offset(changed_from(history, origins[0] - ONE_DAY), origins, 14), offset)


def test_the_first_step_s_offset_is_the_effect_that_the_filter_subtracts() -> None:
    history = history_with_weather(0.3)
    fitted = SarimaxAutoWeather().fit(history.before(WINDOW.end), WINDOW)
    origins = history.observed_dates[-60:-20]
    np.testing.assert_allclose(fitted.offset(history, origins, 1)[:, 0], fitted.effect(history)[-60:-20], atol=1e-15)


def test_paths_follow_the_planted_effect() -> None:
    history = history_with_weather(0.3)
    fitted = SarimaxAutoWeather().fit(history.before(WINDOW.end), WINDOW)
    days = np.arange(np.datetime64("2018-01-08"), np.datetime64("2018-06-01"))
    origins = days[np.is_busday(days)]
    blind = replace(fitted, state={**fitted.state, "covariates": []})
    shocks = Shocks(3, fitted.n_slots)
    shift = fitted.simulate(history, origins, 1, 500, shocks) - blind.simulate(history, origins, 1, 500, shocks)
    moves = shift.mean(axis=(1, 2)) / history.close[np.searchsorted(history.dates, origins) - 1]
    np.testing.assert_allclose(np.corrcoef(moves, fitted.offset(history, origins, 1)[:, 0])[0, 1], 1.0, atol=0.05)


def test_weather_wins_over_other_covariates_and_these_serve_where_there_is_none() -> None:
    history = random_history(covariates=True)
    assert covariate_names(history) == ["precipitation_mm", "temp_mean_c"]
    assert covariate_names(replace(history, covariates={"vix": history.covariates["vix"]})) == ["vix"]


def test_a_seasonal_cycle_is_no_deviation() -> None:
    history = history_with_weather(0.0)
    season = {"temp_min_c": 15.0 + 8.0 * np.cos(2 * np.pi * np.arange(len(history)) / 365.2425)}
    assert describe(replace(history, covariates=season), "temp_min_c")["scale"] == 0.0


def test_a_covariate_that_is_no_weather_enters_by_its_change_over_a_weekend_too() -> None:
    history = random_history(covariates=True)
    entry = describe(history, "vix")
    monday = np.datetime64("2018-03-12")
    level = np.arcsinh(history.covariates["vix"] / entry["size"])
    day = int(np.searchsorted(history.dates, monday))
    change = (level[day - 1] - level[day - 4]) / entry["scale"]
    assert known_before(history, entry, np.array([monday]))[0] == pytest.approx(change)


def test_a_vendor_glitch_is_bounded() -> None:
    history = random_history(covariates=True)
    entry = describe(history, "vix")
    glitch = history.covariates["vix"].copy()
    glitch[-3] *= 100.0
    values = known_before(replace(history, covariates={"vix": glitch}), entry, history.observed_dates)
    assert np.abs(values).max() == 4.0


def test_ridge_shrinks_towards_zero_and_ignores_the_target_s_units() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 2))
    target = 0.01 * (0.2 * x[:, 0] + np.random.default_rng(1).normal(size=1000))
    beta = ridge(x, target, np.full(1000, 100.0))
    least_squares = np.linalg.lstsq(x, target, rcond=None)[0]
    np.testing.assert_allclose(beta, least_squares * 1000 / 1400, rtol=0.1, atol=2e-4)
    np.testing.assert_allclose(ridge(x, 50.0 * target, np.full(1000, 2.0)), 50.0 * beta)


def test_no_covariates_are_no_effect() -> None:
    beta, kept = worthwhile_effect(np.random.default_rng(0).normal(size=500), np.empty((500, 0)))
    assert beta.shape == (0,)
    assert kept == 0.0


def test_leading_days_without_covariates_are_counted() -> None:
    history = history_with_weather(0.0).since(np.datetime64("2014-03-01"))
    fitted = SarimaxAutoWeather().fit(history.before(WINDOW.end), WINDOW)
    assert fitted.training_metrics()["leading_days_dropped"] == 59


def test_momentum_is_found_and_innovations_lose_it() -> None:
    history = random_history(start="2014-01-01", momentum=0.3)
    fitted = SarimaxAutoWeather().fit(history.before(WINDOW.end), WINDOW)
    figures = fitted.training_metrics()
    assert figures["p"] + figures["q"] >= 1
    innovations = np.nan_to_num(fitted.filter(history).innovations[5:])
    assert abs(np.corrcoef(innovations[1:], innovations[:-1])[0, 1]) < 0.08


def test_too_short_a_history_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"sarimax_auto_weather for Planted: \d+ observed sessions"):
        SarimaxAutoWeather().fit(history_with_weather(0.0).before(np.datetime64("2014-06-01")), WINDOW)


def _squares(values: Floats) -> float:
    return float(np.mean(values**2))
