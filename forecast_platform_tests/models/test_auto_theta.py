"""Our recursion of the theta method agrees with statsforecast's states and forecasts."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.auto_theta import AutoTheta, AutoThetaFitted, parameters
from forecast_platform.models.base import TrainingWindow
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
VARIANTS = ["STM", "OTM", "DSTM", "DOTM"]


def library_and_ours(variant: str):
    from statsforecast.models import AutoTheta as Search

    history = random_history().before(WINDOW.end)
    base = AutoTheta().fit(history, WINDOW)
    library = Search(season_length=1, model=variant).fit(base.transform.forward(history.observed_close))
    model = AutoThetaFitted(WINDOW, {"scale": base.state["scale"], **parameters(library.model_)})
    return library, model.calibrated(history), history


@pytest.mark.parametrize("variant", VARIANTS)
def test_states_and_forecasts_are_statsforecast_s_own(variant: str) -> None:
    library, model, history = library_and_ours(variant)
    innovations, states = model.filter(history)[:2]
    np.testing.assert_allclose(states[0][1:], library.model_["states"][:, 0], atol=1e-9)
    np.testing.assert_allclose(innovations[1:], library.model_["residuals"][1:], atol=1e-9)
    state = tuple(column[-1:, None] for column in states)
    means = []
    for step in range(10):
        y = model.mean(state, step)
        means.append(y.item())
        state = model.advance(state, y, np.zeros((1, 1)))
    np.testing.assert_allclose(means, library.predict(10)["mean"], atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_mean_of_simulated_paths_is_the_library_s_forecast(variant: str) -> None:
    library, model, history = library_and_ours(variant)
    origin = np.array([WINDOW.end])
    paths = model.simulate(history, origin, 14, 2000, Shocks(5, model.n_slots))[0]
    trading = history.trading(origin, 14)[0]
    y = model.transform.forward(paths[:, trading].astype(np.float64))
    expected = library.predict(int(trading.sum()))["mean"]
    assert np.all(np.abs(y.mean(axis=0) - expected) < 4.0 * y.std(axis=0) / np.sqrt(len(y)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_path_s_recursion_is_the_filter_s(variant: str) -> None:
    _, model, _ = library_and_ours(variant)
    history = random_history()
    innovations, states = model.filter(history)[:2]
    y = model.transform.forward(history.observed_close)
    state = tuple(column[800:801, None] for column in states)
    for k in range(800, 820):
        np.testing.assert_allclose(y[k] - model.mean(state, 0), innovations[k], atol=1e-12)
        state = model.advance(state, y[k : k + 1, None], innovations[k : k + 1, None])
    for after, filtered in zip(state, states, strict=True):
        np.testing.assert_allclose(after.item(), filtered[820], atol=1e-12)


def test_drift_is_half_the_trend_of_the_window() -> None:
    _, model, history = library_and_ours("STM")
    y = model.transform.forward(history.observed_close)
    trend = np.polyfit(np.arange(len(y)), y, 1)[0]
    assert model.training_metrics()["drift"] == pytest.approx(trend / 2, rel=1e-6)


def test_too_short_a_history_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"auto_theta for Random: \d+ observed sessions"):
        AutoTheta().fit(random_history().before(np.datetime64("2015-03-01")), WINDOW)
