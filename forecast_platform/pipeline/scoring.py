"""Scoring: actuals as days become known, actual_close of point forecasts, and metrics of each forecast."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Dates
from forecast_platform.forecasting.horizon import day_column, day_columns
from forecast_platform.forecasting.metrics import score_dates
from forecast_platform.host.progress import Progress, silent
from forecast_platform.warehouse.base import Between, Where, keys_of, months_between, revise
from forecast_platform.warehouse.schemas import (
    ACTUALS,
    DISTRIBUTIONS,
    FORECAST_METADATA,
    POINT_FORECASTS,
)
from forecast_platform.work import store
from forecast_platform.work.chunks import most_dates
from forecast_platform.work.platform import NoDataError, Platform
from forecast_platform.work.results import Outcome
from forecast_platform.work.rows import actuals_table, paths_of

if TYPE_CHECKING:
    import pyarrow as pa


_LATE_DAYS = 78
"""Days past its horizon for which a row of actuals is looked at for gaps: longer than any feed is late for."""

_KNOWN = ("forecast_date", "actuals_hash", "generation_timestamp", "training_seconds", "inference_seconds")
"""What a forecast's metadata row must say before it is scored: whether it was, of what, and what is kept."""


@dataclass(frozen=True)
class _Actuals:
    """Closes of forecast dates as known now, beside what is stored of them."""

    origins: Dates
    closes: NDArray[np.float64]
    hashes: list[str]
    new: NDArray[np.bool_]
    """Which are not stored, or stored with other closes; [n_origins], as the others."""
    failed: dict[dt.date, str]


def _read_actuals(platform: Platform, series: str, dates: Sequence[dt.date]) -> _Actuals:
    """Raises NoDataError where the series has no data at all."""
    origins = np.array(sorted(set(dates)), "datetime64[D]")
    closes, _ = store.targets(platform, series, origins)
    begins = platform.series_table(series).dates[0]
    failed = dict.fromkeys(origins[origins < begins].astype(dt.date), f"data of {series} begin on {begins}")
    keep = origins >= begins
    origins, closes = origins[keep], closes[keep]
    hashes = _row_digests(closes)
    where = keys_of(series, ACTUALS, ACTUALS, dates, by_month=True)
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "input_hash"], where)
    stored = dict(zip(rows["forecast_date"].to_pylist(), rows["input_hash"].to_pylist(), strict=True))
    days = list(origins.astype(dt.date))
    new = np.array([stored.get(day) != digest for day, digest in zip(days, hashes, strict=True)], bool)
    return _Actuals(origins, closes, hashes, new, failed)


def actuals_are_stored(platform: Platform, series: str, dates: Sequence[dt.date]) -> bool:
    """Whether `write_actuals` would write nothing for these dates."""
    try:
        found = _read_actuals(platform, series, dates)
    except NoDataError:
        return False
    return not found.failed and not found.new.any()


def write_actuals(platform: Platform, series: str, dates: Sequence[dt.date]) -> Outcome:
    """The actuals row of each forecast date: closes of its days, null while unknown; unchanged rows are left."""
    (outcome,) = write_actuals_each(platform, {series: dates})
    return outcome


def write_actuals_each(platform: Platform, wanted: Mapping[str, Sequence[dt.date]]) -> list[Outcome]:
    """`write_actuals` of each series, in one commit for those that have the same dates to write."""
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    rows: list[store.Rows] = []
    for series, dates in wanted.items():
        outcome = Outcome(series, ACTUALS)
        outcomes.append(outcome)
        try:
            found = _read_actuals(platform, series, dates)
        except NoDataError as error:
            outcome.failed = dict.fromkeys(dates, str(error))
            continue
        outcome.failed = found.failed
        days = found.origins.astype(dt.date)
        outcome.skipped = set(days[~found.new])
        if found.new.any():
            rows.append(_new_rows(platform, series, found))
    store.put(platform, DISTRIBUTIONS, ACTUALS, ACTUALS, rows)
    written = {one.series: one.days for one in rows}
    for outcome in outcomes:
        outcome.written = set(written.get(outcome.series, ()))
        outcome.rows = len(outcome.written)
        outcome.seconds = (time.perf_counter() - started) / len(outcomes)
    return outcomes


