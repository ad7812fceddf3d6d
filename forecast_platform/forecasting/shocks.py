"""Shared random numbers: every path draws *historical dates*, the same ones for every series, model and version.

The generator is counter-based (numpy's Philox) and keyed by (seed, forecast date). Its raw words become indices
into the weekdays of the training window, so a draw depends on nothing but (seed, forecast date, path, target day):
not on the batch, the order, the engine or the number of paths. Because the *date* is drawn, two series that look up
their own residual of that date keep the dependence that they had on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.horizon import DEFAULT, LONGEST

WORDS_PER_PATH = DEFAULT
"""Words that one path owns of a stream: one a target day. Further days draw from further streams, as many words each,
so that a longer horizon begins with the draws of a shorter one. Changing it changes every forecast."""

_EPOCH = np.datetime64("1970-01-01", "D")


def pool_dates(training_start: np.datetime64, training_end: np.datetime64) -> Dates:
    """The weekdays, datetime64[D] [n_slots], from `training_start` up to, not including, `training_end`: what a slot
    number means."""
    days = np.arange(training_start, training_end, dtype="datetime64[D]")
    return days[np.is_busday(days)]


@dataclass(frozen=True)
class Shocks:
    """Draws of historical dates. `seed` is the platform's; `n_slots` is len(pool_dates(...))."""

    seed: int
    n_slots: int

    def slots(self, origins: Dates, n_paths: int, horizon: int) -> NDArray[np.uint32]:
        """Positions in the pool's dates, uint32 [n_origins, horizon, n_paths]; [o, h, p] is the draw for target
        day origins[o] + h on path p. Target days on which the exchange is shut simply leave theirs unused, so
        that series with different holidays draw the same date for the same target. Raises ValueError for a horizon
        outside 1 to 60 days.

        Words of Philox (Salmon, Moraes, Dror and Shaw, 2011), mapped by multiply-shift (Lemire, 2019).
        """
        if not 1 <= horizon <= LONGEST:
            raise ValueError(f"horizon is {horizon}: 1 to {LONGEST} days")
        drawn = np.empty((len(origins), horizon, n_paths), np.uint32)
        ordinals = (np.asarray(origins, "datetime64[D]") - _EPOCH).astype(np.int64)
        product = np.empty((n_paths, WORDS_PER_PATH), "<u8")
        # Lemire's multiply-shift maps a word to [0, n_slots) without a division; the bias is n_slots / 2**32. The shift
        # by 32 is a view of the products' upper halves.
        upper = product.view("<u4")[:, 1::2].T
        for row, ordinal in enumerate(ordinals):
            for stream, first in enumerate(range(0, horizon, WORDS_PER_PATH)):
                words = self._words(int(ordinal), stream, n_paths)
                np.multiply(words, np.uint64(self.n_slots), out=product, dtype=np.uint64)
                drawn[row, first : first + WORDS_PER_PATH] = upper[: horizon - first]
        return drawn

    def _words(self, ordinal: int, stream: int, n_paths: int) -> NDArray[np.uint32]:
        """Raw words of one forecast date, uint32 [n_paths, WORDS_PER_PATH].

        A stream begins at a counter of its own, 2**192 blocks apart: streams of one key share no word.
        """
        key, counter = np.array([self.seed, ordinal], np.uint64), np.array([0, 0, 0, stream], np.uint64)
        count = n_paths * WORDS_PER_PATH
        raw = np.random.Philox(key=key, counter=counter).random_raw((count + 1) // 2)
        return raw.astype("<u8", copy=False).view("<u4")[:count].reshape(n_paths, WORDS_PER_PATH)


def residual_table(pool: Dates, dates: Dates, residuals: Floats) -> Floats:
    """Residuals by slot, float64 [len(pool)], in the unit of `residuals` [n] of `dates` [n]: slot i holds that of
    pool[i].

    A pool date without a residual (a holiday, a hole, a roll day, a model's warm-up) takes that of another date, chosen
    by a hash of the missing date, so each such date gets one fixed stand-in, spread evenly over the pool. Raises
    ValueError where the pool is empty or no residual lies in it.
    """
    if len(pool) == 0:
        raise ValueError("the residual pool is empty: the training window holds no weekday")
    position = np.searchsorted(pool, dates)
    inside = (position < len(pool)) & np.isfinite(residuals)
    inside[inside] = pool[position[inside]] == dates[inside]
    if not inside.any():
        raise ValueError(f"no residual lies between {pool[0]} and {pool[-1]}")
    table = np.full(len(pool), np.nan)
    table[position[inside]] = residuals[inside]
    missing = np.isnan(table)
    valid = np.flatnonzero(~missing)
    stand_in = valid[_hash((pool[missing] - _EPOCH).astype(np.uint64)) % np.uint64(len(valid))]
    table[missing] = table[stand_in]
    return table


def _hash(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea and Flood, 2014): well-mixed 64-bit integers."""
    with np.errstate(over="ignore"):
        mixed = keys + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
