"""The ARMA recursion agrees with statsmodels' exact filter and forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.arma import Arma, without_roll_moves
from forecast_platform.models.auto_arima import AutoArimaFitted
from forecast_platform.models.base import TrainingWindow
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
CASES = [
    Arma(),
    Arma(ar=(0.5,), d=0, mean=0.7),
    Arma(ar=(0.3, -0.2), ma=(0.4,), d=1),
    Arma(ma=(-0.3, 0.2, 0.1), d=1, mean=0.001),
    Arma(ar=(0.2,), ma=(-0.85,), d=2),
]


def model_with(arma: Arma) -> AutoArimaFitted:
    state = {"scale": 60.0, "arma": arma.to_state(), "fell_back": False}
    return AutoArimaFitted(WINDOW, state).calibrated(random_history().before(WINDOW.end))


def exact(arma: Arma, y: np.ndarray):
    """statsmodels' filter with the same coefficients; its trend is the mean's share of the recursion's constant."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    orders = (len(arma.ar), arma.d, len(arma.ma))
    reference = SARIMAX(y, order=orders, trend="c" if arma.mean else "n")
    constant = [arma.mean * (1.0 - sum(arma.ar))] if arma.mean else []
    return reference.filter([*constant, *arma.ar, *arma.ma, 1e-4])


@pytest.mark.parametrize("arma", CASES, ids=str)
def test_innovations_agree_with_the_exact_filter_on_new_data(arma: Arma) -> None:
    history = random_history()
    model = model_with(arma)
    y = model.transform.forward(history.observed_close)
    training = history.before(WINDOW.end)
    results = exact(arma, model.transform.forward(training.observed_close)).apply(y)
    innovations = model.filter(history).innovations
    np.testing.assert_allclose(y[200:] - innovations[200:], results.fittedvalues[200:], atol=1e-6)


@pytest.mark.parametrize("arma", CASES, ids=str)
def test_mean_recursion_without_shocks_is_the_library_s_forecast(arma: Arma) -> None:
    history = random_history()
    model = model_with(arma)
    state = tuple(column[-1:, None] for column in model.filter(history).states)
    means = []
    for step in range(10):
        y = model.mean(state, step)
        means.append(y.item())
        state = model.advance(state, y, np.zeros((1, 1)))
    expected = exact(arma, model.transform.forward(history.observed_close)).forecast(10)
    np.testing.assert_allclose(means, expected, atol=1e-5 if arma.d == 2 else 1e-6)


def test_mean_of_simulated_paths_is_the_library_s_forecast() -> None:
    arma = Arma(ar=(0.3, -0.2), ma=(0.4,), d=1)
    history = random_history().before(np.datetime64("2018-06-01"))
    model = model_with(arma)
    paths = model.simulate(history, np.array(["2018-06-01"], "datetime64[D]"), 14, 2000, Shocks(5, model.n_slots))[0]
    trading = history.trading(np.array(["2018-06-01"], "datetime64[D]"), 14)[0]
    y = model.transform.forward(paths[:, trading].astype(np.float64))
    expected = exact(arma, model.transform.forward(history.observed_close)).forecast(int(trading.sum()))
    assert np.all(np.abs(y.mean(axis=0) - expected) < 4.0 * y.std(axis=0) / np.sqrt(len(y)))


def test_innovations_feed_back_into_states_along_a_path() -> None:
    arma = Arma(ar=(0.3, -0.2), ma=(0.4, 0.1), d=1)
    history = random_history()
    model = model_with(arma)
    innovations, states = model.filter(history)[:2]
    y = model.transform.forward(history.observed_close)
    state = tuple(column[500:501, None] for column in states)
    for k in range(500, 520):
        np.testing.assert_allclose(y[k] - model.mean(state, 0), innovations[k], atol=1e-12)
        state = model.advance(state, y[k : k + 1, None], innovations[k : k + 1, None])
    for after, filtered in zip(state, states, strict=True):
        np.testing.assert_allclose(after.item(), filtered[520], atol=1e-12)


@pytest.mark.parametrize(
    "arma",
    [Arma(ar=(1.02,)), Arma(ma=(-1.0,)), Arma(ma=(1.5,)), Arma(ar=(0.5, 0.6)), Arma(ar=(float("nan"),))],
    ids=str,
)
def test_unstable_or_non_invertible_coefficients_become_a_random_walk(arma: Arma) -> None:
    assert arma.or_simpler() == (Arma(), False)


def test_admissible_coefficients_are_kept() -> None:
    for arma in CASES:
        assert arma.or_simpler() == (arma, True)


def test_a_roll_s_move_is_no_news_to_the_mean_but_stays_in_the_level() -> None:
    history = random_history()
    rolls = np.zeros(len(history), bool)
    day = int(history.observed_index[300])
    rolls[day] = True
    jumped = replace(history, close=np.where(np.arange(len(history)) >= day, 1.2, 1.0) * history.close, rolls=rolls)
    plain = replace(history, rolls=rolls)
    arma = Arma(ar=(0.6,), d=1)
    model = model_with(arma)
    state, jumped_state = model.filter(plain).states, model.filter(jumped).states
    y = model.transform.forward(jumped.observed_close)
    np.testing.assert_allclose(jumped_state[1][301], state[1][301], atol=1e-12)
    np.testing.assert_allclose(jumped_state[0][1:], y, atol=1e-12)
    adjusted, shift = without_roll_moves(jumped, y)
    assert adjusted[300] == pytest.approx(adjusted[299])
    np.testing.assert_allclose(adjusted + shift, y, atol=1e-12)
