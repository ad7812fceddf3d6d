"""Forecasting: which dates need paths, and the one entry point that makes them, chunk by chunk, on any compute."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.forecasting.summary import Summary, summarise
from forecast_platform.models import registry
from forecast_platform.pipeline import publish
from forecast_platform.pipeline.chunks import Chunk, ChunkResult, Forecasts, Inputs, distribution_rows, simulate
from forecast_platform.pipeline.platform import NoDataError, Platform, row_hashes
from forecast_platform.pipeline.results import Outcome, Progress, silent
from forecast_platform.pipeline.tables import paths_of
from forecast_platform.pipeline.training import (
    MissingModelError,
    StoredModel,
    load_model,
    missing_model_text,
    other_algorithm_text,
    trained_windows,
)
from forecast_platform.warehouse.base import DiskFullError, keys_of
from forecast_platform.warehouse.schemas import DAY_COLUMNS, DISTRIBUTIONS, HORIZON, POINT_FORECASTS

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

MAX_CHUNK_DATES = 184
"""Dates of one chunk: half a year, whose paths take 21 MB. The longest window's worth is cut at this."""


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


def gather(platform: Platform, stored: StoredModel, series: str, dates: Sequence[dt.date]) -> Inputs:
    """The history a chunk reads, the hash of each date's share of it, and the dates that cannot be forecast."""
    settings = platform.settings
    origins = np.array(sorted(dates), "datetime64[D]")
    table = platform.series_table(series)
    history = table.history(stored.history_start, origins[-1], stored.covariates)
    failed: dict[dt.date, str] = {}
    observed = history.observed_dates
    known = np.searchsorted(observed, origins)
    for origin in origins[known == 0]:
        failed[origin.astype(dt.date)] = f"data of {series} begin on {observed[0]}; nothing is known before {origin}"
    origins, known = origins[known > 0], known[known > 0]
    last = observed[known - 1] if len(origins) else origins
    seen = table.seen_days(settings.publication_lag_days.market)
    due = seen[np.maximum(np.searchsorted(seen, origins) - 1, 0)]
    staleness = np.maximum((due - last).astype(int), 0)
    fresh = staleness <= settings.max_staleness_days
    for origin, newest, late in zip(origins[~fresh], last[~fresh], staleness[~fresh], strict=True):
        failed[origin.astype(dt.date)] = (
            f"data of {series} end on {newest}, {late} days before the last session due; at most "
            f"{settings.max_staleness_days} are allowed: ingest newer data or raise max_staleness_days"
        )
    origins, last, staleness = origins[fresh], last[fresh], staleness[fresh]
    if reason := stored.other_unit(history):
        failed.update(dict.fromkeys(origins.astype(dt.date).tolist(), reason))
        origins, last, staleness = origins[:0], last[:0], staleness[:0]
    running = row_hashes(history)
    rows_before = np.clip((origins - history.dates[0]).astype(int), 0, len(history))
    trading = history.trading(origins, HORIZON) if len(origins) else np.empty((0, HORIZON), bool)
    fixed = f"{settings.seed}\x1f{settings.n_paths}\x1f{stored.fitted.window.start}\x1f".encode()
    hashes = [
        hashlib.blake2b(fixed + running[count].encode() + mask.tobytes(), digest_size=8).hexdigest()
        for count, mask in zip(rows_before, trading, strict=True)
    ]
    return Inputs(history, origins, hashes, last, [int(days) for days in staleness], failed)


