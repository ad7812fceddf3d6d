"""Scoring: metrics of each forecast, and actual_close of point forecasts, as days become known."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.forecasting.metrics import score_dates
from forecast_platform.host.progress import Progress, silent
from forecast_platform.warehouse.base import Between, Where, any_of, keys_of, months_between, revise
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work import store
from forecast_platform.work.chunks import most_dates
from forecast_platform.work.platform import NoDataError, Platform
from forecast_platform.work.results import Outcome
from forecast_platform.work.rows import by_series, paths_by_count, row_digests

if TYPE_CHECKING:
    import pyarrow as pa

_TOGETHER = 100_000
"""Paths of several series that are read at once: 6 MB at 14 days; fifty dates, of which a day of ten series has 140."""

_KNOWN = ("commodity", "forecast_date", "actuals_hash", "generation_timestamp")
"""What a forecast's metadata row must say before it is scored: whether it was, and of what."""

_STORED = ("commodity", "forecast_date", "generation_timestamp", "model_id", "input_hash", "last_observed_date")
"""What the metadata say of stored paths."""

_KEPT = ("training_seconds", "inference_seconds")
"""What a forecast's metadata row keeps when it is scored."""


@dataclass(frozen=True)
class _Todo:
    """Forecasts of one series that are to be scored, ascending by date: `stored` rows of their first paths, `known`
    rows of their metadata by date where there are any, closes and trading targets of their days as `store.targets` has
    them, and hashes of both."""

    series: str
    stored: Sequence[Mapping[str, Any]]
    known: Mapping[dt.date, Mapping[str, Any]]
    closes: NDArray[np.float64]
    observed: NDArray[np.bool_]
    digests: Sequence[str]

    @property
    def days(self) -> list[dt.date]:
        """The forecast dates."""
        return [row["forecast_date"] for row in self.stored]

    def at(self, places: Sequence[int]) -> _Todo:
        """The forecasts at these positions, ascending."""
        return _Todo(
            self.series,
            [self.stored[place] for place in places],
            self.known,
            self.closes[places],
            self.observed[places],
            [self.digests[place] for place in places],
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
    (outcome,) = score_each(platform, {series: windows}, model, version=version, progress=progress)
    return outcome


def score_each(
    platform: Platform,
    wanted: Mapping[str, Sequence[dt.date]],
    model: str,
    *,
    version: str | None = None,
    progress: Progress = silent,
) -> list[Outcome]:
    """`score` of each series and its windows; a few forecasts of several series are read and written together, which
    takes as long as one series' do."""
    version = version or platform.settings.model_version
    started = time.perf_counter()
    outcomes = {series: Outcome(series, model) for series in wanted}
    total, done = sum(len(set(windows)) for windows in wanted.values()), 0
    for start in sorted({start for windows in wanted.values() for start in windows}):
        last = platform.frequency.next_start(start) - dt.timedelta(days=1)
        names = [series for series, windows in wanted.items() if start in windows]
        for series, scored in _score_span(platform, names, model, version, start, last).items():
            outcome = outcomes[series]
            if isinstance(scored, str):
                outcome.failed[start] = scored
            else:
                (outcome.written if scored else outcome.skipped).add(start)
                outcome.rows += scored
            done += 1
            progress(done, total, f"{series} {model} scored {start}")
    for outcome in outcomes.values():
        outcome.seconds = (time.perf_counter() - started) / len(outcomes)
    return list(outcomes.values())


def _score_span(
    platform: Platform, names: Sequence[str], model: str, version: str, first: dt.date, last: dt.date
) -> dict[str, int | str]:
    """Score the forecasts of first..last that need it, a part in memory at a time; returns for each series how many
    these were, or why it has none."""
    span = Between(first, last)
    where: dict[str, Any] = {"commodity": any_of(names), "model_name": model, "model_version": version}
    known = by_series(platform.warehouse.read(FORECAST_METADATA, _KNOWN, {**where, "forecast_date": span}))
    months = {"forecast_month": months_between(first, last), "forecast_date": span, "path_id": 0}
    stored = by_series(platform.warehouse.read(DISTRIBUTIONS, _STORED, {**where, **months}))
    found: dict[str, int | str] = {}
    todo = []
    for series in names:
        rows = stored[series].to_pylist() if series in stored else []
        try:
            one = _todo(platform, series, rows, known[series].to_pylist() if series in known else [])
        except NoDataError as error:
            found[series] = str(error)
        else:
            found[series] = len(one.stored) if one else 0
            todo += [one] if one else []
    for together in _parts(todo, platform):
        _score(platform, together, model, version)
    return found


def _todo(
    platform: Platform, series: str, stored: list[dict[str, Any]], known: Sequence[dict[str, Any]]
) -> _Todo | None:
    """Those of a series' stored forecasts that are not scored as they and their actuals now are; None where all are.

    Raises NoDataError where there are forecasts, but no data of the series.
    """
    if not stored:
        return None
    stored.sort(key=lambda row: row["forecast_date"])
    closes, observed = store.targets(
        platform, series, np.array([row["forecast_date"] for row in stored], "datetime64[D]")
    )
    digests = row_digests(np.concatenate([closes, observed], axis=1))
    scored = {row["forecast_date"]: row for row in known}
    stale = [
        position
        for position, (row, digest) in enumerate(zip(stored, digests, strict=True))
        if _stale(scored.get(row["forecast_date"]), row, digest)
    ]
    return _Todo(series, stored, scored, closes, observed, digests).at(stale) if stale else None


def _stale(known: Mapping[str, Any] | None, stored: Mapping[str, Any], digest: str) -> bool:
    return (
        known is None
        or known["actuals_hash"] != digest
        or known["generation_timestamp"] != stored["generation_timestamp"]
    )


def _parts(todo: Sequence[_Todo], platform: Platform) -> Iterator[list[_Todo]]:
    """What is scored at once: a year of one series at most, or the same few dates of several."""
    most = 2 * most_dates(platform.horizon)  # a whole year's window of two weeks' paths
    few = _TOGETHER // platform.settings.n_paths
    for days, group in groupby(sorted(todo, key=lambda one: (one.days, one.series)), key=lambda one: one.days):
        same = list(group)
        for begin in range(0, len(days), most):
            parts = [one.at(range(begin, min(begin + most, len(days)))) for one in same]
            size = max(1, few // len(parts[0].stored))
            yield from (parts[first : first + size] for first in range(0, len(parts), size))


def _score(platform: Platform, todo: Sequence[_Todo], model: str, version: str) -> None:
    """Score and store forecasts of the same dates of several series."""
    key = any_of([one.series for one in todo]), model, version, todo[0].days
    names = ["commodity", "forecast_date", "path_id", *day_columns(platform.horizon)]
    found = by_series(platform.warehouse.read(DISTRIBUTIONS, names, keys_of(*key, by_month=True)))
    rows = []
    for one in todo:
        days = np.array(one.days, "datetime64[D]")
        # Dates whose paths are gone by now have no score.
        for dates, paths in paths_by_count(found[one.series]) if one.series in found else ():
            some = one.at(np.searchsorted(days, dates).tolist())
            metrics = score_dates(paths, _last_closes(platform, some), some.closes, some.observed, dates)
            rows += _metadata(platform, some, model, version, metrics)
    where = keys_of(*key, by_month=False)
    # The metadata last: by them a forecast is scored, and a run that was ended before them scores it again.
    _fill_actual_close(platform, where, todo)
    _write_metadata(platform, where, rows, {one.series: one.known for one in todo})


def _last_closes(platform: Platform, todo: _Todo) -> NDArray[np.float64]:
    table = platform.series_table(todo.series)
    newest = np.array([row["last_observed_date"] for row in todo.stored], "datetime64[D]")
    return table.columns["close"][np.searchsorted(table.dates, newest)]


def _metadata(
    platform: Platform, todo: _Todo, model: str, version: str, metrics: Mapping[str, NDArray[Any]]
) -> list[dict[str, Any]]:
    """Rows of `forecast_metadata`, without what they keep of the ones before."""
    now = platform.settings.now()
    return [
        {
            "model_name": model,
            "model_version": version,
            **{name: _null_if_nan(values[position]) for name, values in metrics.items()},
            "actuals_available": int(metrics["actuals_available"][position]),
            "has_data_leakage": False,
            "model_success": True,
            "error": None,
            **{name: stored[name] for name in _STORED},
            "actuals_hash": digest,
            "scored_at": now,
        }
        for position, (stored, digest) in enumerate(zip(todo.stored, todo.digests, strict=True))
    ]


def _write_metadata(
    platform: Platform,
    where: Where,
    rows: Sequence[dict[str, Any]],
    known: Mapping[str, Mapping[dt.date, Mapping[str, Any]]],
) -> None:
    """Replace metadata rows of `where` by `rows`; the others stay as they are, and so do those of forecasts that were
    made anew while their earlier paths were scored."""

    def scored(there: pa.Table) -> tuple[pa.Table, Where] | None:
        import pyarrow as pa

        current = {(row["commodity"], row["forecast_date"]): row for row in there.to_pylist()}
        new = {}
        for row in rows:
            key = row["commodity"], row["forecast_date"]
            before, earlier = known[key[0]].get(key[1], {}), current.get(key, {})
            if earlier.get("generation_timestamp") == before.get("generation_timestamp"):
                new[key] = {**row, **{name: earlier.get(name) for name in _KEPT}}
        if not new:
            return None
        whole = list({**current, **new}.values())
        return pa.Table.from_pylist(whole, schema=FORECAST_METADATA.at(platform.horizon).arrow_schema()), where

    revise(platform.warehouse, FORECAST_METADATA, where, scored)


def _fill_actual_close(platform: Platform, where: Where, todo: Sequence[_Todo]) -> None:
    """Bring actual_close of these point forecasts up to date; nothing is written where nothing changed."""

    def filled(rows: pa.Table) -> tuple[pa.Table, Where] | None:
        import pyarrow as pa

        if rows.num_rows == 0:
            return None
        values = np.empty(rows.num_rows)
        series = rows["commodity"].to_numpy(zero_copy_only=False)
        days = rows["forecast_date"].to_numpy().astype("datetime64[D]")
        ahead = rows["day_ahead"].to_numpy()
        for one in todo:
            mine = series == one.series
            row = np.searchsorted(np.array(one.days, "datetime64[D]"), days[mine])
            values[mine] = one.closes[row, ahead[mine] - 1]
        if np.array_equal(values, _floats(rows["actual_close"]), equal_nan=True):
            return None
        position = rows.schema.get_field_index("actual_close")
        column = pa.array(values, pa.float64(), mask=np.isnan(values))
        return rows.set_column(position, "actual_close", column), where

    revise(platform.warehouse, POINT_FORECASTS, where, filled)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return column.cast("float64").to_numpy(zero_copy_only=False).astype(np.float64)


def _null_if_nan(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
