"""The random walks whose volatility is another: planted seasons and speeds are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.random_walk import RandomWalk
from forecast_platform.models.range_walk import RangeWalk
from forecast_platform.models.season_walk import SeasonWalk, fourier
from forecast_platform.testing import random_history
from forecast_platform_tests.histories import nearby_history

WINDOW = TrainingWindow(np.datetime64("2010-01-01"), np.datetime64("2018-01-01"))


def seasonal_history():
    """Moves three times as large in July as in January."""
    plain = random_history(seed=5, start="2010-01-01")
    moves = np.diff(np.log(plain.close), prepend=np.log(plain.close[0]))
    angle = 2 * np.pi * (plain.dates - plain.dates.astype("datetime64[Y]")).astype(int) / 365.25
    return replace(plain, close=100 * np.exp(np.cumsum(moves * np.exp(-0.55 * np.cos(angle)))))


def test_a_planted_season_is_found_and_widens_its_months() -> None:
    history = seasonal_history()
    fitted = SeasonWalk().fit(history.before(WINDOW.end), WINDOW)
    spread = fitted.spreads(np.array(["2018-01-05", "2018-07-05"], "datetime64[D]"))
    assert 2.0 < spread[1] / spread[0] < 3.6
    plain = RandomWalk().fit(history.before(WINDOW.end), WINDOW)
    origins = np.array(["2018-06-25"], "datetime64[D]")
    made, without = (
        one.simulate(history, origins, 60, 500, Shocks(1, one.n_slots))[0].astype(float) for one in (fitted, plain)
    )
    # The walk without a season lags behind: by midsummer its spread is still spring's.
    assert np.log(made[:, 20]).std() > np.log(without[:, 20]).std()


def test_without_a_season_hardly_any_is_found() -> None:
    history = random_history(seed=6, start="2010-01-01")
    fitted = SeasonWalk().fit(history.before(WINDOW.end), WINDOW)
    year = fitted.spreads(np.arange("2017-01-01", "2018-01-01", dtype="datetime64[D]"))
    assert 0.9 < year.min() < year.max() < 1.12
    assert fourier(WINDOW.start + np.arange(3)).shape == (3, 4)


def test_the_news_share_is_larger_where_volatility_moves_fast() -> None:
    window = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
    calm = RangeWalk().fit(nearby_history(seed=4).before(window.end), window)
    plain = nearby_history(seed=4)
    generator = np.random.default_rng(8)
    log_v = np.zeros(len(plain))
    for day in range(1, len(plain)):
        log_v[day] = 0.94 * log_v[day - 1] + 0.35 * generator.normal()
    scale = np.exp(0.5 * log_v)
    closes = np.log(plain.close)
    moves = np.diff(closes, prepend=closes[0]) * scale
    close = 100 * np.exp(np.cumsum(moves))
    high = close * np.exp((np.log(plain.high) - closes) * scale)
    low = close * np.exp((np.log(plain.low) - closes) * scale)
    fast = RangeWalk().fit(replace(plain, close=close, high=high, low=low).before(window.end), window)
    assert fast.variance.alpha > calm.variance.alpha
    assert fast.variance.alpha + fast.variance.beta < 0.995
    assert fast.state["range_ratio"] > 0
