"""Statistics of simulated paths: every point forecast and band comes from the stored paths, by one sort."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Floats

Paths = NDArray[np.float32]

BANDS: dict[int, tuple[float, float]] = {80: (0.1, 0.9), 95: (0.025, 0.975)}
"""Nominal coverage in per cent to the two quantiles that bound the central band."""

_BLOCK_VALUES = 2**20
"""Values held in float64 at a time: 8 MB, so a block stays in the processor's cache."""


@dataclass(frozen=True)
class Summary:
    """What point_forecasts holds of each origin and target day: float64 [n_origins, horizon], in the price's unit.

    `std` divides by n: it describes the stored paths themselves. A cell with a non-finite path is NaN.
    """

    mean: Floats
    median: Floats
    std: Floats
    lower_80: Floats
    upper_80: Floats
    lower_95: Floats
    upper_95: Floats

    def band(self, level: int) -> tuple[Floats, Floats]:
        """Lower and upper bound of the central band of `level` per cent (80 or 95), [n_origins, horizon] each, in the
        price's unit.

        Raises ValueError for another level.
        """
        if level not in BANDS:
            raise ValueError(f"band {level} %: only {', '.join(map(str, BANDS))} are kept")
        return getattr(self, f"lower_{level}"), getattr(self, f"upper_{level}")


def sorted_paths(paths: Paths) -> Paths:
    """Paths float32 [n_origins, n_paths, horizon] sorted for each target day: [n_origins, horizon, n_paths],
    contiguous.

    The input is left as it is. NaN sorts last. Raises ValueError for an array of other than three axes.
    """
    if paths.ndim != 3:
        raise ValueError(f"paths have shape {paths.shape}, expected [n_origins, n_paths, horizon]")
    ordered = np.array(np.moveaxis(paths, 1, 2), order="C")
    ordered.sort(axis=-1)
    return ordered


def quantile_of_sorted(ordered: NDArray[np.floating], level: float) -> Floats:
    """Quantile of samples sorted along the last axis, by linear interpolation (numpy's default, Hyndman-Fan 7).

    ordered [..., n] to float64 [...], in their unit; NaN where a sample is NaN, as np.quantile gives. Raises ValueError
    for a level outside 0..1.
    """
    if not 0 <= level <= 1:
        raise ValueError(f"quantile level {level}: must lie in 0..1")
    last = ordered.shape[-1] - 1
    position = level * last
    below = int(position)
    weight = position - below
    low = ordered[..., below].astype(np.float64)
    high = ordered[..., min(below + 1, last)].astype(np.float64)
    with np.errstate(invalid="ignore"):
        # From the nearer neighbour, as numpy does: the result is then the same to the bit.
        value = low + (high - low) * weight if weight < 0.5 else high - (high - low) * (1 - weight)
    return np.where(np.isnan(ordered[..., -1]), np.nan, value)


def summarise_sorted(ordered: NDArray[np.floating]) -> Summary:
    """Summary of what `sorted_paths` returned, [n_origins, horizon, n_paths], in the paths' unit. Raises ValueError for
    other axes or no path."""
    if ordered.ndim != 3 or ordered.shape[-1] == 0:
        raise ValueError(f"sorted paths have shape {ordered.shape}, expected [n_origins, horizon, n_paths >= 1]")
    shape = ordered.shape[:2]
    mean, std = np.empty(shape), np.empty(shape)
    for part in blocks(shape[0], shape[1] * ordered.shape[2]):
        values = ordered[part].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            mean[part] = values.mean(axis=-1)
            values -= mean[part][..., None]
            np.multiply(values, values, out=values)
            std[part] = np.sqrt(values.mean(axis=-1))
    bounds = {
        f"{side}_{level}": quantile_of_sorted(ordered, quantile)
        for level, pair in BANDS.items()
        for side, quantile in zip(("lower", "upper"), pair, strict=True)
    }
    return Summary(mean=mean, median=quantile_of_sorted(ordered, 0.5), std=std, **bounds)


def summarise(paths: Paths) -> Summary:
    """Mean, median, standard deviation and central bands of paths float32 [n_origins, n_paths, horizon], in their unit.

    Sorts a block of origins at a time, so memory beside the input stays small. Where the sorted paths are needed
    again (for scores), sort once with `sorted_paths` and use `summarise_sorted`. Raises ValueError for other axes or no
    path.
    """
    if paths.ndim != 3 or paths.shape[1] == 0:
        raise ValueError(f"paths have shape {paths.shape}, expected [n_origins, n_paths >= 1, horizon]")
    n_origins, n_paths, horizon = paths.shape
    names = [item.name for item in fields(Summary)]
    whole = {name: np.empty((n_origins, horizon)) for name in names}
    for part in blocks(n_origins, n_paths * horizon):
        summary = summarise_sorted(sorted_paths(paths[part]))
        for name in names:
            whole[name][part] = getattr(summary, name)
    return Summary(**whole)


def blocks(n: int, values_each: int) -> Iterator[slice]:
    """Slices that cut `n` items of `values_each` numbers into parts that fit the cache."""
    step = max(1, _BLOCK_VALUES // max(1, values_each))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
