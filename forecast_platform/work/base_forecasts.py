"""Other models' forecasts as inputs of a combination: what identifies them, and their paths."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.models.base import BasePaths, Paths
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.base_scores import weights_of
from forecast_platform.work.chunks import Inputs
from forecast_platform.work.platform import Platform
from forecast_platform.work.rows import paths_of

if TYPE_CHECKING:
    from forecast_platform.work.fits import FitManifest

_IDENTITY = ("model_id", "input_hash", "algorithm_version")


@dataclass(frozen=True)
class _Member:
    """One member's forecasts: the row of each date's first path, and the dates' paths where they were read."""

    rows: Mapping[dt.date, Mapping[str, Any]]
    paths: Mapping[dt.date, Paths]
    wrong: Mapping[dt.date, str]


def with_base(platform: Platform, record: FitManifest, inputs: Inputs, *, paths: bool) -> Inputs:
    """`inputs` with the members of the record's model: hashes over both, the members' paths where they are wanted.

    A date that lacks a member's forecast fails by name, or goes on without it where the model's `missing` is `skip` and
    at least one member is there. Models that are made of no others come back as they are.
    """
    spec = platform.settings.model_spec(record.model)
    if not spec.of or not len(inputs.dates):
        return inputs
    days = [day.astype(dt.date) for day in inputs.dates]
    members = [_read(platform, record, member, days, paths=paths) for member in spec.of]
    skip = platform.model(record.model).params.get("missing") == "skip"
    failed = dict(inputs.failed)
    there = np.array([[day in member.rows for day in days] for member in members])
    keep, lacking = [], {}
    for column, day in enumerate(days):
        if there[:, column].all() or (skip and there[:, column].any()):
            keep.append(column)
            continue
        first = next(row for row in range(len(members)) if not there[row, column])
        failed[day] = members[first].wrong.get(day) or _missing_text(platform, record, spec.of[first], day)
        lacking[day] = spec.of[first]
    hashes, made = [], {}
    chosen = np.array(keep, np.intp)
    weights = weights_of(
        platform, record, platform.model(record.model), inputs.history, inputs.dates[chosen], there[:, chosen]
    )
    for place, column in enumerate(keep):
        day = days[column]
        digest = hashlib.blake2b(inputs.hashes[column].encode(), digest_size=8)
        for name, member in zip(spec.of, members, strict=True):
            row = member.rows.get(day)
            said = [name, *("" if row is None else str(row[key]) for key in _IDENTITY)]
            digest.update("\x1f".join(["", *said]).encode())
        if weights is not None:
            digest.update(np.ascontiguousarray(weights[:, place]).tobytes())
        hashes.append(digest.hexdigest())
        made[day] = max(member.rows[day]["generation_timestamp"] for member in members if day in member.rows)
    base = None
    if paths:
        stacked = np.full((len(members), len(keep), platform.settings.n_paths, platform.horizon), np.nan, np.float32)
        for position, member in enumerate(members):
            for place, column in enumerate(keep):
                if there[position, column]:
                    stacked[position, place] = member.paths[days[column]]
        base = BasePaths(spec.of, stacked, there[:, chosen], weights)
    return replace(
        inputs,
        dates=inputs.dates[chosen],
        hashes=hashes,
        last_observed=inputs.last_observed[chosen],
        staleness=[inputs.staleness[column] for column in keep],
        failed=failed,
        base=base,
        base_made=made,
        lacking=lacking,
    )


def _read(platform: Platform, record: FitManifest, member: str, days: Sequence[dt.date], *, paths: bool) -> _Member:
    """Identity and paths come out of one read: a member that is made anew meanwhile is the one or the other, whole."""
    where = keys_of(record.series, member, record.version, days, by_month=True)
    columns = [
        "forecast_date",
        "path_id",
        "generation_timestamp",
        *_IDENTITY,
        *(day_columns(platform.horizon) if paths else ()),
    ]
    table = platform.warehouse.read(DISTRIBUTIONS, columns, where if paths else {**where, "path_id": 0})
    first = table.filter(_is_first()).select(["forecast_date", "generation_timestamp", *_IDENTITY])
    rows = {row["forecast_date"]: row for row in first.to_pylist()}
    if not paths:
        return _Member(rows, {}, {})
    n_paths = platform.settings.n_paths
    counts = table.group_by("forecast_date").aggregate([([], "count_all")])
    found = dict(zip(counts["forecast_date"].to_pylist(), counts["count_all"].to_pylist(), strict=True))
    wrong = {
        day: f"{member} {record.version} of {record.series} has {count} paths on {day}, n_paths is {n_paths}: make it "
        f"again, {_command(platform, record, member, day)}"
        for day, count in found.items()
        if count != n_paths
    }
    rows = {day: row for day, row in rows.items() if day not in wrong}
    if wrong:
        import pyarrow as pa
        import pyarrow.compute as pc

        table = table.filter(~pc.field("forecast_date").isin(pa.array(list(wrong), pa.date32())))
    origins, values = paths_of(table)
    return _Member(rows, {day.astype(dt.date): values[row] for row, day in enumerate(origins)}, wrong)


def _is_first() -> Any:
    import pyarrow.compute as pc

    return pc.field("path_id") == 0


def _missing_text(platform: Platform, record: FitManifest, member: str, day: dt.date) -> str:
    return (
        f"no forecast of {member} {record.version} for {record.series} on {day}, which {record.model} is made of: make "
        f"it first, {_command(platform, record, member, day)}, or set `missing: skip` of {record.model}"
    )


def _command(platform: Platform, record: FitManifest, member: str, day: dt.date) -> str:
    tag = "" if record.version == platform.settings.model_version else f" --model-version-tag {record.version}"
    return (
        f"`forecast-platform backfill --commodity {record.series} --models {member} --start-date {day} --end-date "
        f"{day}{tag}`"
    )
