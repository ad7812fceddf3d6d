"""AutoARIMA keeps statsforecast's coefficients and forecasts."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.models.arma import Arma
from forecast_platform.models.auto_arima import AutoArima, coefficients
from forecast_platform.models.base import TrainingWindow
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))


def test_one_step_means_and_forecasts_are_statsforecast_s_own() -> None:
    from statsforecast.models import AutoARIMA

    rng = np.random.default_rng(2)
    e = rng.normal(0.0, 0.01, 1501)
    w = e[1:] + 0.4 * e[:-1]
    for index in range(1, len(w)):
        w[index] += 0.3 * w[index - 1]
    y = np.cumsum(w)
    search = AutoARIMA(d=1, max_p=3, max_q=3, seasonal=False, allowdrift=True).fit(y)
    arma = coefficients(search.model_)
    assert arma.ar or arma.ma
    moves = np.diff(y, prepend=y[:1]) - arma.mean
    moves[0] = 0.0
    np.testing.assert_allclose(arma.innovations(moves)[200:], search.model_["residuals"][200:], atol=1e-7)


def test_search_finds_momentum() -> None:
    history = random_history(momentum=0.4)
    fitted = AutoArima().fit(history.before(WINDOW.end), WINDOW)
    figures = fitted.training_metrics()
    assert figures["p"] + figures["q"] >= 1
    assert figures["d"] == 1
    assert figures["fell_back"] == 0


def test_a_random_walk_stays_one() -> None:
    fitted = AutoArima().fit(random_history(seed=4).before(WINDOW.end), WINDOW)
    assert Arma.from_state(fitted.state["arma"]) == Arma()


def test_constant_of_a_stationary_series_is_its_mean() -> None:
    model = {"arma": (1, 0, 0, 0, 1, 0, 0), "coef": {"ar1": 0.5, "intercept": 2.0}}
    assert coefficients(model) == Arma(ar=(0.5,), d=0, mean=2.0)


def test_too_short_a_history_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"auto_arima for Random: \d+ observed sessions"):
        AutoArima().fit(random_history().before(np.datetime64("2015-03-01")), WINDOW)
