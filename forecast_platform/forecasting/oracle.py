"""How good a forecast could be whose volatility is known in advance: a bound, never a forecast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats
from forecast_platform.forecasting.horizon import sessions

AROUND = 10
"""Sessions before the origin, and after the targets, over which volatility is measured."""

DRAWS = 20_000
LIMIT = 9.0
SCALE_FACTOR = 0.5
_SEED = 0x4F524143


def oracle_crps(
    dates: Dates, closes: Floats, rolls: Bools, origins: Dates, horizon: int, *, targets_in: bool
) -> Floats:
    """CRPS of the naive forecast made with the volatility that was realised around each origin, [n_origins], in the
    closes' unit.

    dates, closes, rolls: the observed sessions, [n]. Changes are those of `models.naive`, relative to the price level
    of their time; a path adds up drawn changes, standardised by the volatility realised around them, times that around
    the origin: the root mean square over AROUND sessions on both sides of the targets, with the targets themselves
    where `targets_in`. The mean over the sessions within `horizon` days; nan where volatility or a target is unknown.
    """
    targets = sessions(horizon)
    level = np.hypot(closes, SCALE_FACTOR * float(np.median(np.abs(closes))))
    changes = np.full(len(closes), np.nan)
    changes[1:] = np.diff(closes) / level[:-1]
    changes[rolls] = np.nan
    deviation = realised(changes, targets, targets_in=targets_in)
    centre = np.maximum(np.arange(len(closes)) - targets // 2, 0)
    pool = changes / deviation[centre]
    pool = pool[np.isfinite(pool)]
    found = np.full(len(origins), np.nan)
    if len(pool) == 0:
        return found
    generator = np.random.Generator(np.random.Philox(_SEED))
    sums = np.cumsum((pool - pool.mean())[generator.integers(len(pool), size=(targets, DRAWS))], axis=0)
    ordered = np.sort(sums, axis=1)
    known = np.searchsorted(dates, origins)
    total, count = np.zeros(len(origins)), np.zeros(len(origins))
    for step in range(targets):
        at = np.minimum(known + step, len(dates) - 1)
        good = (known > 0) & (known + step < len(dates)) & (dates[at] < origins + horizon * ONE_DAY)
        good &= dates[at] >= origins
        rows = np.flatnonzero(good)
        last = known[rows] - 1
        size = level[last] * deviation[known[rows]]
        moved = (closes[at[rows]] - closes[last]) / size
        total[rows] += size * _crps(ordered[step], moved)
        count[rows] += 1
    np.divide(total, count, out=found, where=count > 0)
    return found


def realised(changes: Floats, targets: int, *, targets_in: bool) -> Floats:
    """The root mean square change around the `targets` sessions from each position on, of `changes` [n]: [n], in their
    unit; nan near the ends.

    Squares are bounded at LIMIT times their mean, as the models' news is.
    """
    squares = np.minimum(changes**2, LIMIT * float(np.nanmean(changes**2)))
    known = np.isfinite(squares)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, squares, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    n = len(changes)
    start = np.arange(n) - AROUND
    edges = [start, start + AROUND, start + AROUND + targets, start + 2 * AROUND + targets]
    inside = (start >= 0) & (edges[-1] <= n)
    a, b, c, d = (np.clip(edge, 0, n) for edge in edges)

    def over(values: Floats | NDArray[np.intp]) -> Floats:
        whole = values[d] - values[a]
        return np.asarray(whole if targets_in else whole - (values[c] - values[b]), np.float64)

    total, count = over(sums), over(counts)
    found = np.full(n, np.nan)
    np.divide(total, count, out=found, where=inside & (count > 0) & (total > 0.0))
    return np.sqrt(found)


def _crps(ordered: Floats, target: Floats) -> Floats:
    """CRPS of one sorted sample [m] at many targets [n]: E|X - y| - 1/2 E|X - X'|, by prefix sums."""
    m = len(ordered)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, target)
    absolute = (target * (2 * below - m) + sums[-1] - 2 * sums[below]) / m
    spread = float(((2 * np.arange(1, m + 1) - m - 1) * ordered).sum()) / m**2
    return absolute - spread
