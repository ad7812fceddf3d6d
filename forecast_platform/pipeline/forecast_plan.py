"""Which forecasts are to be made: what is asked for, compared with what is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forecast_platform.warehouse.base import any_of, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS
from forecast_platform.work.chunks import Chunk, Inputs, most_dates
from forecast_platform.work.fits import (
    FitManifest,
    manifests_of,
    missing_model_text,
    other_algorithm_text,
    other_settings_text,
)
from forecast_platform.work.forecast_chunk import read_chunk_inputs
from forecast_platform.work.newest_close import unconfirmed_jump
from forecast_platform.work.platform import NoDataError, Platform


@dataclass(frozen=True)
class Plan:
    """What a request comes to before anything is done."""

    chunks: list[Chunk]
    skipped: set[dt.date]
    repair: list[dt.date]
    """Dates whose paths are there but whose point forecasts are not, or belong to other paths."""
    failed: dict[dt.date, str]
    missing_windows: list[dt.date]
    kept: dict[dt.date, dt.datetime] = field(default_factory=dict)
    """The skipped dates, with when their paths were made."""
    lacking: dict[dt.date, str] = field(default_factory=dict)
    """Of the failed dates, the member of a combination whose forecast is not there."""
    without: dict[str, list[dt.date]] = field(default_factory=dict)
    """Of the other dates, those of a combination that go on without a member, by the member."""


@dataclass(frozen=True)
class _Stored:
    """What is stored of a series."""

    keys: dict[dt.date, dict[str, Any]]
    """The identity of each date's paths."""
    points: dict[dt.date, dt.datetime]
    """When the paths were made that a date's point forecasts are of."""


_KEY = ("commodity", "forecast_date")


def plan(
    platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date], *, overwrite: bool = False
) -> Plan:
    """Compare what is asked with what is stored: same model, input and algorithm are skipped; others are made anew."""
    return plan_each(platform, {series: dates}, model, version, overwrite=overwrite)[series]


def plan_each(
    platform: Platform,
    wanted: Mapping[str, Sequence[dt.date]],
    model: str,
    version: str,
    *,
    overwrite: bool = False,
) -> dict[str, Plan]:
    """`plan` of each series; what is stored of those with the same dates is read in one look."""
    trained = manifests_of(platform, list(wanted), model, version)
    by_dates: dict[tuple[dt.date, ...], list[str]] = {}
    for series, dates in wanted.items():
        by_dates.setdefault(tuple(sorted(set(dates))), []).append(series)
    found = {}
    for days, names in by_dates.items():
        stored = _stored(platform, names, model, version, days)
        for series in names:
            one = (trained[series], stored[series])
            found[series] = _plan(platform, series, model, version, days, *one, overwrite=overwrite)
    return {series: found[series] for series in wanted}


def _plan(
    platform: Platform,
    series: str,
    model: str,
    version: str,
    dates: Sequence[dt.date],
    trained: Mapping[dt.date, FitManifest],
    stored: _Stored,
    *,
    overwrite: bool,
) -> Plan:
    identity = platform.settings.model_spec(model).identity
    by_window: dict[dt.date, list[dt.date]] = {}
    for day in dates:
        by_window.setdefault(platform.window_start(day), []).append(day)
    result = Plan([], set(), [], {}, [start for start in by_window if start not in trained])
    for start, days in by_window.items():
        if start not in trained:
            reason = missing_model_text(platform, series, model, version, [start])
            result.failed.update(dict.fromkeys(days, reason))
            continue
        record = trained[start]
        if record.settings != identity:
            reason = other_settings_text(version, model, record.settings, identity)
            result.failed.update(dict.fromkeys(days, reason))
            continue
        try:
            inputs = read_chunk_inputs(platform, record, series, days)
        except NoDataError as error:
            result.failed.update(dict.fromkeys(days, str(error)))
            continue
        result.failed.update(inputs.failed)
        result.lacking.update(inputs.lacking)
        for member, found in inputs.without.items():
            result.without.setdefault(member, []).extend(found)
        todo, live = [], []
        for day, digest in zip(inputs.dates.astype(dt.date), inputs.hashes, strict=True):
            known = stored.keys.get(day)
            if known is None:
                todo.append(day)
            elif (
                overwrite
                or (known["model_id"], known["input_hash"]) != (record.model_id, digest)
                or known["generation_timestamp"] < inputs.base_made.get(day, known["generation_timestamp"])
            ):
                todo.append(day)
                if not known["is_backfill"]:
                    live.append(day)
            elif known["algorithm_version"] != record.paths_version:
                made = record.paths_version
                result.failed[day] = other_algorithm_text(version, known["algorithm_version"], made)
            else:
                result.skipped.add(day)
                result.kept[day] = known["generation_timestamp"]
                if stored.points.get(day) != known["generation_timestamp"]:
                    result.repair.append(day)
        held = _held(platform, series, inputs, todo)
        result.failed.update(held)
        todo = [day for day in todo if day not in held]
        result.chunks.extend(
            Chunk(
                series,
                model,
                version,
                start,
                tuple(part),
                tuple(day for day in live if day in set(part)),
                inputs.members,
            )
            for part in parts_of(todo, most_dates(platform.horizon))
        )
    return result


def _held(platform: Platform, series: str, inputs: Inputs, todo: Sequence[dt.date]) -> dict[dt.date, str]:
    """Of the dates to do, those whose newest known close waits to be confirmed, and why."""
    newest = platform.series_table(series).last_observed
    last = dict(zip(inputs.dates.tolist(), inputs.last_observed.tolist(), strict=True))
    waiting = [day for day in todo if last[day] == newest]
    reason = unconfirmed_jump(platform, series) if waiting else None
    return {} if reason is None else dict.fromkeys(waiting, reason)


def _stored(
    platform: Platform, series: Sequence[str], model: str, version: str, dates: Sequence[dt.date]
) -> dict[str, _Stored]:
    found = {name: _Stored({}, {}) for name in series}
    columns = ["model_id", "input_hash", "algorithm_version", "generation_timestamp", "is_backfill"]
    names = any_of(series)
    where = keys_of(names, model, version, dates, by_month=True)
    keys = platform.warehouse.read(DISTRIBUTIONS, [*_KEY, *columns], {**where, "path_id": 0})
    for row in keys.to_pylist():
        found[row["commodity"]].keys[row["forecast_date"]] = row
    where = {**keys_of(names, model, version, dates, by_month=False), "day_ahead": platform.horizon}
    points = platform.warehouse.read(POINT_FORECASTS, [*_KEY, "generation_timestamp"], where)
    for name, day, made in zip(*(column.to_pylist() for column in points.columns), strict=True):
        found[name].points[day] = made
    return found


def parts_of(days: Sequence[dt.date], most: int) -> Iterator[list[dt.date]]:
    """At most `most` dates each."""
    for begin in range(0, len(days), most):
        yield list(days[begin : begin + most])
