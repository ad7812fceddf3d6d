from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.naive import Naive
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
HISTORY = random_history()


def test_changes_have_mean_zero_over_the_pool() -> None:
    changes = Naive().fit(HISTORY.before(WINDOW.end), WINDOW).state["changes"]
    assert len(changes) == len(WINDOW.pool)
    assert abs(changes.mean()) < 1e-15


def test_a_path_is_the_last_close_plus_drawn_changes() -> None:
    model = Naive().fit(HISTORY.before(WINDOW.end), WINDOW)
    shocks = Shocks(5, model.n_slots)
    monday = np.array(["2018-02-05"], "datetime64[D]")
    paths = model.simulate(HISTORY, monday, 5, 20, shocks)[0]
    last = HISTORY.close[np.searchsorted(HISTORY.dates, monday[0]) - 1]
    drawn = model.state["changes"][shocks.slots(monday, 20, 5)[0]]
    expected = last + np.hypot(last, model.state["scale"]) * np.cumsum(drawn, axis=0)
    assert np.array_equal(paths, expected.T.astype(np.float32))


def test_pool_holds_the_change_of_its_own_date_relative_to_the_level() -> None:
    training = HISTORY.before(WINDOW.end)
    model = Naive().fit(training, WINDOW)
    slot = 400
    day = np.searchsorted(training.observed_dates, WINDOW.pool[slot])
    before, after = training.observed_close[day - 1 : day + 1]
    relative = (after - before) / np.hypot(before, model.state["scale"])
    offset = relative - model.state["changes"][slot]
    other = 500
    day = np.searchsorted(training.observed_dates, WINDOW.pool[other])
    before, after = training.observed_close[day - 1 : day + 1]
    assert (after - before) / np.hypot(before, model.state["scale"]) - offset == pytest.approx(
        model.state["changes"][other], abs=1e-15
    )


def test_mean_is_the_last_close_and_spread_grows_with_the_square_root_of_trading_days() -> None:
    model = Naive().fit(HISTORY.before(WINDOW.end), WINDOW)
    mondays = np.arange(np.datetime64("2018-01-08"), np.datetime64("2018-06-01"), 7)
    paths = model.simulate(HISTORY, mondays, 14, 2000, Shocks(5, model.n_slots)).astype(np.float64)
    last = HISTORY.close[np.searchsorted(HISTORY.dates, mondays) - 1]
    error = paths.std(axis=1) / np.sqrt(2000)
    assert (np.abs(paths.mean(axis=1) - last[:, None]) < 5 * error).all()
    spread = paths.std(axis=1).mean(axis=0)
    assert spread[[1, 2, 3, 4, 7, 11]] / spread[0] == pytest.approx(np.sqrt([2, 3, 4, 5, 6, 10]), rel=0.03)
