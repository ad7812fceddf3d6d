"""The theta method in state-space form; statsforecast chooses among its four variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from forecast_platform.forecasting.filters import linear_filter
from forecast_platform.forecasting.history import Floats, History
from forecast_platform.models.arma import after_each, training_series, without_roll_moves
from forecast_platform.models.base import FittedModel, TrainingWindow
from forecast_platform.models.innovations import Filtered, InnovationsFitted, InnovationsModel, State

MINIMUM_SESSIONS = 120

_Number = TypeVar("_Number", float, Floats)


class AutoThetaFitted(InnovationsFitted):
    """With r = 1 - alpha and k sessions known, Fiorucci et al. (2016), equations 13 to 20:

        mean = l + (1 - 1/theta) (A r^k + B (1 - r^(k+1)) / alpha),   l' = alpha y + r l

    A and B are intercept and slope of the least-squares line through the series: the training window's in STM and
    OTM (theta is 2 in STM), that of the sessions so far in DSTM and DOTM. Path state: l, the shift by rolls, k,
    and in the dynamic variants the running mean and B.
    """

    @property
    def is_dynamic(self) -> bool:
        """Whether the line is fitted anew after each session."""
        return str(self.state["variant"]).startswith("D")

    def filter(self, history: History) -> Filtered:
        """See `InnovationsFitted`. The first innovation is nan; a roll's move counts as none."""
        y, shift = without_roll_moves(history, self.transform.forward(history.observed_close))
        alpha, initial = self.state["alpha"], self.state["initial"]
        levels = linear_filter([alpha], [1.0, alpha - 1.0], y, [(1.0 - alpha) * initial])
        shift = after_each(shift, 0.0)
        count = np.arange(len(y) + 1.0)
        states: State = (after_each(levels, initial) + shift, shift, count)
        if self.is_dynamic:
            states = (*states, *_running_line(y.tolist()))
        innovations = y - (self.mean(states, 0) - shift)[:-1]
        innovations[0] = np.nan
        return Filtered(innovations, states)

    def mean(self, state: State, step: int) -> Floats:
        """See `InnovationsFitted`."""
        level, _, count = state[:3]
        alpha = self.state["alpha"]
        if self.is_dynamic:
            average, slope = state[3:]
            intercept = average - slope * (count + 1.0) / 2.0
        else:
            intercept, slope = self.state["intercept"], self.state["slope"]
        fading = (1.0 - alpha) ** count
        trend = intercept * fading + slope * ((1.0 - (1.0 - alpha) * fading) / alpha)
        return level + (1.0 - 1.0 / self.state["theta"]) * trend

    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        """See `InnovationsFitted`."""
        level, shift, count = state[:3]
        # Adding alpha (y - l) keeps the level's roll shift as it is, y and l both containing it.
        after: State = (level + self.state["alpha"] * (y - level), shift, count + 1.0)
        if self.is_dynamic:
            after = (*after, *_next_line(state[3], state[4], y - shift, count))
        return after

    def shifted(self, state: State, move: Floats) -> State:
        """See `InnovationsFitted`: the level holds the shift by rolls, which is also kept apart."""
        return (state[0] + move, state[1] + move, *state[2:])

    def training_metrics(self) -> dict[str, float]:
        """Parameters, the drift a session that the method has, and the innovations' variance."""
        theta, alpha = self.state["theta"], self.state["alpha"]
        return {
            "dynamic": float(self.is_dynamic),
            "theta": theta,
            "smoothing_level": alpha,
            "drift": (1.0 - 1.0 / theta) * self.state["slope"],
            "sigma": float(np.sqrt(self.variance.level)),
            **self.variance.to_state(),
        }


class AutoTheta(InnovationsModel):
    """STM, OTM, DSTM or DOTM by in-sample squared error (Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler,
    2016). The method's drift, half the trend of the window for theta = 2, is kept: it is what the method is.
    """

    name: ClassVar[str] = "auto_theta"
    description: ClassVar[str] = "The theta method with automatic form."
    algorithm_version: ClassVar[int] = 3
    fitted_type: ClassVar[type[FittedModel]] = AutoThetaFitted

    def fit(self, history: History, window: TrainingWindow) -> AutoThetaFitted:
        """See `Model.fit`."""
        from statsforecast.models import AutoTheta as Search

        transform, y = training_series(history, MINIMUM_SESSIONS, self.name)
        model = Search(season_length=1).fit(y).model_
        return AutoThetaFitted(window, {"scale": transform.scale, **parameters(model)}).calibrated(history)


def parameters(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of statsforecast's `model_` the recursion needs; its states are level, mean, A, B and fitted value."""
    _, _, intercept, slope, _ = (float(value) for value in model["states"][-1])
    return {
        "variant": str(model["modeltype"]),
        "alpha": float(model["par"]["alpha"]),
        "theta": float(model["par"]["theta"]),
        "initial": float(model["par"]["initial_smoothed"]),
        "intercept": intercept,
        "slope": slope,
    }


def _next_line(average: _Number, slope: _Number, y: _Number, count: Any) -> tuple[_Number, _Number]:
    """Mean and least-squares slope of `count` + 1 values, from those of the `count` before y (count at least 1)."""
    return (
        (count * average + y) / (count + 1.0),
        ((count - 1.0) * slope + 6.0 * (y - average) / (count + 1.0)) / (count + 2.0),
    )


def _running_line(y: list[float]) -> tuple[Floats, Floats]:
    """Mean and least-squares slope of the first k values, [n + 1]; zero slope for fewer than two."""
    lines = [(y[0], 0.0)] * 2
    for count, value in enumerate(y[1:], start=1):
        lines.append(_next_line(*lines[-1], value, count))
    averages, slopes = np.array(lines).T
    return averages, slopes
