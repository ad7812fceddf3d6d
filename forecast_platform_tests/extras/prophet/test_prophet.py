"""Prophet's model keeps the contract, is anchored at the last close, and its mean is the library's own."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from prophet.serialize import model_from_json

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.prophet import Prophet
from forecast_platform.testing import CHECKS, Subject
from forecast_platform.testing.checks import ORIGINS, SEED, synthetic

pytestmark = pytest.mark.extra


@cache
def subject() -> Subject:
    return Subject(Prophet())


@pytest.mark.parametrize("check", CHECKS)
def test_the_model_keeps_the_contract(check: str) -> None:
    CHECKS[check](subject())


def test_the_mean_moves_as_prophet_s_own_forecast_does_from_the_last_close_on() -> None:
    fitted, history = subject().fitted, synthetic()
    origin = np.array(["2018-02-06"], "datetime64[D]")
    paths = fitted.simulate(history, origin, 14, 6000, Shocks(SEED, fitted.n_slots))
    y = fitted.transform.forward(paths[0].astype(np.float64))
    days = pd.to_datetime(["2018-02-05", "2018-02-06", "2018-02-19"])
    library = model_from_json(fitted.state["library"])
    own = library.predict(pd.DataFrame({"ds": days}))["yhat"].to_numpy()
    last = fitted.transform.forward(history.before(origin[0]).observed_close)[-1]
    for day, at in ((0, 1), (13, 2)):
        error = 3.5 * y[:, day].std() / np.sqrt(6000)
        assert y[:, day].mean() == pytest.approx(last + own[at] - own[0], abs=error)


def test_a_stiffer_trend_is_another_fit() -> None:
    stiff = Prophet({"changepoint_prior_scale": 0.001})
    other = Subject(stiff)
    assert not np.array_equal(other.paths(synthetic(), ORIGINS[:3]), subject().paths(synthetic(), ORIGINS[:3]))
