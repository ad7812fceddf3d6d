"""The ready signal: what a date's forecasts came to, over all series, models and versions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from forecast_platform.pipeline.champions import versions_to_run
from forecast_platform.warehouse.base import Between, Where, months_between, revise
from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    FORECAST_RUNS,
    POINT_FORECASTS,
)
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa

Owner = tuple[str, str, str]
"""Series, model and version."""


def forecast_runs(platform: Platform, dates: Sequence[dt.date]) -> dict[dt.date, str]:
    """Write the ready signal of these dates from what the tables hold now; returns the status by date.

    complete: every configured model, version and series is there; partial: some are missing; late: all are there,
    some from stale data. Dates without any forecast get no row.
    """
    import pyarrow as pa

    if not dates:
        return {}
    found: dict[dt.date, dict[str, Any]] = {}

    def signals(_: pa.Table) -> tuple[pa.Table, Where] | None:
        # Looked at anew where another writer came first: it may have seen fewer forecasts, or more.
        found.clear()
        found.update(_signals(platform, dates))
        table = pa.Table.from_pylist(list(found.values()), schema=FORECAST_RUNS.arrow_schema())
        return (table, _dates(found)) if found else None

    revise(platform.warehouse, FORECAST_RUNS, _dates(dates), signals)
    return {day: row["status"] for day, row in found.items()}


def _dates(dates: Iterable[dt.date]) -> Where:
    days = sorted(set(dates))
    contiguous = (days[-1] - days[0]).days + 1 == len(days)
    return {"forecast_date": Between(days[0], days[-1]) if contiguous else days}


def _signals(platform: Platform, dates: Sequence[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """The rows of `forecast_runs` that the tables call for, by date; none for a date without any forecast."""
    settings = platform.settings
    first, last = min(dates), max(dates)
    expected = versions_to_run(platform)
    everything = {(series, model, version) for series in settings.series_names for model, version in expected}
    there: dict[dt.date, dict[Owner, tuple[int, bool]]] = {day: {} for day in dates}
    for owner, day, staleness, late in _published(platform, everything, first, last):
        if day in there:
            there[day][owner] = (staleness, late)
    now = platform.settings.now()

    @cache
    def of(owners: frozenset[Owner], due: tuple[str, ...]) -> tuple[str, str]:
        """What is whole and what is missing where these are there: the same on most dates."""
        whole = [f"{m}:{v}" for m, v in expected if all((s, m, v) in owners for s in due)]
        missing = sorted(key for key in everything - owners if key[0] in due)
        return ",".join(whole), ",".join(f"{series}/{model}:{version}" for series, model, version in missing)

    ends = {name: settings.end_of(name) for name in settings.series_names}
    rows: dict[dt.date, dict[str, Any]] = {}
    for day, found in there.items():
        if not found:
            continue
        due = tuple(name for name, end in ends.items() if end is None or day <= end)
        whole, missing = of(frozenset(found), due)
        stale = max(days for days, _ in found.values())
        rows[day] = {
            "forecast_date": day,
            "status": "partial" if missing else "late" if stale else "complete",
            "models": whole,
            "missing": missing,
            "n_series": len(due),
            "staleness_days": stale,
            "is_backfill": any(late for _, late in found.values()),
            "updated_at": now,
        }
    return rows


def not_complete(platform: Platform, dates: Collection[dt.date]) -> list[dt.date]:
    """The dates whose ready signal is not there, or says that something is missing."""
    where = {"forecast_date": Between(min(dates), max(dates)), "status": ["complete", "late"]}
    rows = platform.warehouse.read(FORECAST_RUNS, ["forecast_date"], where)["forecast_date"].to_pylist()
    return sorted(set(dates) - set(rows))


def _published(
    platform: Platform, wanted: set[Owner], first: dt.date, last: dt.date
) -> Iterator[tuple[Owner, dt.date, int, bool]]:
    """Of each forecast of first..last by `wanted` that has paths and points: whose and when it is, how stale its data,
    and whether it was made later."""
    names = ("commodity", "model_name", "model_version")
    owners: dict[str, Any] = {name: sorted({item[place] for item in wanted}) for place, name in enumerate(names)}
    where = {**owners, "forecast_date": Between(first, last)}
    identity = [*names, "forecast_date"]
    points = set(_tuples(platform.warehouse.read(POINT_FORECASTS, identity, {**where, "day_ahead": platform.horizon})))
    if not points:
        return
    where |= {"forecast_month": months_between(first, last), "path_id": 0}
    columns = [*identity, "staleness_days", "is_backfill"]
    for *owner, day, staleness, late in _tuples(platform.warehouse.read(DISTRIBUTIONS, columns, where)):
        key = tuple(owner)
        if key in wanted and (*key, day) in points:
            yield key, day, staleness, late


def _tuples(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True)
