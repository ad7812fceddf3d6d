"""ARMA(p, q) on a d-times differenced series, with frozen coefficients: what ARIMA-like models share.

    w[k] = (1 - B)^d y[k] - effect[k] - mean
    w[k] = ar[0] w[k-1] + ... + ar[p-1] w[k-p] + e[k] + ma[0] e[k-1] + ... + ma[q-1] e[k-q]

Innovations are conditional ones: w and e count as zero before the window. With roots away from the unit circle they
meet the exact (Kalman) filter's after a few dozen sessions, the filter's steady state (Box, Jenkins and Reinsel,
Time Series Analysis, 7.1), and cost one linear filter over the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from forecast_platform.forecasting.filters import linear_filter
from forecast_platform.forecasting.history import Floats, History
from forecast_platform.forecasting.transform import AsinhTransform
from forecast_platform.models.base import require_sessions
from forecast_platform.models.innovations import Filtered, InnovationsFitted, State, fitted_transform

LARGEST_ROOT = 0.99
"""Modulus of an inverse root from which on a polynomial is refused: the shock of a day would live for months."""


@dataclass(frozen=True)
class Arma:
    """Coefficients of the form above. `mean` is that of the differenced series: for d = 1 the drift a session."""

    ar: tuple[float, ...] = ()
    ma: tuple[float, ...] = ()
    d: int = 1
    mean: float = 0.0

    @property
    def largest_root(self) -> float:
        """The largest modulus of the inverse roots of both polynomials; below 1 is stationary and invertible."""
        polynomials = ([1.0, *(-a for a in self.ar)], [1.0, *self.ma])
        return float(max((abs(root) for polynomial in polynomials for root in np.roots(polynomial)), default=0.0))

    @property
    def is_admissible(self) -> bool:
        """Whether the coefficients are finite and neither the filter nor a path can explode."""
        return bool(np.isfinite([*self.ar, *self.ma, self.mean]).all()) and self.largest_root < LARGEST_ROOT

    def or_simpler(self) -> tuple[Arma, bool]:
        """These coefficients, or a random walk without drift where they are not admissible; and whether they were."""
        return (self, True) if self.is_admissible else (Arma(), False)

    def innovations(self, w: Floats) -> Floats:
        """Innovations [n] of the centred differenced series w [n], in its unit; both count as zero before the first."""
        return linear_filter([1.0, *(-a for a in self.ar)], [1.0, *self.ma], w)

    def to_state(self) -> dict[str, Any]:
        """Coefficients by name."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Arma:
        """What `to_state` wrote, also after a passage through JSON."""
        return cls(tuple(state["ar"]), tuple(state["ma"]), int(state["d"]), float(state["mean"]))