def plan(
    platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date], *, overwrite: bool = False
) -> Plan:
    """Compare what is asked with what is stored: same model, input and algorithm are skipped; others are made anew."""
    algorithm = registry.get(model).algorithm_version
    stored_keys, point_times = _stored(platform, series, model, version, dates)
    by_window: dict[dt.date, list[dt.date]] = {}
    for day in sorted(set(dates)):
        by_window.setdefault(platform.window_start(day), []).append(day)
    trained = trained_windows(platform, series, model, version)
    result = Plan([], set(), [], {}, [start for start in by_window if start not in trained])
    for start, days in by_window.items():
        if start not in trained:
            reason = missing_model_text(platform, series, model, version, [start])
            result.failed.update(dict.fromkeys(days, reason))
            continue
        try:
            stored_model = load_model(platform, series, model, version, start)
            inputs = gather(platform, stored_model, series, days)
        except (NoDataError, MissingModelError) as error:
            result.failed.update(dict.fromkeys(days, str(error)))
            continue
        result.failed.update(inputs.failed)
        todo, live = [], []
        for day, digest in zip(inputs.dates.astype(dt.date), inputs.hashes, strict=True):
            known = stored_keys.get(day)
            if known is None:
                todo.append(day)
            elif overwrite or (known["model_id"], known["input_hash"]) != (stored_model.model_id, digest):
                todo.append(day)
                if not known["is_backfill"]:
                    live.append(day)
            elif known["algorithm_version"] != algorithm:
                result.failed[day] = other_algorithm_text(version, known["algorithm_version"], algorithm)
            else:
                result.skipped.add(day)
                result.kept[day] = known["generation_timestamp"]
                if point_times.get(day) != known["generation_timestamp"]:
                    result.repair.append(day)
        result.chunks.extend(
            Chunk(series, model, version, start, tuple(part), tuple(day for day in live if day in set(part)))
            for part in _parts(todo)
        )
    return result


