"""Exponential smoothing with additive errors; statsforecast chooses the form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from forecast_platform.forecasting.filters import linear_filter
from forecast_platform.forecasting.history import Floats, History
from forecast_platform.models.arma import after_each, training_series, without_roll_moves
from forecast_platform.models.base import FittedModel, TrainingWindow
from forecast_platform.models.innovations import Filtered, InnovationsFitted, InnovationsModel, State

MINIMUM_SESSIONS = 120


class AutoEtsFitted(InnovationsFitted):
    """l[k] = l[k-1] + phi b[k-1] + alpha e[k],  b[k] = phi b[k-1] + beta e[k],  e[k] = y[k] - l[k-1] - phi b[k-1].

    Hyndman, Koehler, Ord and Snyder (2008), ETS(A,N,N), (A,A,N) and (A,Ad,N). Path state: l, and b where there is
    a trend.
    """

    def filter(self, history: History) -> Filtered:
        """See `InnovationsFitted`. A roll's move goes into the level and counts as no innovation."""
        y, shift = without_roll_moves(history, self.transform.forward(history.observed_close))
        alpha, level = self.state["alpha"], self.state["level"]
        if not self.state["trend"]:
            levels = linear_filter([alpha], [1.0, alpha - 1.0], y, [(1.0 - alpha) * level])
            levels = after_each(levels, level)
            return Filtered(y - levels[:-1], (levels + after_each(shift, 0.0),))
        levels, slopes = _smoothed(y.tolist(), level, self.state["slope"], alpha, self.state["beta"], self.state["phi"])
        innovations = y - levels[:-1] - self.state["phi"] * slopes[:-1]
        return Filtered(innovations, (levels + after_each(shift, 0.0), slopes))

    def mean(self, state: State, step: int) -> Floats:
        """See `InnovationsFitted`."""
        return state[0] + self.state["phi"] * state[1] if self.state["trend"] else state[0]

    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        """See `InnovationsFitted`."""
        level = self.mean(state, 0) + self.state["alpha"] * innovation
        if not self.state["trend"]:
            return (level,)
        return (level, self.state["phi"] * state[1] + self.state["beta"] * innovation)

    def training_metrics(self) -> dict[str, float]:
        """Smoothing parameters, whether there is a trend, and the innovations' variance."""
        parameters = {name: float(self.state[name]) for name in ("phi", "trend")}
        parameters |= {"smoothing_level": float(self.state["alpha"]), "smoothing_trend": float(self.state["beta"])}
        return {**parameters, "sigma": float(np.sqrt(self.variance.level)), **self.variance.to_state()}


class AutoEts(InnovationsModel):
    """The non-seasonal additive-error forms by AICc: a multiplicative error needs y > 0, which no price promises."""

    name: ClassVar[str] = "auto_ets"
    description: ClassVar[str] = "Exponential smoothing with automatic form."
    algorithm_version: ClassVar[int] = 3
    fitted_type: ClassVar[type[FittedModel]] = AutoEtsFitted

    def fit(self, history: History, window: TrainingWindow) -> AutoEtsFitted:
        """See `Model.fit`."""
        from statsforecast.models import AutoETS

        transform, y = training_series(history, MINIMUM_SESSIONS, self.name)
        model = AutoETS(season_length=1, model="AZN").fit(y).model_
        return AutoEtsFitted(window, {"scale": transform.scale, **parameters(model)}).calibrated(history)


def parameters(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of statsforecast's `model_` the recursion needs: smoothing parameters and the initial states."""
    _, trend, _, damped = model["components"]
    alpha, beta, _, phi, level, *slope = (float(value) for value in model["par"])
    return {
        "trend": trend == "A",
        "alpha": alpha,
        "beta": beta if trend == "A" else 0.0,
        "phi": phi if damped == "D" else 1.0,
        "level": level,
        "slope": slope[0] if trend == "A" else 0.0,
    }


def _smoothed(
    y: list[float], level: float, slope: float, alpha: float, beta: float, phi: float
) -> tuple[Floats, Floats]:
    """Levels and slopes [n + 1] of y [n], from the initial ones on."""
    levels, slopes = [level], [slope]
    for value in y:
        expected = level + phi * slope
        level, slope = expected + alpha * (value - expected), phi * slope + beta * (value - expected)
        levels.append(level)
        slopes.append(slope)
    return np.array(levels), np.array(slopes)
