"""Scores of a backtest, all positive, lower is better (coverage aside): plain functions over arrays.

Windows and series with nothing to score are nan; a job's figure is the mean over what is not.

actual, points [n, horizon] (actual nan where it is not known), quantiles [n, horizon, q], scale [n].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def seasonal_scale(values: Floats, season: int) -> float:
    """Mean absolute error of the seasonal naive method within a history [n], in its unit: what MASE is relative to
    (Hyndman and Koehler, 2006).

    nan where it is 0. A history no longer than a season is scaled by its steps.
    """
    season = season if len(values) > season else 1
    found = float(np.mean(np.abs(values[season:] - values[:-season]))) if len(values) > season else 0.0
    return found if found > 0 else float("nan")


def mase(actual: Floats, points: Floats, scale: Floats) -> Floats:
    """Mean absolute scaled error of each row, [n], without unit. Hyndman and Koehler (2006), doi
    10.1016/j.ijforecast.2006.03.001."""
    return _mean(np.abs(actual - points)) / scale


def smape(actual: Floats, points: Floats) -> Floats:
    """Symmetric mean absolute percentage error as in the M4 competition, 0 to 200 percent, [n]; 0 where both are."""
    size = np.abs(actual) + np.abs(points)
    parts = np.divide(200 * np.abs(actual - points), size, out=np.zeros_like(size), where=size > 0)
    return _mean(np.where(np.isfinite(actual), parts, np.nan))


def mape(actual: Floats, points: Floats) -> Floats:
    """Mean absolute percentage error in percent, [n]; over the actuals that are not 0."""
    usable = np.isfinite(actual) & (actual != 0)
    parts = np.divide(100 * np.abs(actual - points), np.abs(actual), out=np.full(actual.shape, np.nan), where=usable)
    return _mean(parts)


def pinball(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Quantile loss (Koenker and Bassett, 1978) summed over the horizon, [n, q], in the unit of `actual`. levels: the
    quantiles', [q], in (0, 1)."""
    error = actual[:, :, None] - quantiles
    tau = np.asarray(levels)[None, None, :]
    return np.nansum(np.maximum(tau * error, (tau - 1) * error), axis=1)


def wql(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> float:
    """Weighted quantile loss of all rows together, without unit: twice the loss over the sum of what happened, mean
    over levels [q]."""
    size = float(np.nansum(np.abs(actual)))
    return float(2 * pinball(actual, quantiles, levels).sum(0).mean() / size) if size > 0 else float("nan")


def coverage(actual: Floats, quantiles: Floats, levels: Sequence[float], level: int) -> float:
    """Share, in percent, of what happened, [n, horizon], that lies in the `level` % interval of quantiles [n, horizon,
    q], its ends included.

    levels: the quantiles', [q], in (0, 1). Raises KeyError where the interval's ends are not among them.
    """
    low, high = (1 - level / 100) / 2, (1 + level / 100) / 2
    place = {round(q, 6): k for k, q in enumerate(levels)}
    known = np.isfinite(actual)
    inside = (actual >= quantiles[:, :, place[round(low, 6)]]) & (actual <= quantiles[:, :, place[round(high, 6)]])
    return float(100 * inside[known].mean()) if known.any() else float("nan")


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
