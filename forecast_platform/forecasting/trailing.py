"""How good forecasters have been lately, as known on each origin: what weights and routes of a pool are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats, History

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
"""The quantiles that are kept of every forecast, in point_forecasts."""

SHARES = (0.0625, 0.2375, 0.4, 0.2375, 0.0625)
"""The share of (0, 1) that is nearest to each of LEVELS."""

SMALLEST_LEVEL = 0.1
"""A change of price is divided by at least this share of the median price: none by a price near zero."""


@dataclass(frozen=True)
class MemberScores:
    """Losses of several forecasters of one series; the same cells for all of them."""

    origins: Dates
    """[n], ascending, not necessarily without gaps."""
    losses: Floats
    """[n_members, n, horizon]: [m, o, h] of origins[o] + h days; nan where a member has no forecast, the day was no
    session, or its close is not known."""


class Standing(NamedTuple):
    """What is known of the forecasters on each of some origins."""

    loss: Floats
    """[n_members, n_origins]: mean loss, recent days counting more; nan where nothing is known."""
    days: Floats
    """[n_origins]: how many days that is, each counted as often as it is remembered."""


def quantile_losses(quantiles: Floats, truth: Floats) -> Floats:
    """An approximation of the CRPS by the quantiles of LEVELS: quantiles [..., 5], truth [...] to losses [...], in the
    price's unit.

    Twice the pinball loss, averaged over the levels with SHARES (the CRPS is that integral over all levels: Gneiting
    and Ranjan, 2011). nan where any of it is nan.
    """
    short = truth[..., None] - quantiles
    pinball = np.maximum(np.array(LEVELS) * short, (np.array(LEVELS) - 1.0) * short)
    return 2.0 * (pinball * np.array(SHARES)).sum(axis=-1)


def standing(scores: MemberScores, origins: Dates, half_life: float, reach: int, rows: Bools | None = None) -> Standing:
    """Mean losses of the targets within the `reach` days before each of `origins`, [n_members, n_origins], in the
    losses' unit.

    A target j days before the origin (1 is the day before it) counts 0.5 ** ((j - 1) / half_life), half_life in days.
    Only cells that all members have are used; `rows`, [n], says of which of the scores' origins. What lies on an origin
    or after it is never read, and the bits for an origin depend neither on the others nor on what lies before its
    reach.
    """
    n_members, n, horizon = scores.losses.shape
    cells: Bools = np.isfinite(scores.losses).all(axis=0)  # type: ignore[assignment]
    if rows is not None:
        cells = cells & rows[:, None]
    first = origins.min() - reach * ONE_DAY
    span = int((origins.max() - first).astype(int))
    position = (scores.origins - first).astype(np.int64)
    sums, counts = np.zeros((n_members, span)), np.zeros(span)
    for ahead in range(horizon):
        target = position + ahead
        use = cells[:, ahead] & (target >= 0) & (target < span)
        # Each origin has one target `ahead` days on: no position is there twice.
        sums[:, target[use]] += scores.losses[:, use, ahead]
        counts[target[use]] += 1.0
    memory = 0.5 ** (np.arange(reach)[::-1] / half_life)
    begins = (origins - reach * ONE_DAY - first).astype(np.int64)
    seen = begins[:, None] + np.arange(reach)
    total = (counts[seen] * memory).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = np.stack([(one[seen] * memory).sum(axis=-1) for one in sums]) / total
    return Standing(loss, ((counts[seen] > 0) * memory).sum(axis=-1))


def aggregation_weights(known: Standing, there: Bools, rate: float, shrink: float) -> Floats:
    """Weights [n_members, n_origins], non-negative, of sum 1, 0 where a member is not `there` [n_members, n_origins].

    Exponentially weighted average (Vovk, 1990; of CRPS: Berrisch and Ziel, 2023) of the losses over their mean, at
    `rate` a remembered day, then `shrink` of the way to equal weights. Equal where nothing is known.
    """
    mean = _added(known.loss) / len(known.loss)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(mean > 0.0, known.loss / mean - 1.0, 0.0)
    power = -rate * known.days * np.where(np.isfinite(relative), relative, 0.0)
    power = np.where(there, power, -np.inf)
    raw = np.exp(power - power.max(axis=0))
    equal = there / there.sum(axis=0)
    return (1.0 - shrink) * raw / _added(raw) + shrink * equal


def _added(values: Floats) -> Floats:
    """The sums over members of values [n_members, n_origins], added one after another, [n_origins].

    `sum(axis=0)` adds a single column of eight or more in another order than one among others: an origin's bits would
    depend on the others.
    """
    return np.cumsum(values, axis=0)[-1]


def best(known: Standing, there: Bools, least_days: float) -> Floats:
    """All weight to the member of the least loss among those `there`, [n_members, n_origins], shares of sum 1; equal
    where fewer than `least_days` remembered days tell."""
    loss = np.where(there & np.isfinite(known.loss), known.loss, np.inf)
    chosen = np.zeros(there.shape)
    chosen[loss.argmin(axis=0), np.arange(there.shape[1])] = 1.0
    enough = (known.days >= least_days) & np.isfinite(loss).any(axis=0)
    return np.where(enough, chosen, there / there.sum(axis=0))


def volatility_routes(
    history: History, dates: Dates, training_end: np.datetime64, n_routes: int, sessions: int = 20
) -> NDArray[np.intp]:
    """Which of `n_routes` regimes each of `dates` [n] is in, 0 the calmest, [n]: by the mean size of the last
    `sessions` changes, relative to the price.

    The regimes' edges are quantiles over the history before `training_end`; of a date, what was observed before it is
    read. A date with too few changes before it is in regime 0.
    """
    closes = history.observed_close
    trained = int(np.searchsorted(history.observed_dates, training_end, side="left"))
    floor = SMALLEST_LEVEL * float(np.median(np.abs(closes[:trained]))) if trained else 1.0
    moves = np.abs(np.diff(closes)) / np.maximum(np.abs(closes[:-1]), max(floor, np.finfo(float).tiny))
    # size[k]: of the last changes among the first k observed closes.
    size = np.full(len(closes) + 1, np.nan)
    if len(moves) >= sessions:
        size[sessions + 1 :] = np.lib.stride_tricks.sliding_window_view(moves, sessions).mean(axis=-1)
    past = size[: trained + 1]
    past = past[np.isfinite(past)]
    if len(past) == 0:
        return np.zeros(len(dates), np.intp)
    edges = np.quantile(past, np.arange(1, n_routes) / n_routes)
    now = size[np.searchsorted(history.observed_dates, dates, side="left")]
    return np.where(np.isfinite(now), np.searchsorted(edges, now, side="right"), 0).astype(np.intp)