def forecast(
    platform: Platform,
    series: str,
    model: str,
    dates: Sequence[dt.date],
    *,
    version: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Paths and point forecasts of `model` for each of `dates`; what is there and unchanged is left alone."""
    from forecast_platform.compute import compute_for

    version = version or platform.settings.model_version
    started = time.perf_counter()
    outcome = Outcome(series, model)
    todo = plan(platform, series, model, version, dates, overwrite=overwrite)
    outcome.skipped, outcome.failed = set(todo.skipped), dict(todo.failed)
    if todo.repair:
        repair_points(platform, series, model, version, todo.repair)
        outcome.notes.append(f"{len(todo.repair)} dates had paths but no point forecasts of them; made from the paths")
    total = len(set(dates))
    # Closed also where an interrupt comes between two results: what the compute still has going on must end.
    with closing(compute_for(platform.settings).run(platform, todo.chunks)) as results:
        for result in results:
            outcome.written.update(result.written)
            outcome.failed.update(result.failed)
            outcome.rows += result.rows
            outcome.runs.extend(result.runs)
            done = len(outcome.good) + len(outcome.failed)
            progress(done, total, f"{series} {model} {result.chunk.dates[-1]}")
    publish.failures(platform, series, model, version, outcome.failed)
    outcome.seconds = time.perf_counter() - started
    return outcome


def forecast_chunk(platform: Platform, chunk: Chunk) -> ChunkResult:
    """The entry point every compute runs: load, simulate, validate, write in one commit a table."""
    started = time.perf_counter()
    try:
        return _forecast_chunk(platform, chunk, started)
    except DiskFullError as error:
        return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, str(error)), fatal=True)
    except Exception as error:
        # One chunk's failure must not keep the others from being written; the step fails at its end, naming it.
        log.exception("%s %s %s: dates %s to %s failed", chunk.series, chunk.model, chunk.version, *_ends(chunk))
        return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, f"{type(error).__name__}: {error}"))


def _forecast_chunk(platform: Platform, chunk: Chunk, started: float) -> ChunkResult:
    settings = platform.settings
    stored = load_model(platform, chunk.series, chunk.model, chunk.version, chunk.window_start)
    inputs = gather(platform, stored, chunk.series, chunk.dates)
    made = simulate(stored.fitted, inputs, settings.n_paths, settings.seed)
    days = made.days
    if not days:
        return ChunkResult(chunk, [], made.failed)
    now = settings.now()
    rows = distribution_rows(
        chunk,
        made,
        is_backfill=[publish.is_backfill(settings, day, now) for day in days],
        generated=now,
        model_id=stored.model_id,
        algorithm_version=registry.get(chunk.model).algorithm_version,
    )
    store_paths(platform, chunk, days, rows)
    summary = summarise(made.paths)
    seconds = store_results(platform, chunk, stored, made, summary, now, started)
    return ChunkResult(chunk, days, made.failed, rows.num_rows, seconds)


def store_paths(platform: Platform, chunk: Chunk, days: Sequence[dt.date], rows: pa.Table) -> None:
    """Replace the paths of these days of a chunk in one commit; what was live goes to the archive first."""
    key = (chunk.series, chunk.model, chunk.version)
    publish.archive(platform, *key, [day for day in chunk.published if day in set(days)])
    platform.warehouse.replace(DISTRIBUTIONS, rows, keys_of(*key, days, by_month=True))


def store_results(
    platform: Platform,
    chunk: Chunk,
    stored: StoredModel,
    made: Forecasts,
    summary: Summary,
    generated: dt.datetime,
    started: float,
) -> float:
    """Point forecasts and metadata of paths that are stored; returns the seconds since `started` of perf_counter."""
    key = (chunk.series, chunk.model, chunk.version)
    times = [generated] * len(made.origins)
    publish.points(platform, *key, made.origins, summary, times, chunk.training_cutoff)
    seconds = time.perf_counter() - started
    publish.successes(
        platform,
        *key,
        made.origins,
        model_id=stored.model_id,
        hashes=made.hashes,
        last_observed=made.last_observed,
        generated=generated,
        training_seconds=stored.training_seconds,
        inference_seconds=seconds / len(made.origins),
    )
    return seconds


def repair_points(platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date]) -> None:
    """Point forecasts from the stored paths, for dates whose step was killed between the two writes."""
    for part in _parts(sorted(dates)):
        where = keys_of(series, model, version, part, by_month=True)
        columns = ["forecast_date", "path_id", "generation_timestamp", "training_cutoff_date", *DAY_COLUMNS]
        rows = platform.warehouse.read(DISTRIBUTIONS, columns, where)
        origins, paths = paths_of(rows)
        first = _first_paths(rows)
        for cutoff in {row["training_cutoff_date"] for row in first.values()}:
            chosen = np.array([first[day.astype(dt.date)]["training_cutoff_date"] == cutoff for day in origins])
            days = [day.astype(dt.date) for day in origins[chosen]]
            times = [first[day]["generation_timestamp"] for day in days]
            publish.points(platform, series, model, version, origins[chosen], summarise(paths[chosen]), times, cutoff)


def _stored(
    platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date]
) -> tuple[dict[dt.date, dict[str, Any]], dict[dt.date, dt.datetime]]:
    """The stored keys' identity by date, and the generation times of their point forecasts."""
    columns = ["forecast_date", "model_id", "input_hash", "algorithm_version", "generation_timestamp", "is_backfill"]
    where = keys_of(series, model, version, dates, by_month=True)
    keys = platform.warehouse.read(DISTRIBUTIONS, columns, {**where, "path_id": 0})
    where = {**keys_of(series, model, version, dates, by_month=False), "day_ahead": HORIZON}
    points = platform.warehouse.read(POINT_FORECASTS, ["forecast_date", "generation_timestamp"], where)
    times = zip(points["forecast_date"].to_pylist(), points["generation_timestamp"].to_pylist(), strict=True)
    return {row["forecast_date"]: row for row in keys.to_pylist()}, dict(times)


def _first_paths(rows: pa.Table) -> dict[dt.date, dict[str, Any]]:
    import pyarrow.compute as pc

    first = rows.filter(pc.field("path_id") == 0).select(
        ["forecast_date", "generation_timestamp", "training_cutoff_date"]
    )
    return {row["forecast_date"]: row for row in first.to_pylist()}


def _parts(days: Sequence[dt.date]) -> Iterator[list[dt.date]]:
    """At most MAX_CHUNK_DATES dates each."""
    for begin in range(0, len(days), MAX_CHUNK_DATES):
        yield list(days[begin : begin + MAX_CHUNK_DATES])


def _ends(chunk: Chunk) -> tuple[dt.date, dt.date]:
    return chunk.dates[0], chunk.dates[-1]
