"""The panel that models are trained on: every series on one grid of stamps, gaps closed, nothing that cannot be used.

A gap inside a series is closed with the value before it: nothing later is known at any cutoff. Closed values train, but
are never scored against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.frequency import Frequency, Stamps, Steps, recognise
from forecast_platform.training_jobs.reading import Columns, Limits

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FEW = 2
"""Rows with a value below which a series is no series."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Series one after another. Series k has the rows starts[k] to starts[k + 1] of each array."""

    ids: tuple[str, ...]
    starts: Steps
    """[n_series + 1]"""
    first: Steps
    """[n_series] number, on the grid, of each series' first row."""
    values: Floats
    """[n] without a missing one."""
    known: Bools
    """[n] false where a gap was closed."""
    covariates: Mapping[str, Floats]
    """By name [n]."""
    future: Mapping[str, Floats]
    """Covariates known ahead, by name [n_series, horizon]."""
    frequency: Frequency
    season: int
    notes: tuple[str, ...] = ()
    """What was done to the data, for whoever brought them."""

    @property
    def lengths(self) -> Steps:
        """Rows of each series, [n_series]."""
        return np.diff(self.starts)

    def series(self, k: int) -> Floats:
        """The values of series k, [its rows], in their unit."""
        return self.values[self.starts[k] : self.starts[k + 1]]

    def stamps(self, k: int) -> Stamps:
        """The stamps of series k."""
        return self.frequency.stamps(self.first[k] + np.arange(self.lengths[k]))

    def stamps_ahead(self, horizon: int, ends: Steps | None = None) -> Stamps:
        """The stamps of the `horizon` steps after each series' end (or its first `ends` rows), [n_series, horizon]."""
        after = self.first + (self.lengths if ends is None else ends)
        steps = after[:, None] + np.arange(horizon)[None, :]
        return self.frequency.stamps(steps.ravel()).reshape(steps.shape)

    @property
    def fingerprint(self) -> str:
        """A hash of all that models see."""
        digest = hashlib.sha256(repr((self.ids, self.frequency, self.season)).encode())
        for array in (self.starts, self.first, self.values, self.known):
            digest.update(np.ascontiguousarray(array).tobytes())
        for group in (self.covariates, self.future):
            for name in sorted(group):
                digest.update(name.encode() + b"\0" + np.ascontiguousarray(group[name]).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the panel to a file of numpy's own format, without pickles."""
        arrays = {
            "ids": np.array(self.ids, "U"), "starts": self.starts, "first": self.first, "values": self.values,
            "known": self.known, "notes": np.array(self.notes, "U"), "season": np.array(self.season),
            "grid": np.array([self.frequency.unit, str(self.frequency.step), str(self.frequency.anchor)]),
            "names": np.array(list(self.covariates), "U"), "ahead": np.array(list(self.future), "U"),
        }  # fmt: skip
        arrays |= {f"covariate_{k}": values for k, values in enumerate(self.covariates.values())}
        arrays |= {f"future_{k}": values for k, values in enumerate(self.future.values())}
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    @classmethod
    def open(cls, path: Path) -> Panel:
        """The panel that `save` wrote. Raises OSError and ValueError."""
        with np.load(path, allow_pickle=False) as found:
            unit, step, anchor = (str(part) for part in found["grid"])
            return cls(
                ids=tuple(str(name) for name in found["ids"]),
                starts=found["starts"],
                first=found["first"],
                values=found["values"],
                known=found["known"],
                covariates={str(name): found[f"covariate_{k}"] for k, name in enumerate(found["names"])},
                future={str(name): found[f"future_{k}"] for k, name in enumerate(found["ahead"])},
                frequency=Frequency(unit, int(step), int(anchor)),  # type: ignore[arg-type]
                season=int(found["season"]),
                notes=tuple(str(note) for note in found["notes"]),
            )


def build(columns: Columns, config: JobConfig, limits: Limits) -> Panel:
    """The panel of a table. Raises JobError that names the series, the stamp and the mend."""
    names, of = np.unique(columns.ids, return_inverse=True)
    if config.id_col is None:
        names = np.array([config.target_col])
    if len(names) > limits.series:
        raise JobError(f"{len(names):,} series; at most {limits.series:,}", "id_col")
    order = np.lexsort((columns.stamps, of))
    of, stamps, values = of[order], columns.stamps[order], columns.values[order]
    covariates = {name: cells[order] for name, cells in columns.covariates.items()}
    ids = tuple(str(name) for name in names)
    _refuse_duplicates(of, stamps, ids)
    target = np.isfinite(values)
    _refuse_useless(of, values, target, ids, limits)
    # Rows before a series' first value say nothing of it; rows after its last are what is known ahead.
    begin, end = _spans(of, target, len(ids))
    inside = (np.arange(len(of)) >= begin[of]) & (np.arange(len(of)) <= end[of])
    kept = inside & target
    starts = np.searchsorted(of[kept], np.arange(len(ids)))
    frequency = recognise(stamps[kept], starts, ids, config.frequency)
    index = frequency.index(stamps)
    notes: list[str] = []
    first, last = index[begin], index[end]
    lengths = last - first + 1
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    place = bounds[of] + index - first[of]
    grid, known = np.zeros(bounds[-1]), np.zeros(bounds[-1], bool)
    grid[place[kept]], known[place[kept]] = values[kept], True
    # Each row of a gap takes the newest one before it; every series begins with a known one.
    grid = grid[np.maximum.accumulate(np.where(known, np.arange(len(grid)), 0))]
    closed = int((~known).sum())
    if closed:
        gapped = len(np.unique(np.searchsorted(bounds, np.flatnonzero(~known), side="right")))
        notes.append(
            f"{closed:,} missing rows in {gapped:,} series were closed with the value before them; none is scored"
        )
    ahead, future = _ahead(config, of, index, last, covariates, len(ids))
    series = {
        name: _closed(name, cells[inside & (index >= 0)], place[inside & (index >= 0)], bounds, ids)
        for name, cells in covariates.items()
    }
    notes += [f"covariate {name}: known ahead" if name in ahead else _not_ahead(name) for name in covariates]
    season = config.season_length or frequency.season_length
    return Panel(ids, bounds, first, grid, known, series, future, frequency, season, tuple(notes))


def _not_ahead(name: str) -> str:
    return (
        f"covariate {name}: not known ahead (no rows without a target that cover the horizon of every series); models "
        "that need its future do without it"
    )


def _refuse_duplicates(of: Steps, stamps: Stamps, ids: Sequence[str]) -> None:
    same = np.flatnonzero((of[1:] == of[:-1]) & (stamps[1:] == stamps[:-1]))
    if len(same):
        k = same[0]
        raise JobError(
            f"series {ids[of[k]]!r} has two rows of {stamps[k]} ({len(same):,} such in all): keep one row a series and "
            "stamp, or name the column that tells the series apart as id_col",
            "time_col",
        )


def _refuse_useless(of: Steps, values: Floats, target: Bools, ids: Sequence[str], limits: Limits) -> None:
    rows = np.bincount(of[target], minlength=len(ids))
    if not rows.any():
        raise JobError("every value is missing: is this the column of the target?", "target_col")

    def refuse(bad: Bools, what: str) -> None:
        found = np.flatnonzero(bad)
        if len(found):
            more = f" (and {len(found) - 1:,} more series)" if len(found) > 1 else ""
            raise JobError(f"series {ids[found[0]]!r}{more} {what}", "target_col")

    refuse(rows == 0, "has no value at all: leave it out")
    refuse(rows < _FEW, "has one row: nothing can be learnt from it; leave it out, or give it its history")
    refuse(rows > limits.rows_a_series, f"has over {limits.rows_a_series:,} rows: keep the newest, or sum them up")
    low, high = np.full(len(ids), np.inf), np.full(len(ids), -np.inf)
    np.minimum.at(low, of[target], values[target])
    np.maximum.at(high, of[target], values[target])
    refuse(low == high, "is constant: there is nothing to forecast; leave it out")
    largest = np.maximum(np.abs(low), np.abs(high))
    refuse(largest > 1e15, "has values beyond 1e15: give it another unit")


def _spans(of: Steps, target: Bools, n: int) -> tuple[Steps, Steps]:
    """Rows of each series' first and last value."""
    rows = np.flatnonzero(target)
    begin = rows[np.searchsorted(of[rows], np.arange(n), side="left")]
    end = rows[np.searchsorted(of[rows], np.arange(n), side="right") - 1]
    return begin, end


def _ahead(
    config: JobConfig, of: Steps, index: Steps, last: Steps, covariates: Mapping[str, Floats], n: int
) -> tuple[set[str], dict[str, Floats]]:
    """The covariates that are given for the whole horizon of every series, and their values."""
    step = index - last[of] - 1
    later = (index >= 0) & (step >= 0) & (step < config.horizon)
    future = {}
    for name, cells in covariates.items():
        values = np.full((n, config.horizon), np.nan)
        values[of[later], step[later]] = cells[later]
        if np.isfinite(values).all():
            future[name] = values
    return set(future), future


def _closed(name: str, cells: Floats, place: Steps, bounds: Steps, ids: Sequence[str]) -> Floats:
    """A covariate on the grid: gaps closed with the value before, those at a series' start with its first."""
    grid = np.full(bounds[-1], np.nan)
    grid[place] = cells
    known = np.isfinite(grid)
    of = np.repeat(np.arange(len(ids)), np.diff(bounds))
    none = np.flatnonzero(np.bincount(of[known], minlength=len(ids)) == 0)
    if len(none):
        raise JobError(f"{name!r} has no value at all for series {ids[none[0]]!r}", "covariates")
    rows = np.flatnonzero(known)
    begin = rows[np.searchsorted(of[rows], np.arange(len(ids)))]
    return grid[np.maximum(np.maximum.accumulate(np.where(known, np.arange(len(grid)), 0)), begin[of])]


def described(panel: Panel, shown: int = 20, rows: int = 300) -> dict[str, Any]:
    """What is in a panel, for people: figures, and the newest rows of the first series."""
    examples = []
    for k, name in enumerate(panel.ids[:shown]):
        part = slice(panel.starts[k], panel.starts[k + 1])
        stamps = np.datetime_as_string(panel.stamps(k))
        examples.append(
            {
                "series": name,
                "rows": int(panel.lengths[k]),
                "first": str(stamps[0]),
                "last": str(stamps[-1]),
                "gaps": int((~panel.known[part]).sum()),
                "dates": stamps[-rows:].tolist(),
                "values": panel.series(k)[-rows:].tolist(),
            }
        )
    return {
        "series": len(panel.ids),
        "rows": int(panel.known.sum()),
        "gaps": int((~panel.known).sum()),
        "frequency": str(panel.frequency),
        "season_length": panel.season,
        "notes": list(panel.notes),
        "examples": examples,
    }
