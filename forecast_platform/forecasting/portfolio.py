"""Risk of positions from simulated paths: value at risk, expected shortfall, what each leg adds, odds of a price.

Leading axes pass through: `...` is nothing for one forecast, [n_dates] for many. Legs are added path by path, which
means something because path p is one scenario of every series (`forecasting.shocks`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecast_platform.forecasting.history import Floats


@dataclass(frozen=True)
class PortfolioRisk:
    """Risk of a portfolio at one confidence level. Losses are positive, in the money of the profits."""

    level: float
    var: Floats
    """Value at risk of the portfolio, [...]."""
    cvar: Floats
    """Expected shortfall of the portfolio, [...]."""
    leg_var: Floats
    """Value at risk of each leg held alone, [n_legs, ...]."""
    leg_cvar: Floats
    """Expected shortfall of each leg held alone, [n_legs, ...]."""
    contribution: Floats
    """What each leg adds to `cvar`, [n_legs, ...]: they add up to it. Negative where a leg hedges the others."""

    @property
    def sum_of_legs(self) -> Floats:
        """Expected shortfall without diversification, [...], in money: that of the legs held alone, added up."""
        total: Floats = self.leg_cvar.sum(axis=0)
        return total

    @property
    def diversification(self) -> Floats:
        """What holding the legs together saves of `sum_of_legs`, [...], in money; never below 0 but for ties and
        rounding."""
        return self.sum_of_legs - self.cvar


def leg_profits(paths: ArrayLike, last_close: ArrayLike, sizes: ArrayLike, day_ahead: int | None = None) -> Floats:
    """Profit of each leg from the last close to its paths' closes on `day_ahead`, float64 [n_legs, ..., n_paths].

    paths [n_legs, ..., n_paths, horizon]; last_close [n_legs, ...]; sizes [n_legs]: money that the leg gains where its
    price rises by 1 (contracts x multiplier; negative: short). day_ahead: 1 is the forecast date, None the last day.
    Raises ValueError for a day outside the paths, or sizes that are not one a leg.
    """
    values = np.asarray(paths)
    n_legs, horizon = values.shape[0], values.shape[-1]
    day = horizon if day_ahead is None else day_ahead
    if not 1 <= day <= horizon:
        raise ValueError(f"day_ahead = {day}: 1 to {horizon}")
    size = np.asarray(sizes, np.float64)
    if size.shape != (n_legs,):
        raise ValueError(f"sizes have shape {size.shape}, paths hold {n_legs} legs: one size a leg")
    moves = values[..., day - 1].astype(np.float64) - np.asarray(last_close, np.float64)[..., None]
    return moves * size.reshape(n_legs, *[1] * (moves.ndim - 1))


def portfolio_risk(profits: ArrayLike, level: float) -> PortfolioRisk:
    """Risk of the sum of the legs, and what each adds, from profits [n_legs, ..., n_paths].

    The contribution of a leg is its mean loss over the paths of the portfolio's tail: Euler's allocation of expected
    shortfall (Tasche, 1999), the derivative by the leg's size times that size. Raises ValueError for a level outside
    0.5 to below 1.
    """
    legs = np.asarray(profits, np.float64)
    total = legs.sum(axis=0)
    tail = _tail(total, level)
    return PortfolioRisk(
        level=level,
        var=value_at_risk(total, level),
        cvar=-_mean(total, tail),
        leg_var=value_at_risk(legs, level),
        leg_cvar=expected_shortfall(legs, level),
        contribution=-_mean(legs, tail[None]),
    )


def value_at_risk(profit: ArrayLike, level: float) -> Floats:
    """The loss (positive) that is exceeded with probability 1 - level: profits [..., n] to [...], in their money.
    Raises ValueError for a level outside 0.5 to below 1."""
    return -np.asarray(_cut(np.asarray(profit, np.float64), level))


def expected_shortfall(profit: ArrayLike, level: float) -> Floats:
    """The mean loss at and beyond the value at risk (CVaR; Rockafellar and Uryasev, 2000): profits [..., n] to [...],
    in their money. Raises ValueError for a level outside 0.5 to below 1."""
    values = np.asarray(profit, np.float64)
    return -_mean(values, _tail(values, level))


def probability_above(paths: ArrayLike, price: float) -> Floats:
    """Share (0 to 1) of the paths that close above `price` on each day: [..., n_paths, horizon] to [..., horizon]."""
    return np.asarray((np.asarray(paths) > np.float64(price)).mean(axis=-2))


def probability_below(paths: ArrayLike, price: float) -> Floats:
    """Share (0 to 1) of the paths that close below `price` on each day: [..., n_paths, horizon] to [..., horizon]."""
    return np.asarray((np.asarray(paths) < np.float64(price)).mean(axis=-2))


def probability_of_touch(paths: ArrayLike, price: float, last_close: ArrayLike) -> Floats:
    """Share (0 to 1) of the paths that have reached `price` from last_close [...] by each day: [..., n_paths, horizon]
    to [..., horizon], rising.

    Daily closes are looked at, so a price that is touched within a day and left again does not count: as a barrier that
    is watched all day, this is a lower bound (Broadie, Glasserman and Kou, 1997).
    """
    values, last = np.asarray(paths), np.asarray(last_close, np.float64)[..., None, None]
    reached = np.where(last <= price, values >= np.float64(price), values <= np.float64(price))
    return np.asarray(np.logical_or.accumulate(reached | (last == price), axis=-1).mean(axis=-2))


def quantiles(paths: ArrayLike, levels: ArrayLike) -> Floats:
    """Quantiles of each day's closes: [..., n_paths, horizon] and [n_levels] (0 to 1) to [..., n_levels, horizon], in
    the paths' unit.

    Raises ValueError for a level outside 0 to 1.
    """
    wanted = np.atleast_1d(np.asarray(levels, np.float64))
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"quantile levels {wanted.tolist()}: each from 0 to 1, such as 0.05")
    return np.moveaxis(np.quantile(np.asarray(paths, np.float64), wanted, axis=-2), 0, -2)


def _tail(profit: Floats, level: float) -> NDArray[np.bool_]:
    """Which of the profits [..., n] lie at or beyond the value at risk."""
    tail: NDArray[np.bool_] = profit <= np.asarray(_cut(profit, level))[..., None]
    return tail


def _cut(profit: Floats, level: float) -> Floats:
    if not 0.5 <= level < 1:
        raise ValueError(f"level = {level}: a confidence level from 0.5 to below 1, such as 0.95")
    return np.asarray(np.quantile(profit, 1 - level, axis=-1))


def _mean(values: Floats, where: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.where(where, values, 0.0).sum(axis=-1) / where.sum(axis=-1))
