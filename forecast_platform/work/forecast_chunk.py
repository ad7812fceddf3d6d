"""The one entry point that every compute runs: inputs of a chunk of dates to stored paths, chunk by chunk."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Dates, History
from forecast_platform.forecasting.summary import Summary, summarise
from forecast_platform.warehouse.base import DiskFullError, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work import store
from forecast_platform.work.base_forecasts import with_base
from forecast_platform.work.chunks import Chunk, ChunkResult, Forecasts, Inputs, Member, distribution_rows, simulate
from forecast_platform.work.fits import FitManifest, MissingModelError, StoredModel, load_model
from forecast_platform.work.platform import Platform, row_hashes

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def read_chunk_inputs(
    platform: Platform,
    stored: FitManifest,
    series: str,
    dates: Sequence[dt.date],
    *,
    base_paths: bool = False,
    members: tuple[Member, ...] = (),
) -> Inputs:
    """The history a chunk reads, the hash of each date's share of it, and the dates that cannot be forecast.

    Where the model is made of other models' forecasts, the hashes cover which those are too; with `base_paths` their
    paths are read. `members`: what those were when the chunk was planned.
    """
    settings = platform.settings
    origins = np.array(sorted(dates), "datetime64[D]")
    table = platform.series_table(series)
    history = table.history(stored.history_start, origins[-1], stored.covariates, stored.reads)
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
    trading = history.trading(origins, platform.horizon) if len(origins) else np.empty((0, platform.horizon), bool)
    rolls = rolls_ahead(history, origins, last, platform.horizon)
    fixed = f"{settings.seed}\x1f{settings.n_paths}\x1f{stored.window.start}\x1f".encode()
    hashes = [
        hashlib.blake2b(fixed + running[count].encode() + mask.tobytes() + ahead, digest_size=8).hexdigest()
        for count, mask, ahead in zip(rows_before, trading, rolls, strict=True)
    ]
    inputs = Inputs(history, origins, hashes, last, [int(days) for days in staleness], failed)
    return with_base(platform, stored, inputs, paths=base_paths, known=members)


def rolls_ahead(history: History, origins: Dates, last: Dates, horizon: int) -> list[bytes]:
    """What each of `origins` [n] knows of the rolls between its last observed day, `last` [n], and `horizon` days on,
    as bytes for its hash; empty for none."""
    if history.schedule is None:
        return [b""] * len(origins)
    days, months = history.schedule.dates.astype(np.int64), history.schedule.months
    begins = np.searchsorted(history.schedule.dates, last, side="right")
    ends = np.searchsorted(history.schedule.dates, origins + horizon * ONE_DAY, side="left")
    return [np.stack([days[a:b], months[a:b]]).tobytes() for a, b in zip(begins, ends, strict=True)]


def forecast_chunk(platform: Platform, chunk: Chunk) -> ChunkResult:
    """The entry point every compute runs: load, simulate, validate, write in one commit a table."""
    started = time.perf_counter()
    try:
        return _forecast_chunk(platform, chunk, started)
    except DiskFullError as error:
        return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, str(error)), fatal=True)
    except MissingModelError as error:
        return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, str(error)))
    except Exception as error:
        # One chunk's failure must not keep the others from being written; the step fails at its end, naming it.
        log.exception("%s %s %s: dates %s to %s failed", chunk.series, chunk.model, chunk.version, *_ends(chunk))
        return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, f"{type(error).__name__}: {error}"))


def _forecast_chunk(platform: Platform, chunk: Chunk, started: float) -> ChunkResult:
    settings = platform.settings
    stored = load_model(platform, chunk.series, chunk.model, chunk.version, chunk.window_start)
    inputs = read_chunk_inputs(platform, stored, chunk.series, chunk.dates, base_paths=True, members=chunk.members)
    made = simulate(stored.fitted, inputs, platform.horizon, settings.n_paths, settings.seed)
    days = made.days
    if not days:
        return ChunkResult(chunk, [], made.failed)
    now = settings.now()
    rows = distribution_rows(
        chunk,
        made,
        is_backfill=[store.is_backfill(settings, day, now) for day in days],
        generated=now,
        model_id=stored.model_id,
        algorithm_version=stored.paths_version,
    )
    store_paths(platform, chunk, days, rows)
    summary = summarise(made.paths)
    seconds = store_results(platform, chunk, stored, made, summary, now, started)
    return ChunkResult(chunk, days, made.failed, rows.num_rows, seconds)


def store_paths(platform: Platform, chunk: Chunk, days: Sequence[dt.date], rows: pa.Table) -> None:
    """Replace the paths of these days of a chunk in one commit; what was live goes to the archive first."""
    key = (chunk.series, chunk.model, chunk.version)
    store.archive(platform, *key, [day for day in chunk.published if day in set(days)])
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
    """Metadata and point forecasts of paths that are stored; returns the seconds since `started` of perf_counter.

    The points come last: where they belong to the paths, nothing of the three is missing, however a run was ended.
    """
    key = (chunk.series, chunk.model, chunk.version)
    times = [generated] * len(made.origins)
    seconds = time.perf_counter() - started
    store.successes(
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
    store.points(platform, *key, made.origins, summary, times, chunk.training_cutoff)
    return seconds


def _ends(chunk: Chunk) -> tuple[dt.date, dt.date]:
    return chunk.dates[0], chunk.dates[-1]
