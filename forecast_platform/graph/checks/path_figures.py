"""What the rules need of stored paths, a figure a date: a part's rows are reduced to these before the next is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Bools, Dates, Floats

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class PathFigures:
    """The stored dates, ascending, and figures of each one's paths; all [n_dates]."""

    dates: Dates
    rows: NDArray[np.int64]
    complete: Bools
    """Exactly n_paths paths, numbered 0 to n_paths - 1."""
    not_finite: NDArray[np.int64]
    """Paths that hold NaN, infinity or null."""
    sound: Bools
    """n_paths rows, all finite: the dates that have the figures below, which are NaN for the others."""
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    median: NDArray[np.float32]
    """Of the prices of day_1."""
    deviation: Floats
    """Standard deviation of the prices of day_1."""
    last_deviation: Floats
    """Standard deviation of the prices of the horizon's last day."""

    def of(self, chosen: Bools) -> PathFigures:
        """These dates alone: chosen, bool [n_dates]."""
        return PathFigures(*(getattr(self, field.name)[chosen] for field in fields(self)))


def joined(parts: Sequence[PathFigures]) -> PathFigures:
    """The figures of several parts, which share no date, as one."""
    whole = [np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(PathFigures)]
    order = np.argsort(whole[0], kind="stable")
    return PathFigures(*(values[order] for values in whole))


def path_figures(
    days: Dates, path_ids: NDArray[np.int64], columns: Sequence[pa.ChunkedArray], n_paths: int
) -> PathFigures:
    """The figures of rows of distributions, by date.

    days: forecast dates, path_ids: 0 to n_paths - 1, columns: prices of day_1 to the last of the horizon; each
    [n_rows], in any order.
    """
    return _figures(days, path_ids, finite_rows(columns), floats(columns[0]), floats(columns[-1]), n_paths)


def _figures(
    days: Dates,
    path_ids: NDArray[np.int64],
    finite: Bools,
    day_1: NDArray[np.float32],
    last: NDArray[np.float32],
    n_paths: int,
) -> PathFigures:
    first = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]])) if len(days) else np.zeros(0, np.intp)
    if len(np.unique(days[first])) < len(first):  # a date's rows lie apart
        order = np.argsort(days, kind="stable")
        return _figures(days[order], path_ids[order], finite[order], day_1[order], last[order], n_paths)
    # Files come in any order: each date is looked at where it lies, and the figures alone are put in order.
    dates, rows = days[first], np.diff(np.append(first, len(days)))
    not_finite = _counts(first, ~finite) if len(first) else np.zeros(0, np.int64)
    sound = (rows == n_paths) & (not_finite == 0)
    of_sound = slice(None) if sound.all() else np.repeat(sound, rows)
    day_1, last = (values[of_sound].reshape(-1, n_paths) for values in (day_1, last))

    def figure(values: NDArray[Any]) -> NDArray[Any]:
        held = np.full(len(dates), np.nan, values.dtype)
        held[sound] = values
        return held

    found = PathFigures(
        dates=dates,
        rows=rows,
        complete=_complete(rows, path_ids, n_paths),
        not_finite=not_finite,
        sound=sound,
        low=figure(day_1.min(axis=1)),
        high=figure(day_1.max(axis=1)),
        median=figure(np.median(day_1, axis=1)),
        deviation=figure(day_1.std(axis=1, dtype=np.float64)),
        last_deviation=figure(last.std(axis=1, dtype=np.float64)),
    )
    return joined([found])


def _counts(first: NDArray[np.intp], chosen: Bools) -> NDArray[np.int64]:
    """How many of each date's rows are chosen."""
    if not chosen.any():
        return np.zeros(len(first), np.int64)
    return np.add.reduceat(chosen, first, dtype=np.int64)


def _complete(rows: NDArray[np.int64], path_ids: NDArray[np.int64], n_paths: int) -> Bools:
    """Which dates hold each path once and no other."""
    if np.all(rows == n_paths) and np.all(path_ids.reshape(-1, n_paths) == np.arange(n_paths)):
        return np.ones(len(rows), bool)
    position = np.repeat(np.arange(len(rows)), rows)
    inside = (path_ids >= 0) & (path_ids < n_paths)
    seen = np.bincount((position * n_paths + path_ids)[inside], minlength=len(rows) * n_paths)
    once = (seen.reshape(len(rows), n_paths) == 1).all(axis=1)
    return np.asarray(once & (rows == n_paths), bool)


def finite_rows(columns: Sequence[pa.ChunkedArray]) -> Bools:
    """Which paths are finite throughout, [rows]. columns: day_1 to the last of the horizon, each [rows]."""
    import pyarrow.compute as pc

    good = np.ones(len(columns[0]), bool)
    for values in columns:
        # A sum is finite only where all terms are: one pass, and rows are looked at only where it is not.
        if values.null_count or not np.isfinite(pc.sum(values, min_count=0).as_py()):
            good &= np.isfinite(floats(values))
    return good


def floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column's values [n] as float32 [n], NaN where null; in the column's unit."""
    values: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return values
