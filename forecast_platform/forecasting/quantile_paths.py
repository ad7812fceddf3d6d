"""Quantiles of each step to joint paths: the marginals are the quantiles', days and series are joint as errors were.

The Schaake shuffle (Clark, Gangopadhyay, Hay, Rajagopalan and Wilby, 2004) with drawn dates: path p takes the ranks
that the forecast errors had, step by step, from one historical date on (`error_ranks`), and each rank is looked up in
the step's quantile function. Which date is the shared shocks' draw, so paths p of two series have the ranks that both
had from that date on: what moved them together then moves them together here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.shocks import residual_table

MOST_STEPS = 60
"""Steps that ranks are kept for: those of the longest horizon, on an exchange that never closes."""


def error_ranks(errors: Floats, dates: Dates, pool: Dates) -> Floats:
    """The ranks of past errors as places in (0, 1), by slot of the pool and step: float64 [len(pool), n_steps].

    errors: [n, n_steps]; [k, s] is what the step s + 1 sessions on from just before dates[k] was missed by, in any unit
    in which those of one step compare; nan where unknown (roll days, the end of the data). A slot without any takes
    the trajectory of another date, chosen as `residual_table` does; a single missing one takes that date's too. The n
    places of a step are (rank + 1/2) / n over all slots, equal errors in the order of slots.
    """
    slots = np.stack([residual_table(pool, dates, column) for column in errors.T], axis=1)
    order = np.argsort(slots, axis=0, kind="stable")
    places = np.empty(slots.shape)
    np.put_along_axis(places, order, ((np.arange(len(slots)) + 0.5) / len(slots))[:, None], axis=0)
    return places


def quantile_function(quantiles: Floats, levels: Sequence[float], places: Floats) -> Floats:
    """Values at `places` in (0, 1): quantiles [n, n_steps, n_levels], places [m, n_steps] to [n, m, n_steps], in the
    quantiles' unit.

    Between the given levels (ascending, at least two) the value is linear in the normal score of the place; beyond the
    outermost it goes on at the slope of the two outermost: the tails are those of the normal distribution through these
    two quantiles, and quantiles of a normal distribution give that distribution. Quantiles that cross are sorted.
    Raises ValueError for levels that are not so, or as many as the quantiles have.
    """
    low, share = _between(levels, quantiles.shape[-1], places)
    ordered = np.sort(quantiles, axis=-1)
    steps = np.arange(places.shape[1])
    below, above = ordered[:, steps, low], ordered[:, steps, low + 1]
    return below + (above - below) * share


def _between(levels: Sequence[float], n_levels: int, places: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The level below each place and how far from it to the next one, in normal scores; both have places' shape."""
    from scipy.special import ndtri

    known = np.asarray(levels, np.float64)
    if known.ndim != 1 or len(known) < 2 or np.any(np.diff(known) <= 0) or known[0] <= 0 or known[-1] >= 1:
        raise ValueError(f"levels {list(levels)}: at least two, ascending, between 0 and 1")
    if n_levels != len(known):
        raise ValueError(f"quantiles have {n_levels} levels: the last axis must be the {len(known)} levels'")
    scores = ndtri(known)
    wanted = ndtri(places)
    below = np.clip(np.searchsorted(scores, wanted, side="right") - 1, 0, len(known) - 2)
    return below, (wanted - scores[below]) / (scores[below + 1] - scores[below])


def joint_paths(quantiles: Floats, levels: Sequence[float], places: Floats, slots: NDArray[np.integer]) -> Floats:
    """Paths float64 [n_origins, n_paths, n_steps] whose marginals are `quantiles`, [n_origins, n_steps, n_levels], in
    their unit: the Schaake shuffle (Clark and others, 2004) with drawn dates.

    levels: those of the quantiles, [n_levels], in (0, 1). places: `error_ranks`, [n_slots, n_steps]. slots: the date
    that each path draws, [n_origins, n_paths] (`Shocks.slots` of the forecast date's own day). A path depends on its
    own draw alone, an origin on its own rows. Raises ValueError where there are ranks for fewer steps than quantiles.
    """
    n_origins, n_paths = slots.shape
    n_steps = quantiles.shape[1]
    if places.shape[1] < n_steps:
        raise ValueError(f"ranks of {places.shape[1]} steps for quantiles of {n_steps}: more past errors are needed")
    ordered = np.sort(quantiles, axis=-1)
    # Step by step: the lookups of a step read 10 kB, and a step is what the paths are read by.
    low, share = (found.T.copy() for found in _between(levels, quantiles.shape[-1], places[:, :n_steps]))
    low += np.arange(n_steps)[:, None] * quantiles.shape[-1]
    high = low + 1
    out = np.empty((n_origins, n_steps, n_paths))
    values = np.empty(low.shape)
    for row in range(n_origins):
        if not row or not np.array_equal(ordered[row], ordered[row - 1]):  # days without a session repeat the last
            flat = ordered[row].ravel()
            below = flat.take(low)
            # All slots once: there are fewer of them than paths.
            values = below + (flat.take(high) - below) * share
        np.take(values, slots[row], axis=1, out=out[row], mode="clip")
    return np.moveaxis(out, 1, 2)
