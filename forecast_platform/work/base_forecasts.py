"""Other models' forecasts as inputs of a combination: what identifies them, which are there, and their paths."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.models.base import BasePaths
from forecast_platform.warehouse.base import WarehouseError, any_of, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.base_paths import ChangedError, StoredPaths, paths_key
from forecast_platform.work.base_scores import weights_of
from forecast_platform.work.chunks import Inputs, Member
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from forecast_platform.work.fits import FitManifest

_IDENTITY = ("model_id", "input_hash", "algorithm_version")

_TRIES = 5
"""Times that members are read again which another process made anew meanwhile."""


def with_base(
    platform: Platform, record: FitManifest, inputs: Inputs, *, paths: bool, known: tuple[Member, ...] = ()
) -> Inputs:
    """`inputs` with the members of the record's model: hashes over both, the members' paths where they are wanted.

    A date that lacks a member's forecast fails by name, or goes on without it where the model's `missing` is `skip` and
    at least one member is there. Models that are made of no others come back as they are. `known`: the members as they
    were read before; where one was made anew since, all are read again. Raises WarehouseError where that goes on.
    """
    of = platform.settings.model_spec(record.model).of
    if not of or not len(inputs.dates):
        return inputs
    days = [day.astype(dt.date) for day in inputs.dates]
    known = known or _read(platform, record, of, days, counted=False)
    for attempt in range(_TRIES):
        try:
            if attempt:
                known = _read(platform, record, of, days, counted=True)
            return _with_base(platform, record, inputs, known, paths=paths)
        except ChangedError as error:
            if attempt == _TRIES - 1:
                raise WarehouseError(f"{error}; {record.model} is made of it: run it again") from error
    raise AssertionError("unreachable")


def _with_base(
    platform: Platform, record: FitManifest, inputs: Inputs, members: tuple[Member, ...], *, paths: bool
) -> Inputs:
    spec, model = platform.settings.model_spec(record.model), platform.model(record.model)
    days = [day.astype(dt.date) for day in inputs.dates]
    skip = model.params.get("missing") == "skip"
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
    there = there[:, chosen]
    weights = weights_of(platform, record, model, inputs.history, inputs.dates[chosen], there)
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
    base = drawn = None
    if paths and keep:
        stored = StoredPaths(
            platform,
            record.series,
            record.version,
            inputs.dates[chosen],
            {
                name: {day: row["generation_timestamp"] for day, row in member.rows.items()}
                for name, member in zip(spec.of, members, strict=True)
            },
        )
        sources = model.path_members(there, weights, platform.settings.n_paths)
        if sources is None:
            base = BasePaths(spec.of, stored.all(there), there, weights)
        else:
            drawn = stored.drawn(sources)
    return replace(
        inputs,
        dates=inputs.dates[chosen],
        hashes=hashes,
        last_observed=inputs.last_observed[chosen],
        staleness=[inputs.staleness[column] for column in keep],
        failed=failed,
        base=base,
        drawn=drawn,
        base_made=made,
        lacking=lacking,
        members=members,
    )


def _read(
    platform: Platform, record: FitManifest, names: Sequence[str], days: Sequence[dt.date], *, counted: bool
) -> tuple[Member, ...]:
    """What identifies the members' forecasts: one read for all of them. `counted`: those with another number of paths
    than the settings' are told; else whoever reads the paths meets them."""
    wanted = set(days)
    where = {**paths_key(record.series, any_of(names), record.version, days), "path_id": 0}
    columns = ["model_name", "forecast_date", "generation_timestamp", *_IDENTITY]
    rows: dict[str, dict[dt.date, dict[str, Any]]] = {name: {} for name in names}
    for row in platform.warehouse.read(DISTRIBUTIONS, columns, where).to_pylist():
        if row["forecast_date"] in wanted:
            rows[row["model_name"]][row["forecast_date"]] = row
    wrong = {name: _other_count(platform, record, name, days) if counted else {} for name in names}
    return tuple(
        Member({day: row for day, row in rows[name].items() if day not in wrong[name]}, wrong[name]) for name in names
    )


def _other_count(platform: Platform, record: FitManifest, member: str, days: Sequence[dt.date]) -> dict[dt.date, str]:
    """The dates on which the member has another number of paths than the settings', and why that cannot be used."""
    where = keys_of(record.series, member, record.version, days, by_month=True)
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)
    counts = rows.group_by("forecast_date").aggregate([([], "count_all")])
    n_paths = platform.settings.n_paths
    return {
        day: f"{member} {record.version} of {record.series} has {count} paths on {day}, n_paths is {n_paths}: make it "
        f"again, {_command(platform, record, member, day)}"
        for day, count in zip(counts["forecast_date"].to_pylist(), counts["count_all"].to_pylist(), strict=True)
        if count != n_paths
    }


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
