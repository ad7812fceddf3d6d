"""About how good a forecast could be whose volatility is known in advance: never a forecast, and no bound.

Forty sessions, or fifty, measure volatility with an error that a filter over years does not have: on a short sample a
model can be better than its oracle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats, History
from forecast_platform.forecasting.horizon import sessions, spans
from forecast_platform.forecasting.roll_moves import roll_moves

AROUND = 20
"""Sessions before the origin, and after the targets, over which volatility is measured: more measure it better, fewer
nearer."""

DRAWS = 20_000
LIMIT = 9.0
SCALE_FACTOR = 0.5
_SEED = 0x4F524143


def oracle_crps(history: History, origins: Dates, horizon: int, *, targets_in: bool) -> Floats:
    """CRPS of the naive forecast made with the volatility that was realised around each origin, [n_spans, n_origins]
    for the spans of the horizon (`horizon.spans`), in the closes' unit.

    Changes are those of `models.naive`, relative to the price level of their time; a path adds up drawn changes,
    standardised by the volatility realised around them, times that around the origin: the root mean square over AROUND
    sessions on both sides of the targets, with the targets themselves where `targets_in`. On a scheduled roll, where
    the history has a schedule, the mean and the variance of `roll_moves` are added: known, and not in hindsight.
    The mean over the sessions within the span; nan where volatility or a target is unknown.
    """
    dates, closes, targets = history.observed_dates, history.observed_close, sessions(horizon)
    scale = SCALE_FACTOR * float(np.median(np.abs(closes)))
    level = np.hypot(closes, scale)
    changes = np.full(len(closes), np.nan)
    changes[1:] = np.diff(closes) / level[:-1]
    if history.rolls is not None:
        changes[history.rolls[history.observed_index]] = np.nan
    deviation = realised(changes, targets, targets_in=targets_in)
    centre = np.maximum(np.arange(len(closes)) - targets // 2, 0)
    pool = changes / deviation[centre]
    pool = pool[np.isfinite(pool)]
    found = np.full((len(spans(horizon)), len(origins)), np.nan)
    if len(pool) == 0:
        return found
    generator = np.random.Generator(np.random.Philox(_SEED))
    sums = np.cumsum((pool - pool.mean())[generator.integers(len(pool), size=(targets, DRAWS))], axis=0)
    ordered = np.sort(sums, axis=1)
    known = np.searchsorted(dates, origins)
    places = known[:, None] + np.arange(targets)
    days = dates[np.minimum(places, len(dates) - 1)]
    good = (known[:, None] > 0) & (places < len(dates)) & (days < origins[:, None] + horizon * ONE_DAY)
    mean, spread = _rolls(history, scale, np.maximum(known, 1), days, good)
    losses = np.full(good.shape, np.nan)
    for step in range(targets):
        rows = np.flatnonzero(good[:, step])
        last, own = known[rows] - 1, deviation[known[rows]]
        moved = (closes[places[rows, step]] - closes[last]) / level[last] - mean[rows, step]
        size = own * spread[rows, step]
        losses[rows, step] = level[last] * size * _crps(ordered[step], moved / size)
    for place, span in enumerate(spans(horizon)):
        inside = good & (days < origins[:, None] + span * ONE_DAY)
        total, count = np.where(inside, losses, 0.0).sum(axis=1), inside.sum(axis=1)
        np.divide(total, count, out=found[place], where=count > 0)
    return found


def _rolls(history: History, scale: float, known: NDArray[np.intp], days: Dates, good: Bools) -> tuple[Floats, Floats]:
    """What the scheduled rolls up to each target add to its mean, relative to the price level, and the factor on its
    standard deviation, [n_origins, n_targets] each.

    A roll's greater variance widens the whole sum: right in its variance, and in its shape nearly.
    """
    mean, spread = np.zeros(good.shape), np.ones(good.shape)
    if history.schedule is None:
        return mean, spread
    y = np.arcsinh(history.observed_close / scale)
    moves = roll_moves(history, history.schedule, y, known, days, good.sum(axis=1))
    if moves is None:
        return mean, spread
    steps = np.arange(1, good.shape[1] + 1)
    return np.cumsum(moves.mean, axis=1), np.sqrt(1.0 + np.cumsum(moves.kappa - 1.0, axis=1) / steps)


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
