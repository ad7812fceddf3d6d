from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.naive import NaiveFitted
from forecast_platform.models.random_walk import RandomWalk, RandomWalkFitted
from forecast_platform.testing.histories import random_history
from forecast_platform_tests.histories import history_from_csv

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
HISTORY = random_history()


def test_spread_grows_with_the_square_root_of_trading_days_and_not_over_weekends() -> None:
    model = RandomWalk().fit(HISTORY.before(WINDOW.end), WINDOW)
    mondays = np.arange(np.datetime64("2018-01-08"), np.datetime64("2018-06-01"), 7)
    paths = model.simulate(HISTORY, mondays, 14, 2000, Shocks(5, model.n_slots)).astype(np.float64)
    spread = paths.std(axis=1).mean(axis=0)
    assert spread[[1, 2, 3, 4, 7, 11]] / spread[0] == pytest.approx(np.sqrt([2, 3, 4, 5, 6, 10]), rel=0.1)
    assert spread[5] == spread[6] == spread[4]


def test_median_is_the_last_close_within_its_error() -> None:
    model = RandomWalk().fit(HISTORY.before(WINDOW.end), WINDOW)
    mondays = np.arange(np.datetime64("2018-01-08"), np.datetime64("2018-06-01"), 7)
    paths = model.simulate(HISTORY, mondays, 14, 2000, Shocks(5, model.n_slots)).astype(np.float64)
    last = HISTORY.close[np.searchsorted(HISTORY.dates, mondays) - 1]
    error = paths.std(axis=1) / np.sqrt(2000)
    assert (np.abs(paths.mean(axis=1) - last[:, None]) < 6 * error).all()


def test_bands_are_wider_after_a_turbulent_month_than_after_a_calm_one() -> None:
    model = RandomWalk().fit(HISTORY.before(WINDOW.end), WINDOW)
    origin = np.array(["2018-03-05"], "datetime64[D]")
    spreads = []
    for size in (0.2, 3.0):
        close = HISTORY.close.copy()
        month = slice(np.searchsorted(HISTORY.dates, origin[0]) - 30, None)
        close[month] = close[month.start - 1] * (close[month] / close[month.start - 1]) ** size
        turbulent = type(HISTORY)(HISTORY.series, HISTORY.dates, close, HISTORY.observed, HISTORY.sessions)
        paths = model.simulate(turbulent, origin, 1, 2000, Shocks(5, model.n_slots))[0, :, 0]
        spreads.append(paths.std() / paths.mean())
    assert spreads[1] > 2 * spreads[0]


@pytest.mark.parametrize("name", ["naive", "random_walk"])
def test_two_series_move_together_as_their_residuals_did(name: str, landing: Path) -> None:
    window = TrainingWindow(np.datetime64("2013-01-01"), np.datetime64("2018-01-01"))
    origin = np.array(["2018-02-06"], "datetime64[D]")
    moves, pools = [], []
    for stem in ("coffee", "sugar"):
        history = history_from_csv(landing / "market" / f"{stem}.csv", "2013-01-01", "2018-03-01")
        model = registry.get(name).fit(history.before(window.end), window)
        closes = model.simulate(history, origin, 1, 2000, Shocks(5, model.n_slots))[0, :, 0].astype(np.float64)
        if isinstance(model, RandomWalkFitted):
            moves.append(model.transform.forward(closes))
            pools.append(model.state["residuals"])
        else:
            assert isinstance(model, NaiveFitted)
            moves.append(closes)
            pools.append(model.state["changes"])
    drawn = Shocks(5, len(window.pool)).slots(origin, 2000, 1)[0, 0]
    simulated = np.corrcoef(*moves)[0, 1]
    assert simulated == pytest.approx(np.corrcoef(pools[0][drawn], pools[1][drawn])[0, 1], abs=1e-4)
    assert simulated == pytest.approx(np.corrcoef(*pools)[0, 1], abs=0.1)
    assert simulated > 0.1
