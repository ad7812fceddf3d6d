from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import innovations
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.innovations import Filtered, InnovationsFitted, State, trading_steps
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
HISTORY = random_history(momentum=0.4)
ORIGINS = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-04-01"))


class Momentum(InnovationsFitted):
    """An AR(1) in returns, the smallest model with a state of two: the last y and the last return."""

    def filter(self, history: History) -> Filtered:
        y = self.transform.forward(history.observed_close)
        returns = np.diff(y, prepend=y[0])
        expected = np.concatenate([[0.0], self.state["phi"] * returns])
        return Filtered(returns - expected[:-1], (np.concatenate([y[:1], y]), np.concatenate([[0.0], returns])))

    def mean(self, state: State, step: int) -> Floats:
        return state[0] + self.state["phi"] * state[1]

    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        return (y, y - state[0])

    def offset(self, history: History, origins: Dates, horizon: int) -> Floats | None:
        return self.state.get("offset", 0.0) * np.arange(1.0, horizon + 1) + np.zeros((len(origins), 1))

    def training_metrics(self) -> dict[str, float]:
        return {}


def fitted(**state: float) -> Momentum:
    return Momentum(WINDOW, {"scale": 50.0, "phi": 0.4, **state}).calibrated(HISTORY.before(WINDOW.end))


def slow_path(model: Momentum, origin: np.datetime64, path: int, n_paths: int, horizon: int) -> list[float]:
    """One path, day by day and by the formulas of the module's docstring."""
    shocks = Shocks(3, model.n_slots).slots(np.array([origin]), n_paths, horizon)[0, :, path]
    known = HISTORY.before(origin)
    y = model.transform.forward(known.observed_close)
    last, previous = float(y[-1]), float(y[-2])
    variance = float(model.variance.filter(model.filter(known).innovations)[-1])
    close, closes = float(known.close[-1]), []
    for day in range(horizon):
        if HISTORY.trading(np.array([origin]), horizon)[0, day]:
            e = np.sqrt(variance) * model.state["residuals"][shocks[day]]
            following = last + 0.4 * (last - previous) + model.state.get("offset", 0.0) * (day + 1) + e
            variance = float(model.variance.step(np.float64(variance), e))
            last, previous = following, last
            close = 50.0 * np.sinh(following)
        closes.append(close)
    return closes


@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_paths_are_the_recursion_written_out(offset: float) -> None:
    model = fitted(offset=offset)
    paths = model.simulate(HISTORY, ORIGINS, 14, 6, Shocks(3, model.n_slots))
    for row in (0, 4, 40, 77):
        for path in (0, 5):
            assert paths[row, path] == pytest.approx(slow_path(model, ORIGINS[row], path, 6, 14), rel=1e-6)


def test_result_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    shocks = Shocks(3, model.n_slots)
    whole = model.simulate(HISTORY, ORIGINS, 14, 30, shocks)
    monkeypatch.setattr(innovations, "BLOCK_ORIGINS", 7)
    assert np.array_equal(model.simulate(HISTORY, ORIGINS, 14, 30, shocks), whole)


def test_paths_lie_in_memory_by_calendar_day() -> None:
    model = fitted()
    paths = model.simulate(HISTORY, ORIGINS, 14, 30, Shocks(3, model.n_slots))
    assert all(paths[:, :, day].flags.c_contiguous for day in range(14))


def test_mean_of_the_paths_is_the_model_s_mean() -> None:
    model = fitted()
    mondays = ORIGINS[np.is_busday(ORIGINS, "1000000")]
    paths = model.simulate(HISTORY, mondays, 5, 2000, Shocks(3, model.n_slots)).astype(np.float64)
    y = model.transform.forward(HISTORY.observed_close)
    known = HISTORY.known_sessions(mondays)
    momentum = y[known - 1] - y[known - 2]
    expected = y[known - 1] + momentum * (0.4 + 0.4**2 + 0.4**3)
    simulated = model.transform.forward(paths[:, :, 2])
    error = simulated.std(axis=1) / np.sqrt(2000)
    assert (np.abs(simulated.mean(axis=1) - expected) < 5 * error).all()


def test_residual_pool_is_demeaned_and_blind_to_roll_days() -> None:
    training = HISTORY.before(WINDOW.end)
    day = int(training.observed_index[300])
    rolled = replace(training, close=np.where(np.arange(len(training)) >= day, 1.5, 1.0) * training.close)
    flags = np.zeros(len(training), bool)
    flags[day] = True
    scale = {"scale": 50.0, "phi": 0.0}
    with_jump = Momentum(WINDOW, scale).calibrated(rolled).state["residuals"]
    without = Momentum(WINDOW, scale).calibrated(replace(rolled, rolls=flags)).state["residuals"]
    assert abs(without.mean()) < 1e-12
    assert with_jump.max() > 8
    assert without.max() < 5


def test_history_from_before_the_window_is_refused() -> None:
    model = fitted()
    early = random_history(start="2014-06-01")
    with pytest.raises(ValueError, match=r"history\.since"):
        model.simulate(early, ORIGINS[:1], 14, 10, Shocks(3, model.n_slots))


def test_steps_count_trading_days() -> None:
    steps = trading_steps(np.array([[False, True, True, False], [True, False, False, True]]))
    assert steps.column.tolist() == [[1, 2], [0, 3]]
    assert steps.reached.tolist() == [[0, 1, 2, 2], [1, 1, 1, 2]]
    assert trading_steps(np.zeros((2, 3), bool)).column.shape == (2, 0)


def test_an_origin_whose_horizon_is_all_closed_days_holds_its_close() -> None:
    model = fitted()
    paths = model.simulate(HISTORY, np.array(["2018-02-03"], "datetime64[D]"), 2, 5, Shocks(3, model.n_slots))
    assert (paths == np.float32(HISTORY.before(np.datetime64("2018-02-03")).close[-1])).all()
