"""The unit of work of every compute, and the part of it that needs no warehouse: inputs to valid paths to rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.forecasting.history import Dates, History
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.forecasting.validation import invalid_paths
from forecast_platform.models.base import BasePaths, CombinedFitted, FittedModel, Paths
from forecast_platform.work.results import RemoteRun
from forecast_platform.work.rows import distributions_table

if TYPE_CHECKING:
    import pyarrow as pa


_MAX_DATES = 184

MANY_ROWS = 20_000
"""Paths from which writing takes longer than the commit itself."""


def most_dates(horizon: int) -> int:
    """Dates of one chunk at most: half a year, whose paths take 21 MB at 14 days; fewer where the days are more."""
    return _MAX_DATES * DEFAULT // max(horizon, DEFAULT)


@dataclass(frozen=True)
class Member:
    """A member of a combination: the row of each date's first path, and why a date's forecast cannot be used."""

    rows: Mapping[dt.date, Mapping[str, Any]]
    wrong: Mapping[dt.date, str]


@dataclass(frozen=True)
class Chunk:
    """The unit of work that is sent to a compute: dates of one series, model, version and window."""

    series: str
    model: str
    version: str
    window_start: dt.date
    dates: tuple[dt.date, ...]
    published: tuple[dt.date, ...] = ()
    """Those whose stored paths were made live and must be archived before they are replaced."""
    members: tuple[Member, ...] = field(default=(), compare=False, repr=False)
    """Of a combination, its members as they were when the chunk was planned; read where they are not given."""

    @property
    def training_cutoff(self) -> dt.date:
        """Last day of training data."""
        return self.window_start - dt.timedelta(days=1)


def together(chunks: Sequence[Chunk], n_paths: int) -> list[list[Chunk]]:
    """The chunks in their order, as they are to be written: neighbours of several series with the same dates in one
    commit where they are small, at most MANY_ROWS paths."""
    found: list[list[Chunk]] = []
    for chunk in chunks:
        last = found[-1] if found else []
        fits = (len(last) + 1) * len(chunk.dates) * n_paths <= MANY_ROWS
        same = all(
            (one.model, one.version, one.dates) == (chunk.model, chunk.version, chunk.dates)
            and one.series != chunk.series
            for one in last
        )
        if last and fits and same:
            last.append(chunk)
        else:
            found.append([chunk])
    return found


@dataclass
class ChunkResult:
    """What became of a chunk's dates."""

    chunk: Chunk
    written: list[dt.date]
    failed: dict[dt.date, str]
    rows: int = 0
    seconds: float = 0.0
    fatal: bool = False
    """True where going on is pointless: the disk is full."""
    runs: tuple[RemoteRun, ...] = ()
    """Runs elsewhere that worked on it."""


@dataclass(frozen=True)
class Inputs:
    """What each date is forecast from, aligned with `dates`."""

    history: History
    dates: Dates
    hashes: list[str]
    last_observed: Dates
    staleness: list[int]
    failed: dict[dt.date, str]
    base: BasePaths | None = None
    """The members' paths, where the model makes its own of all of them and they were read."""
    drawn: Paths | None = None
    """The model's own paths, float32 [n_dates, n_paths, horizon], where they are its members' and those were read."""
    base_made: dict[dt.date, dt.datetime] = field(default_factory=dict)
    """When the newest of a date's members was made."""
    lacking: dict[dt.date, str] = field(default_factory=dict)
    """Of the failed dates, the member whose forecast is missing."""
    without: dict[str, list[dt.date]] = field(default_factory=dict)
    """Of `dates`, those that go on without a member, by the member."""
    members: tuple[Member, ...] = ()
    """A combination's members, in its order."""


@dataclass(frozen=True)
class Forecasts:
    """The dates whose paths may be published, float32 [n_origins, n_paths, horizon], and why the others have none."""

    origins: Dates
    paths: Paths
    hashes: list[str]
    last_observed: list[dt.date]
    staleness: list[int]
    failed: dict[dt.date, str]

    @property
    def days(self) -> list[dt.date]:
        """The origins as dates."""
        return [day.astype(dt.date) for day in self.origins]


def simulate(fitted: FittedModel, inputs: Inputs, horizon: int, n_paths: int, seed: int) -> Forecasts:
    """Simulate `horizon` days of every date of `inputs`, and set aside what must not be published: paths float32
    [n_origins, n_paths, horizon], in the price's unit.

    Raises ValueError where a combination's members were not read.
    """
    origins = inputs.dates
    failed = dict(inputs.failed)
    if len(origins) == 0:
        return Forecasts(origins, np.empty((0, n_paths, horizon), np.float32), [], [], [], failed)
    shocks = Shocks(seed, fitted.n_slots)
    if isinstance(fitted, CombinedFitted):
        if inputs.drawn is not None:
            paths = inputs.drawn
        elif inputs.base is not None:
            paths = fitted.simulate_from(inputs.base, inputs.history, origins, horizon, n_paths, shocks)
        else:
            raise ValueError("the members' forecasts were not read")
    else:
        paths = fitted.simulate(inputs.history, origins, horizon, n_paths, shocks)
    known = inputs.history.known_sessions(origins)
    last_close = inputs.history.observed_close[known - 1]
    bad = invalid_paths(paths, last_close, inputs.history.trading(origins, horizon))
    leaking = inputs.last_observed >= origins
    for row in np.flatnonzero(leaking):
        bad.setdefault(int(row), f"read data of {inputs.last_observed[row]}, which is not before the forecast date")
    keep = np.array([row for row in range(len(origins)) if row not in bad], np.intp)
    failed.update({origins[row].astype(dt.date): reason for row, reason in bad.items()})
    return Forecasts(
        origins=origins[keep],
        paths=paths if len(keep) == len(origins) else paths[keep],
        hashes=[inputs.hashes[row] for row in keep],
        last_observed=list(inputs.last_observed[keep].astype(dt.date)),
        staleness=[inputs.staleness[row] for row in keep],
        failed=failed,
    )


def distribution_rows(
    chunk: Chunk,
    made: Forecasts,
    *,
    is_backfill: Sequence[bool],
    generated: dt.datetime,
    model_id: str,
    algorithm_version: int,
) -> pa.Table:
    """Rows of `distributions`, by forecast date and path; `is_backfill` is aligned with `made.origins`."""
    return distributions_table(
        made.paths,
        made.origins,
        {
            "input_hash": made.hashes,
            "last_observed_date": made.last_observed,
            "staleness_days": made.staleness,
            "is_backfill": list(is_backfill),
        },
        commodity=chunk.series,
        model_name=chunk.model,
        model_version=chunk.version,
        training_cutoff_date=chunk.training_cutoff,
        generation_timestamp=generated,
        has_data_leakage=False,
        model_id=model_id,
        algorithm_version=algorithm_version,
    )
