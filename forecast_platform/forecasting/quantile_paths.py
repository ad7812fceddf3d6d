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

BLOCK_ORIGINS = 32
"""Origins that are worked on at once: their arrays fit a processor's cache. The result does not depend on it."""


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
    from scipy.special import ndtri

    known = np.asarray(levels, np.float64)
    if known.ndim != 1 or len(known) < 2 or np.any(np.diff(known) <= 0) or known[0] <= 0 or known[-1] >= 1:
        raise ValueError(f"levels {list(levels)}: at least two, ascending, between 0 and 1")
    if quantiles.shape[-1] != len(known):
        raise ValueError(f"quantiles have shape {quantiles.shape}: the last axis must be the {len(known)} levels'")
    ordered = np.sort(quantiles, axis=-1)
    scores = ndtri(known)
    wanted = ndtri(places)
    below = np.clip(np.searchsorted(scores, wanted, side="right") - 1, 0, len(known) - 2)
    share = (wanted - scores[below]) / (scores[below + 1] - scores[below])
    steps = np.arange(places.shape[1])
    low, high = ordered[:, steps, below], ordered[:, steps, below + 1]
    return low + (high - low) * share


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
    out = np.empty((n_origins, n_paths, n_steps))
    for start in range(0, n_origins, BLOCK_ORIGINS):
        block = slice(start, min(start + BLOCK_ORIGINS, n_origins))
        # All slots once: there are fewer of them than paths.
        values = quantile_function(quantiles[block], levels, places[:, :n_steps])
        for row in range(block.start, block.stop):
            np.take(values[row - block.start], slots[row], axis=0, out=out[row], mode="clip")
    return out