class ArmaFitted(InnovationsFitted):
    """A fitted ARIMA, with or without covariates. `state["arma"]` holds `Arma.to_state()`.

    Path state: the level (y for d > 0, the shift by rolls for d = 0), the differences of order 1 to d - 1, the last
    p values of w, the last q innovations.
    """

    @cached_property
    def arma(self) -> Arma:
        """The coefficients."""
        return Arma.from_state(self.state["arma"])

    def effect(self, history: History) -> Floats | None:
        """What covariates add to each observed session's differenced y, [n_observed], on the model's scale; None where
        there are none."""
        return None

    def filter(self, history: History) -> Filtered:
        """See `InnovationsFitted`. The first d innovations are nan; a roll's move counts as none."""
        arma = self.arma
        y, shift = without_roll_moves(history, self.transform.forward(history.observed_close))
        levels = [y + shift if arma.d else shift]
        w = y
        for _ in range(arma.d):
            w = np.diff(w, prepend=w[:1])
            levels.append(w)
        w = w - arma.mean
        effect = self.effect(history)
        if effect is not None:
            w -= effect
        w[: arma.d] = 0.0
        e = arma.innovations(w)
        states = [after_each(column, column[0]) for column in levels[: max(arma.d, 1)]]
        states += [lagged(w, lag) for lag in range(len(arma.ar))]
        states += [lagged(e, lag) for lag in range(len(arma.ma))]
        innovations = e.copy()
        innovations[: arma.d] = np.nan
        return Filtered(innovations, tuple(states))

    def mean(self, state: State, step: int) -> Floats:
        """The mean of the next session's y, on the model's scale, [rows, n_paths] as the state's arrays: the last level
        and differences, and what the coefficients expect of the last w and innovations. It is the same at each step."""
        base = state[0] + self.arma.mean
        for difference in state[1 : max(self.arma.d, 1)]:
            base = base + difference
        expected = self._expected(state)
        return base if expected is None else base + expected

    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        """See `InnovationsFitted`. w is its mean plus the innovation, so that no covariate's part enters it."""
        arma, first = self.arma, max(self.arma.d, 1)
        levels: list[Floats] = list(state[:1])
        if arma.d:
            levels = [y]
            for before in state[: first - 1]:
                levels.append(levels[-1] - before)
        expected = self._expected(state)
        w = innovation if expected is None else expected + innovation
        ws, es = state[first : first + len(arma.ar)], state[first + len(arma.ar) :]
        return (*levels, *((w, *ws[:-1]) if arma.ar else ()), *((innovation, *es[:-1]) if arma.ma else ()))

    def _expected(self, state: State) -> Floats | None:
        """The mean of the next w; None where it is zero."""
        total: Floats | None = None
        for coefficient, value in zip((*self.arma.ar, *self.arma.ma), state[max(self.arma.d, 1) :], strict=True):
            total = coefficient * value if total is None else total + coefficient * value
        return total

    def training_metrics(self) -> dict[str, float]:
        """Orders, drift, whether the search's coefficients were refused, and the innovations' variance."""
        arma = self.arma
        return {
            "p": float(len(arma.ar)),
            "d": float(arma.d),
            "q": float(len(arma.ma)),
            "mean": arma.mean,
            "largest_root": arma.largest_root,
            "fell_back": float(self.state["fell_back"]),
            "sigma": float(np.sqrt(self.variance.level)),
            **self.variance.to_state(),
        }


def without_roll_moves(history: History, y: Floats) -> tuple[Floats, Floats]:
    """y [n_observed] less the moves of roll days, which no model should take for news, and their running sum
    [n_observed], both on the model's scale."""
    if history.rolls is None:
        return y, np.zeros(len(y))
    moves = np.where(history.rolls[history.observed_index], np.diff(y, prepend=y[:1]), 0.0)
    shift = np.cumsum(moves)
    return y - shift, shift


def training_series(history: History, minimum: int, model: str) -> tuple[AsinhTransform, Floats]:
    """The transform of a training history and its y [n_observed], on the model's scale, without the moves of roll days
    and without a gap, which makes statsforecast's ARIMA a random walk (findings/arima-methods.sh).

    Raises ValueError, naming the series, where there are fewer than `minimum` sessions or the close never moves.
    """
    closes = require_sessions(history, minimum, model)
    transform = fitted_transform(history)
    y, _ = without_roll_moves(history, transform.forward(closes))
    if not np.ptp(y) > 0.0:
        raise ValueError(
            f"{model} for {history.series}: the close is {closes[0]} from {history.dates[0]} to {history.dates[-1]} "
            "(roll days aside) and never moves: nothing can be fitted"
        )
    return transform, y


def after_each(values: Floats, initial: float) -> Floats:
    """A state [n + 1]: `initial` before the first session, then `values` [n]."""
    return np.concatenate([[initial], values])


def lagged(values: Floats, lag: int) -> Floats:
    """A state [n + 1] that holds, after k sessions, the value of session k - 1 - lag; zero before the first."""
    return np.concatenate([np.zeros(1 + lag), values])[: len(values) + 1]
