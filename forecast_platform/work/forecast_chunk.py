"""The one entry point that every compute runs: inputs of a chunk of dates to stored paths, chunk by chunk."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from forecast_platform.forecasting.summary import Summary, summarise
from forecast_platform.warehouse.base import DiskFullError
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work import store
from forecast_platform.work.base_forecasts import with_base
from forecast_platform.work.chunks import Chunk, ChunkResult, Forecasts, Inputs, Member, distribution_rows, simulate
from forecast_platform.work.fits import FitManifest, MissingModelError, StoredModel, load_model
from forecast_platform.work.own_inputs import own_inputs
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

T = TypeVar("T")


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
    inputs = own_inputs(platform, stored, series, dates)
    return with_base(platform, stored, inputs, paths=base_paths, known=members)


@dataclass(frozen=True)
class Made:
    """A chunk's forecasts that are to be stored."""

    chunk: Chunk
    stored: StoredModel
    forecasts: Forecasts
    generated: dt.datetime
    seconds: float
    """That making them took."""


def forecast_chunk(platform: Platform, chunk: Chunk) -> ChunkResult:
    """The entry point every compute runs: load, simulate, validate, write in one commit a table."""
    (result,) = forecast_chunks(platform, [chunk])
    return result


def forecast_chunks(platform: Platform, chunks: Sequence[Chunk]) -> list[ChunkResult]:
    """`forecast_chunk` of each chunk, all of one model and version and each of another series, with one commit a table
    for those that have the same dates. What goes wrong with one before anything is written costs that one alone."""
    found: list[Made | ChunkResult] = []
    for chunk in chunks:
        found += _or_failed([chunk], partial(_make, platform, chunk))
    made = [one for one in found if isinstance(one, Made)]
    stored = _or_failed([one.chunk for one in made], partial(_store, platform, made)) if made else []
    results = {one.chunk.series: one for one in [*found, *stored] if isinstance(one, ChunkResult)}
    return [results[chunk.series] for chunk in chunks]


def _or_failed(chunks: Sequence[Chunk], work: Callable[[], list[T]]) -> list[T | ChunkResult]:
    """What `work` on these chunks gives; where it fails, a result of each that says why: one's failure must not keep
    others from being written, and the step fails at its end, naming it."""
    fatal = False
    try:
        return [*work()]
    except (DiskFullError, MissingModelError) as error:
        reason, fatal = str(error), isinstance(error, DiskFullError)
    except Exception as error:
        for chunk in chunks:
            log.exception("%s %s %s: dates %s to %s failed", chunk.series, chunk.model, chunk.version, *_ends(chunk))
        reason = f"{type(error).__name__}: {error}"
    return [ChunkResult(chunk, [], dict.fromkeys(chunk.dates, reason), fatal=fatal) for chunk in chunks]


def _make(platform: Platform, chunk: Chunk) -> list[Made | ChunkResult]:
    """Forecasts of a chunk; what became of it where it has none."""
    started = time.perf_counter()
    settings = platform.settings
    stored = load_model(platform, chunk.series, chunk.model, chunk.version, chunk.window_start)
    inputs = read_chunk_inputs(platform, stored, chunk.series, chunk.dates, base_paths=True, members=chunk.members)
    made = simulate(stored.fitted, inputs, platform.horizon, settings.n_paths, settings.seed)
    if not made.days:
        return [ChunkResult(chunk, [], made.failed)]
    return [Made(chunk, stored, made, settings.now(), time.perf_counter() - started)]


def _store(platform: Platform, made: Sequence[Made]) -> list[ChunkResult]:
    """Store what was made, all of one model."""
    started, settings = time.perf_counter(), platform.settings
    rows = [
        distribution_rows(
            one.chunk,
            one.forecasts,
            is_backfill=[store.is_backfill(settings, day, one.generated) for day in one.forecasts.days],
            generated=one.generated,
            model_id=one.stored.model_id,
            algorithm_version=one.stored.paths_version,
        )
        for one in made
    ]
    counts = [table.num_rows for table in rows]
    store_paths(platform, [(one.chunk, one.forecasts.days, table) for one, table in zip(made, rows, strict=True)])
    del rows
    summaries = [summarise(one.forecasts.paths) for one in made]
    writing = (time.perf_counter() - started) / len(made)
    timed = [replace(one, seconds=one.seconds + writing) for one in made]
    store_results(platform, list(zip(timed, summaries, strict=True)))
    return [
        ChunkResult(one.chunk, one.forecasts.days, one.forecasts.failed, count, one.seconds)
        for one, count in zip(timed, counts, strict=True)
    ]


def store_paths(platform: Platform, parts: Sequence[tuple[Chunk, Sequence[dt.date], pa.Table]]) -> None:
    """Replace the paths of these days of chunks, all of one model; what was live goes to the archive first."""
    for chunk, days, _ in parts:
        live = [day for day in chunk.published if day in set(days)]
        store.archive(platform, chunk.series, chunk.model, chunk.version, live)
    one = parts[0][0]
    rows = [store.Rows(chunk.series, list(days), table) for chunk, days, table in parts]
    store.put(platform, DISTRIBUTIONS, one.model, one.version, rows)


def store_results(platform: Platform, parts: Sequence[tuple[Made, Summary]]) -> None:
    """Metadata and point forecasts of paths that are stored, all of one model.

    The points come last: where they belong to the paths, nothing of the three is missing, however a run was ended.
    """
    metadata, points = [], []
    for one, summary in parts:
        chunk, made = one.chunk, one.forecasts
        key = (chunk.series, chunk.model, chunk.version)
        metadata.append(
            store.successes(
                platform,
                *key,
                made.origins,
                model_id=one.stored.model_id,
                hashes=made.hashes,
                last_observed=made.last_observed,
                generated=one.generated,
                training_seconds=one.stored.training_seconds,
                inference_seconds=one.seconds / len(made.origins),
            )
        )
        times = [one.generated] * len(made.origins)
        points.append(store.points(platform, *key, made.origins, summary, times, chunk.training_cutoff))
    chunk = parts[0][0].chunk
    store.put(platform, FORECAST_METADATA, chunk.model, chunk.version, metadata)
    store.put(platform, POINT_FORECASTS, chunk.model, chunk.version, points)


def _ends(chunk: Chunk) -> tuple[dt.date, dt.date]:
    return chunk.dates[0], chunk.dates[-1]
