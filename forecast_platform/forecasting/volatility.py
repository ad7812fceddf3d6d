"""Conditional variance of innovations: one recursion, filtered over history and fed forward along paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Bools, Floats, History
from forecast_platform.forecasting.transform import AsinhTransform

NEWS = 0.05
PERSISTENCE = 0.99
LIMIT = 9.0

RANGE_LIMIT = 25.0
"""Squared ranges are cut at this multiple of the variance's level where their size is estimated: a true range is about
1.7 times a close-to-close move."""

RANGE_SESSIONS = 250
"""Sessions with a usable range that a training window must have."""

WIDEST_BAR = 0.25
"""Share of the close within which a day's high and low must lie: beyond it they are slips of the vendor's."""


@dataclass(frozen=True)
class ConditionalVariance:
    """v[k+1] = omega + alpha min(e[k]^2, limit v[k]) + beta v[k], with v[0] = level: a session's variance, in squares
    of the innovations' unit.

    GARCH(1,1) (Bollerslev, 1986) whose news is bounded, as in Muler and Yohai (2008): one price that passes through
    zero moves the variance by a factor and not by orders of magnitude, and a path that draws it cannot explode.
    """

    omega: float
    alpha: float
    beta: float
    limit: float
    level: float
    """Variance of the training window's innovations: where the recursion starts, and what it returns to."""

    @classmethod
    def fit(cls, innovations: Floats) -> ConditionalVariance:
        """Parameters for a training window's innovations [n]; those that are not finite are passed over.

        Raises ValueError where the innovations do not vary.
        """
        known = innovations[np.isfinite(innovations)]
        level = float(np.mean(known**2)) if len(known) else 0.0
        if not level > 0.0:
            raise ValueError(f"the {len(known)} innovations have variance {level}: the series does not move")
        return cls((1.0 - PERSISTENCE) * level, NEWS, PERSISTENCE - NEWS, LIMIT, level)

    def filter(self, innovations: Floats, squares: Floats | None = None) -> Floats:
        """Variances, float64 [n + 1]: element k is the variance of innovation k, given the k before it, in squares of
        their unit.

        squares: what stands for the squared innovations [n] (`range_news`); the squares themselves where None. One that
        is not finite (a roll day) counts as one of the size of its expectation.
        """
        variance = self.level
        variances = [variance]
        # Plain floats: a thousand steps of a bounded, hence nonlinear, recursion take well under a millisecond.
        for square in (innovations**2 if squares is None else squares).tolist():
            news = min(square, self.limit * variance) if square == square else variance
            variance = self.omega + self.alpha * news + self.beta * variance
            variances.append(variance)
        return np.array(variances)

    def step(self, variance: Floats, innovation: Floats) -> Floats:
        """The variance [...] of the session after one of `variance` [...] on which `innovation` [...] was seen,
        elementwise."""
        news = np.minimum(innovation**2, self.limit * variance)
        news *= self.alpha
        news += self.beta * variance
        news += self.omega
        return news

    def to_state(self) -> dict[str, float]:
        """Parameters by name."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ConditionalVariance:
        """What `to_state` wrote."""
        return cls(**state)


def squared_ranges(history: History, transform: AsinhTransform, *, repeats: bool = False) -> Floats:
    """Squared true ranges (Wilder, 1978) on the model's scale (of log returns, nearly) by observed session,
    [n_observed].

    y(max(high, close, close before)) - y(min(low, close, close before)). nan where the bar cannot be trusted: it is not
    the day's own, high lies below low, has no width though the close moved, or reaches beyond WIDEST_BAR of the close;
    and on a roll day, whose two closes are of two contracts. A bar with the high and the low of the session before is a
    vendor's stale one, and not the day's own, unless `repeats`.
    """
    index = history.observed_index
    close = history.close[index]
    if history.high is None or history.low is None or len(close) == 0:
        return np.full(len(close), np.nan)
    high, low, before = history.high[index], history.low[index], np.concatenate([[np.nan], close[:-1]])
    widest = WIDEST_BAR * np.abs(close)
    good: Bools = np.isfinite(high) & np.isfinite(low) & np.isfinite(before) & (high >= low)
    good &= (high > low) | (close == before)
    good &= (np.abs(high - close) <= widest) & (np.abs(low - close) <= widest)
    if not repeats:
        # One without width is judged above: it stands where the close did not move.
        good[1:] &= (high[1:] != high[:-1]) | (low[1:] != low[:-1]) | (high[1:] == low[1:])
    if history.rolls is not None:
        good &= ~history.rolls[index]
    top, bottom = np.maximum(np.maximum(high, close), before), np.minimum(np.minimum(low, close), before)
    ranges = transform.forward(top) - transform.forward(bottom)
    return np.where(good, ranges**2, np.nan)


def range_ratio(innovations: Floats, ranges: Floats, level: float) -> float | None:
    """How large a squared innovation is for a squared range; None where fewer than RANGE_SESSIONS days have both.

    innovations, squared ranges [n] and the variance's level, on the model's scale; both are bounded, so that a few wild
    days do not decide.
    """
    both = np.isfinite(innovations) & np.isfinite(ranges)
    if both.sum() < RANGE_SESSIONS:
        return None
    size = float(np.mean(np.minimum(ranges[both], RANGE_LIMIT * level)))
    return float(np.mean(np.minimum(innovations[both] ** 2, LIMIT * level))) / size if size > 0.0 else None


def range_news(innovations: Floats, ranges: Floats, ratio: float | None) -> Floats:
    """The variance's news [n], in squares of the innovations' unit: `ratio` times the squared range where there is one,
    else the squared innovation.

    A day's range says about five times as much of its variance as its two closes (Parkinson, 1980).
    """
    squares = innovations**2
    if ratio is None:
        return squares
    return np.where(np.isfinite(squares) & np.isfinite(ranges), ratio * ranges, squares)