def _new_rows(platform: Platform, series: str, found: _Actuals) -> store.Rows:
    chosen = found.origins[found.new]
    table = actuals_table(
        series,
        chosen,
        found.closes[found.new],
        generation_timestamp=[platform.settings.now()] * len(chosen),
        input_hash=[digest for digest, changed in zip(found.hashes, found.new, strict=True) if changed],
        last_observed_date=list((chosen - ONE_DAY).astype(dt.date)),
    )
    return store.Rows(series, list(chosen.astype(dt.date)), table)


def open_before(platform: Platform, series: str, first: dt.date) -> list[dt.date]:
    """Earlier dates whose stored actuals may have changed since: those that reach the day before `first`, the newest
    that is known on it, and those of the last months that late data left incomplete."""
    earliest, reaching = (first - dt.timedelta(days=back) for back in (_LATE_DAYS + platform.horizon, platform.horizon))
    where: dict[str, Any] = {"commodity": series, "model_name": ACTUALS, "model_version": ACTUALS}
    where |= {"forecast_month": months_between(earliest, first), "forecast_date": Between(earliest, first)}
    last = day_column(platform.horizon)
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", last], where).to_pylist()
    return sorted(
        row["forecast_date"]
        for row in rows
        if row["forecast_date"] < first and (row["forecast_date"] >= reaching or row[last] is None)
    )


