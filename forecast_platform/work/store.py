"""Writing what belongs to a forecast beside its paths: point forecasts, metadata, the archive."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Dates
from forecast_platform.forecasting.summary import Summary
from forecast_platform.host.redaction import Hide
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import Where, any_of, keys_of, revise
from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    FORECAST_METADATA,
    Table,
)
from forecast_platform.work.platform import Platform
from forecast_platform.work.rows import points_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Rows of one series' forecast dates, of a table that has such."""

    series: str
    days: Sequence[dt.date]
    table: pa.Table


def put(platform: Platform, table: Table, model: str, version: str, parts: Sequence[Rows]) -> None:
    """Replace these forecasts of one model: those of series that have the same dates in one commit, which takes as long
    for a few rows of many series as for those of one."""
    import pyarrow as pa

    by_month = "forecast_month" in table.partition_by
    for days, same in groupby(sorted(parts, key=lambda one: (one.days, one.series)), key=lambda one: one.days):
        if days:
            together = list(same)
            keys = keys_of(any_of([one.series for one in together]), model, version, days, by_month=by_month)
            platform.warehouse.replace(table, pa.concat_tables([one.table for one in together]), keys)


def is_backfill(settings: Settings, forecast_date: dt.date, generated: dt.datetime) -> bool:
    """Whether a forecast made at `generated` was no longer live: its day had passed in the platform's zone."""
    return generated.astimezone(ZoneInfo(settings.timezone)).date() > forecast_date


def targets(platform: Platform, series: str, origins: Dates) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Closes of each origin's days, [n, horizon] in the price's unit with NaN while unknown, and whether each is a
    trading target: a session whose close was seen, or, while unknown, one that is scheduled.

    An explicit input outside the lineage: scoring and display only, never a forecast.
    """
    table = platform.series_table(series)
    wanted = origins[:, None] + np.arange(platform.horizon) * ONE_DAY
    position = np.minimum(np.searchsorted(table.dates, wanted), len(table.dates) - 1)
    known = table.dates[position] == wanted
    close = np.where(known, table.columns["close"][position], np.nan)
    return close, np.where(known, table.columns["is_observed"][position], np.isin(wanted, table.sessions))


def points(
    platform: Platform,
    series: str,
    model: str,
    version: str,
    origins: Dates,
    summary: Summary,
    generated: Sequence[dt.datetime],
    training_cutoff: dt.date,
) -> Rows:
    """Rows of `point_forecasts`: statistics of the paths of these dates, with the closes that are known by now.

    origins: the forecast dates, [n]; summary: [n, horizon] in the price's unit; generated: [n], when each was made.
    """
    actual, _ = targets(platform, series, origins)
    rows = points_table(
        summary,
        origins,
        actual,
        {"generation_timestamp": list(generated)},
        commodity=series,
        model_name=model,
        model_version=version,
        training_cutoff_date=training_cutoff,
        model_success=True,
        has_data_leakage=False,
    )
    return Rows(series, [day.astype(dt.date) for day in origins], rows)


def archive(platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date]) -> None:
    """Copy paths that were published live to the archive, before they are replaced; those of a write that failed after
    it are there already."""
    if not dates:
        return
    import pyarrow as pa

    where = keys_of(series, model, version, dates, by_month=True)
    rows = platform.warehouse.read(DISTRIBUTIONS, where=where)
    identity = ["forecast_date", "generation_timestamp"]
    there = platform.warehouse.read(DISTRIBUTIONS_ARCHIVE, identity, {**where, "path_id": 0})
    rows = rows.join(there.group_by(identity).aggregate([]), identity, join_type="left anti")
    if not rows.num_rows:
        return
    now = pa.scalar(platform.settings.now(), pa.timestamp("us", tz="UTC"))
    rows = rows.append_column("archived_at", pa.repeat(now, rows.num_rows))
    platform.warehouse.replace(DISTRIBUTIONS_ARCHIVE, rows, {**where, "archived_at": now.as_py()})


def successes(
    platform: Platform,
    series: str,
    model: str,
    version: str,
    origins: Dates,
    *,
    model_id: str,
    hashes: Sequence[str],
    last_observed: Sequence[dt.date],
    generated: dt.datetime,
    training_seconds: float,
    inference_seconds: float | None,
) -> Rows:
    """Rows of `forecast_metadata` of new forecasts; their scores are null until the score step.

    origins: the forecast dates, hashes: of their inputs, last_observed: the days of their newest closes; each [n].
    training_seconds: of the window's fit; inference_seconds: of each date, None where that is not known.
    """
    rows = [
        {
            "forecast_date": day.astype(dt.date),
            "model_success": True,
            "model_id": model_id,
            "input_hash": digest,
            "last_observed_date": newest,
            "generation_timestamp": generated,
            "training_seconds": training_seconds,
            "inference_seconds": inference_seconds,
        }
        for day, digest, newest in zip(origins, hashes, last_observed, strict=True)
    ]
    return _metadata(platform, series, model, version, rows)


def failures(platform: Platform, series: str, model: str, version: str, failed: dict[dt.date, str]) -> None:
    """Metadata of dates without a forecast: why there is none. A stored earlier forecast keeps its own row."""
    if not failed:
        return
    where = keys_of(series, model, version, list(failed), by_month=False)
    hide = Hide()

    def reasons(there: pa.Table) -> tuple[pa.Table, Where] | None:
        good = {row["forecast_date"] for row in there.to_pylist() if row["model_success"]}
        rows = [
            {"forecast_date": day, "model_success": False, "error": hide(reason)}
            for day, reason in sorted(failed.items())
            if day not in good
        ]
        if not rows:
            return None
        made = _metadata(platform, series, model, version, rows)
        return made.table, keys_of(series, model, version, made.days, by_month=False)

    revise(platform.warehouse, FORECAST_METADATA, where, reasons)


def _metadata(platform: Platform, series: str, model: str, version: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Rows of `forecast_metadata`, with what is the same in all."""
    import pyarrow as pa

    constant = {
        "commodity": series,
        "model_name": model,
        "model_version": version,
        "has_data_leakage": False,
        "actuals_available": 0,
    }
    named = [{**constant, **row} for row in rows]
    table = pa.Table.from_pylist(named, schema=FORECAST_METADATA.at(platform.horizon).arrow_schema())
    return Rows(series, [row["forecast_date"] for row in rows], table)
