"""Our recursion of exponential smoothing agrees with statsforecast's states and forecasts."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.models.auto_ets import AutoEts, AutoEtsFitted, parameters
from forecast_platform.models.base import TrainingWindow
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))


@pytest.mark.parametrize(("form", "damped"), [("ANN", False), ("AAN", False), ("AAN", True)])
def test_states_and_forecasts_are_statsforecast_s_own(form: str, damped: bool) -> None:
    from statsforecast.models import AutoETS

    history = random_history().before(WINDOW.end)
    fitted = AutoEts().fit(history, WINDOW)
    y = fitted.transform.forward(history.observed_close)
    library = AutoETS(season_length=1, model=form, damped=damped).fit(y)
    model = AutoEtsFitted(WINDOW, {**fitted.state, **parameters(library.model_)})
    innovations, states = model.filter(history)[:2]
    np.testing.assert_allclose(np.stack(states, axis=1), library.model_["states"], atol=1e-9)
    np.testing.assert_allclose(innovations, library.model_["residuals"], atol=1e-9)
    state = tuple(column[-1:, None] for column in states)
    means = []
    for step in range(10):
        y_next = model.mean(state, step)
        means.append(y_next.item())
        state = model.advance(state, y_next, np.zeros((1, 1)))
    level, slope = states[0][-1], states[1][-1] if form == "AAN" else 0.0
    textbook = level + slope * np.cumsum(model.state["phi"] ** np.arange(1, 11))
    np.testing.assert_allclose(means, textbook, atol=1e-9)
    # statsforecast's damped forecast counts phi twice before phi^2; its states and its first step do not.
    agreed = 1 if damped else 10
    np.testing.assert_allclose(means[:agreed], library.predict(10)["mean"][:agreed], atol=1e-9)


def test_a_path_s_recursion_is_the_filter_s() -> None:
    history = random_history()
    base = AutoEts().fit(history.before(WINDOW.end), WINDOW)
    trend = {"trend": True, "alpha": 0.6, "beta": 0.05, "phi": 0.9, "level": 1.0, "slope": 0.001}
    model = AutoEtsFitted(WINDOW, {**base.state, **trend})
    innovations, states = model.filter(history)[:2]
    y = model.transform.forward(history.observed_close)
    state = tuple(column[700:701, None] for column in states)
    for k in range(700, 720):
        state = model.advance(state, y[k : k + 1, None], innovations[k : k + 1, None])
    for after, filtered in zip(state, states, strict=True):
        np.testing.assert_allclose(after.item(), filtered[720], atol=1e-12)


def test_random_walk_s_level_is_nearly_its_last_value() -> None:
    fitted = AutoEts().fit(random_history(seed=4).before(WINDOW.end), WINDOW)
    assert fitted.training_metrics()["smoothing_level"] > 0.9


def test_too_short_a_history_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"auto_ets for Random: \d+ observed sessions"):
        AutoEts().fit(random_history().before(np.datetime64("2015-03-01")), WINDOW)
