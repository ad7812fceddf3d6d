"""Other models' forecasts as inputs of a combination: what identifies them, which are there, and their paths."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from forecast_platform.models.base import BasePaths
from forecast_platform.warehouse.base import WarehouseError, any_of, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.base_paths import ChangedError, StoredPaths, paths_key
from forecast_platform.work.base_scores import weights_of
from forecast_platform.work.chunks import Inputs, Member
from forecast_platform.work.fits import FitManifest, missing_model_text, window_fits
from forecast_platform.work.own_inputs import own_inputs
from forecast_platform.work.platform import NoDataError, Platform
from forecast_platform.work.results import ranges_text

_IDENTITY = ("model_id", "input_hash", "algorithm_version")

_TRIES = 5
"""Times that members are read again which another process made anew meanwhile."""


def with_base(
    platform: Platform, record: FitManifest, inputs: Inputs, *, paths: bool, known: tuple[Member, ...] = ()
) -> Inputs:
    """`inputs` with the members of the record's model: hashes over both, the members' paths where they are wanted.

    A date that lacks a member's forecast, or has one of other data or of another fit than today's, fails by name, or
    goes on without it where the model's `missing` is `skip` and at least one member is there. Models that are made of
    no others come back as they are. `known`: the members as they were read before; where one was made anew since, all
    are read again. Raises WarehouseError where that goes on.
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
    made_of = there.all(axis=0) | (there.any(axis=0) & skip)
    keep = np.flatnonzero(made_of)
    # Of a date that lacks several, the first is told.
    first = np.argmin(there, axis=0)
    lacking = {days[column]: spec.of[first[column]] for column in np.flatnonzero(~made_of)}
    for member, name in zip(members, spec.of, strict=True):
        gone = [day for day, lacks in lacking.items() if lacks == name]
        missing = [day for day in gone if day not in member.wrong]
        failed |= {day: member.wrong[day] for day in gone if day in member.wrong}
        failed |= dict.fromkeys(missing, _missing_text(platform, record, name, missing) if missing else "")
    hashes, made = [], {}
    there = there[:, keep]
    weights = weights_of(platform, record, model, inputs.history, inputs.dates[keep], there)
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
    if paths and len(keep):
        stored = StoredPaths(
            platform,
            record.series,
            record.version,
            inputs.dates[keep],
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
        dates=inputs.dates[keep],
        hashes=hashes,
        last_observed=inputs.last_observed[keep],
        staleness=[inputs.staleness[column] for column in keep],
        failed=failed,
        base=base,
        drawn=drawn,
        base_made=made,
        lacking=lacking,
        without={
            name: [days[column] for column in keep[~row]]
            for name, row in zip(spec.of, there, strict=True)
            if not row.all()
        },
        members=members,
    )


def _read(
    platform: Platform, record: FitManifest, names: Sequence[str], days: Sequence[dt.date], *, counted: bool
) -> tuple[Member, ...]:
    """What identifies the members' forecasts: one read for all of them. Those that a run would make anew are told.
    `counted`: so are others with another number of paths than the settings'; else whoever reads the paths meets them.
    """
    wanted = set(days)
    where = {**paths_key(record.series, any_of(names), record.version, days), "path_id": 0}
    columns = ["model_name", "forecast_date", "generation_timestamp", *_IDENTITY]
    rows: dict[str, dict[dt.date, dict[str, Any]]] = {name: {} for name in names}
    for row in platform.warehouse.read(DISTRIBUTIONS, columns, where).to_pylist():
        if row["forecast_date"] in wanted:
            rows[row["model_name"]][row["forecast_date"]] = row
    fits = window_fits(platform, record.series, names, record.version, record.window_start)
    wrong, read = {}, dict[tuple[Any, ...], Inputs]()
    for name in names:
        wrong[name] = _outdated(platform, record, name, fits.get(name), rows[name], read)
        if counted or wrong[name]:
            wrong[name] |= _other_count(platform, record, name, days if counted else sorted(wrong[name]))
    return tuple(
        Member({day: row for day, row in rows[name].items() if day not in wrong[name]}, wrong[name]) for name in names
    )


def _outdated(
    platform: Platform,
    record: FitManifest,
    member: str,
    fit: FitManifest | None,
    rows: Mapping[dt.date, Mapping[str, Any]],
    read: dict[tuple[Any, ...], Inputs],
) -> dict[dt.date, str]:
    """The dates on which the member's forecast is of other data or of another fit than a run would make it of now, and
    why it is not used: a pool of it would pass for one of the newest close. `fit`: the window's current one; `read`:
    what members before it were made from, by all that it follows from, for those that read the same."""
    days = sorted(rows)
    if not days:
        return {}
    if fit is None:
        reason = missing_model_text(platform, record.series, member, record.version, [record.window_start])
        return dict.fromkeys(days, reason)
    try:
        key = (fit.history_start, fit.covariates, fit.reads, fit.median_close, *days)
        if key not in read:
            read[key] = own_inputs(platform, fit, record.series, days)
        inputs = with_base(platform, fit, read[key], paths=False)
    except NoDataError as error:
        return dict.fromkeys(days, str(error))
    hashes = dict(zip(inputs.dates.astype(dt.date).tolist(), inputs.hashes, strict=True))
    other = [day for day in days if (rows[day]["model_id"], rows[day]["input_hash"]) != (fit.model_id, hashes.get(day))]
    reason = _outdated_text(platform, record, member, other) if other else ""
    return {day: inputs.failed.get(day, reason) for day in other}


def _other_count(platform: Platform, record: FitManifest, member: str, days: Sequence[dt.date]) -> dict[dt.date, str]:
    """The dates on which the member has another number of paths than the settings', and why that cannot be used."""
    where = keys_of(record.series, member, record.version, days, by_month=True)
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)
    counts = rows.group_by("forecast_date").aggregate([([], "count_all")])
    n_paths = platform.settings.n_paths
    return {
        day: f"{member} {record.version} of {record.series} has {count} paths on {day}, n_paths is {n_paths}: make it "
        f"again, {_command(platform, record, member, [day])}"
        for day, count in zip(counts["forecast_date"].to_pylist(), counts["count_all"].to_pylist(), strict=True)
        if count != n_paths
    }


def _missing_text(platform: Platform, record: FitManifest, member: str, days: Sequence[dt.date]) -> str:
    return (
        f"no forecast of {member} {record.version} for {record.series} on {ranges_text(days)}, which {record.model} is "
        f"made of: make it first, {_command(platform, record, member, days)}, or set `missing: skip` of {record.model}"
    )


def _outdated_text(platform: Platform, record: FitManifest, member: str, days: Sequence[dt.date]) -> str:
    return (
        f"the forecast of {member} {record.version} for {record.series} on {ranges_text(days)}, which {record.model} "
        "is made of, is of other data, another fit or other settings than today's: make it anew, "
        f"{_command(platform, record, member, days)}, or set `missing: skip` of {record.model}"
    )


def _command(platform: Platform, record: FitManifest, member: str, days: Sequence[dt.date]) -> str:
    tag = "" if record.version == platform.settings.model_version else f" --model-version-tag {record.version}"
    return (
        f"`forecast-platform backfill --commodity {record.series} --models {member} --start-date {min(days)} "
        f"--end-date {max(days)}{tag}`"
    )