def score(
    platform: Platform,
    series: str,
    model: str,
    windows: Sequence[dt.date],
    *,
    version: str | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Metrics of every stored forecast of these windows whose actuals or paths have changed since it was scored."""
    version = version or platform.settings.model_version
    started = time.perf_counter()
    outcome = Outcome(series, model)
    for number, start in enumerate(sorted(windows), 1):
        last = platform.frequency.next_start(start) - dt.timedelta(days=1)
        try:
            scored = _score_span(platform, series, model, version, start, last)
        except NoDataError as error:
            outcome.failed[start] = str(error)
        else:
            (outcome.written if scored else outcome.skipped).add(start)
            outcome.rows += scored
        progress(number, len(windows), f"{series} {model} scored {start}")
    outcome.seconds = time.perf_counter() - started
    return outcome


def _score_span(platform: Platform, series: str, model: str, version: str, first: dt.date, last: dt.date) -> int:
    """Score the forecasts of first..last that need it, a chunk in memory at a time; returns how many."""
    where = {"commodity": series, "model_name": model, "model_version": version, "forecast_date": Between(first, last)}
    rows = platform.warehouse.read(FORECAST_METADATA, _KNOWN, where)
    known = {row["forecast_date"]: row for row in rows.to_pylist()}
    months = keys_of(series, model, version, [first, last], by_month=True)
    months["forecast_month"] = months_between(first, last)
    months["forecast_date"] = Between(first, last)
    columns = ["forecast_date", "generation_timestamp", "model_id", "input_hash", "last_observed_date"]
    stored = platform.warehouse.read(DISTRIBUTIONS, columns, {**months, "path_id": 0}).to_pylist()
    if not stored:
        return 0
    stored.sort(key=lambda row: row["forecast_date"])
    origins = np.array([row["forecast_date"] for row in stored], "datetime64[D]")
    closes, observed = store.targets(platform, series, origins)
    digests = _row_digests(np.concatenate([closes, observed], axis=1))
    todo = [
        (row, digest)
        for row, digest in zip(stored, digests, strict=True)
        if _stale(known.get(row["forecast_date"]), row, digest)
    ]
    if not todo:
        return 0
    most = 2 * most_dates(platform.horizon)  # a whole year's window of two weeks' paths
    for begin in range(0, len(todo), most):
        part = todo[begin : begin + most]
        days = [row["forecast_date"] for row, _ in part]
        pick = np.isin(origins, np.array(days, "datetime64[D]"))
        names = ["forecast_date", "path_id", *day_columns(platform.horizon)]
        found = platform.warehouse.read(DISTRIBUTIONS, names, keys_of(series, model, version, days, by_month=True))
        dates, paths = paths_of(found)
        metrics = score_dates(paths, _last_closes(platform, series, part), closes[pick], observed[pick], dates)
        _write_metadata(platform, (series, model, version), part, known, metrics)
        _fill_actual_close(platform, (series, model, version), dates, closes[pick])
    return len(todo)


def _stale(known: dict[str, Any] | None, stored: dict[str, Any], digest: str) -> bool:
    return (
        known is None
        or known["actuals_hash"] != digest
        or known["generation_timestamp"] != stored["generation_timestamp"]
    )


def _last_closes(platform: Platform, series: str, todo: list[tuple[dict[str, Any], str]]) -> NDArray[np.float64]:
    table = platform.series_table(series)
    newest = np.array([row["last_observed_date"] for row, _ in todo], "datetime64[D]")
    return table.columns["close"][np.searchsorted(table.dates, newest)]


def _write_metadata(
    platform: Platform,
    key: tuple[str, str, str],
    todo: list[tuple[dict[str, Any], str]],
    known: dict[dt.date, dict[str, Any]],
    metrics: dict[str, NDArray[Any]],
) -> None:
    series, model, version = key
    now = platform.settings.now()
    rows = []
    for position, (stored, digest) in enumerate(todo):
        row = {name: _null_if_nan(values[position]) for name, values in metrics.items()}
        row["actuals_available"] = int(metrics["actuals_available"][position])
        rows.append(
            {
                "commodity": series,
                "model_name": model,
                "model_version": version,
                "forecast_date": stored["forecast_date"],
                **row,
                "has_data_leakage": False,
                "model_success": True,
                "error": None,
                "model_id": stored["model_id"],
                "input_hash": stored["input_hash"],
                "last_observed_date": stored["last_observed_date"],
                "actuals_hash": digest,
                "generation_timestamp": stored["generation_timestamp"],
                "scored_at": now,
            }
        )

    def scored(there: pa.Table) -> tuple[pa.Table, Where] | None:
        import pyarrow as pa

        current = {row["forecast_date"]: row for row in there.to_pylist()}
        new = []
        for row in rows:
            day = row["forecast_date"]
            before, earlier = known.get(day, {}), current.get(day, {})
            if earlier.get("generation_timestamp") != before.get("generation_timestamp"):
                continue  # made anew while its earlier paths were scored
            new.append({**row, **{name: earlier.get(name) for name in ("training_seconds", "inference_seconds")}})
        if not new:
            return None
        table = pa.Table.from_pylist(new, schema=FORECAST_METADATA.at(platform.horizon).arrow_schema())
        days = [row["forecast_date"] for row in new]
        return table, keys_of(series, model, version, days, by_month=False)

    days = [row["forecast_date"] for row in rows]
    revise(platform.warehouse, FORECAST_METADATA, keys_of(series, model, version, days, by_month=False), scored)


def _fill_actual_close(
    platform: Platform, key: tuple[str, str, str], origins: Dates, closes: NDArray[np.float64]
) -> None:
    """Bring actual_close of these dates' point forecasts up to date; nothing is written where nothing changed."""
    series, model, version = key
    days = list(origins.astype(dt.date))
    where = keys_of(series, model, version, days, by_month=False)

    def filled(rows: pa.Table) -> tuple[pa.Table, Where] | None:
        import pyarrow as pa

        if rows.num_rows == 0:
            return None
        row_of = np.searchsorted(origins, rows["forecast_date"].to_numpy().astype("datetime64[D]"))
        values = closes[row_of, rows["day_ahead"].to_numpy() - 1]
        if np.array_equal(values, _floats(rows["actual_close"]), equal_nan=True):
            return None
        position = rows.schema.get_field_index("actual_close")
        column = pa.array(values, pa.float64(), mask=np.isnan(values))
        return rows.set_column(position, "actual_close", column), where

    revise(platform.warehouse, POINT_FORECASTS, where, filled)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return column.cast("float64").to_numpy(zero_copy_only=False).astype(np.float64)


def _row_digests(values: NDArray[np.float64]) -> list[str]:
    """A hash of each row, [n, k] to n hex digests."""
    return [hashlib.blake2b(row.data, digest_size=8).hexdigest() for row in np.ascontiguousarray(values, np.float64)]


def _null_if_nan(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
