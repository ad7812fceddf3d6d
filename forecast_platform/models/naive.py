"""The baseline: the last close, with a bootstrap of past trading-day changes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.forecasting.shocks import Shocks, residual_table
from forecast_platform.models.base import FittedModel, Model, Paths, TrainingWindow, require_sessions
from forecast_platform.models.innovations import check_inputs, fitted_transform, hold, trading_steps, without_rolls

MINIMUM_SESSIONS = 60
BLOCK_ORIGINS = 16


class NaiveFitted(FittedModel):
    """State: the scale and the demeaned changes by pool date, relative to the level hypot(close, scale)."""

    def _level(self, closes: Floats) -> Floats:
        return np.hypot(closes, float(self.state["scale"]))

    def simulate(self, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks) -> Paths:
        """See `FittedModel.simulate`."""
        check_inputs(self, history, shocks)
        origins = np.asarray(origins, "datetime64[D]")
        last = history.observed_close[history.known_sessions(origins) - 1][:, None]
        level = self._level(last)
        steps = trading_steps(history.trading(origins, horizon))
        changes = self.state["changes"]
        closes = np.empty((horizon, len(origins), n_paths), np.float32)
        for start in range(0, len(origins), BLOCK_ORIGINS):
            block = slice(start, min(start + BLOCK_ORIGINS, len(origins)))
            out, reached = closes[:, block], steps.reached[block]
            slots = shocks.slots(origins[block], n_paths, horizon)
            rows = np.arange(len(slots))
            hold(out, reached, 0, last[block])
            total = np.zeros(slots[:, 0].shape)
            for step in range(steps.column.shape[1]):
                total += changes.take(slots[rows, steps.column[block, step]])
                hold(out, reached, step + 1, last[block] + level[block] * total)
        return np.moveaxis(closes, 0, 2)

    def training_metrics(self) -> dict[str, float]:
        """`sigma`: standard deviation of a trading day's change, relative to the level."""
        return {"sigma": float(np.std(self.state["changes"]))}


class Naive(Model):
    """Adds up changes of drawn dates, each relative to the price level of its time, at the level of the origin.

    The changes have mean zero, so the paths' mean is the last close. No volatility scaling: the yardstick of the
    other models. The level is hypot(close, scale), which keeps its meaning through zero and negative prices.
    """

    name: ClassVar[str] = "naive"
    description: ClassVar[str] = "The last close, with a bootstrap of past trading-day changes."
    fitted_type: ClassVar[type[FittedModel]] = NaiveFitted

    def fit(self, history: History, window: TrainingWindow) -> NaiveFitted:
        """See `Model.fit`; at least 60 observed sessions that are not all alike. Raises ValueError otherwise."""
        closes = require_sessions(history, MINIMUM_SESSIONS, self.name)
        scale = fitted_transform(history).scale
        changes = np.diff(closes, prepend=np.nan)
        changes[1:] /= np.hypot(closes[:-1], scale)
        if not np.nanmax(np.abs(changes)) > 0.0:
            raise ValueError(f"{history.series}, {history.dates[0]} to {history.dates[-1]}: the series does not move")
        table = residual_table(window.pool, history.observed_dates, without_rolls(history, changes))
        return NaiveFitted(window, {"scale": scale, "changes": table - table.mean()})
