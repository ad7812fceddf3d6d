"""Spark: chunks are cut into pieces of dates, made by the workers, and written to Delta a group of chunks at a time.

The driver reads models and histories, sends each once a window, and gets back a report of a few hundred bytes a date;
the paths go from the workers to the table (`spark_writer`).
"""

from __future__ import annotations

import datetime as dt
import logging
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.compute.spark_session import Writer, cores_of, session_for, writer_of
from forecast_platform.forecasting.history import Dates
from forecast_platform.pipeline import inference, publish
from forecast_platform.pipeline.chunks import Chunk, ChunkResult, Forecasts, Inputs
from forecast_platform.pipeline.platform import Platform
from forecast_platform.pipeline.training import StoredModel, load_model
from forecast_platform.warehouse.base import DiskFullError, keys_of
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, HORIZON

if TYPE_CHECKING:
    import pyarrow as pa

    from forecast_platform.compute.spark_worker import Worker

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Tries of a Spark job. A write replaces exactly its keys, so a job that was lost after it wrote may run again."""

MIN_PIECE_DATES = 8
"""Dates below which loading the model and filtering the history would cost more than simulating."""

MIN_GROUP_DATES, DRIVER_GROUP_DATES = 368, 736
"""Dates of one job: at least a year, so that jobs are few; at most two where the paths pass through the driver."""

_STALE_SECONDS = 2 * 86400
_PATH_BYTES = 4 * HORIZON + 8


class SparkJobError(RuntimeError):
    """A Spark job ended without having done what it was given; its keys are as they were, or whole."""


@dataclass(frozen=True)
class _Prepared:
    """A chunk, what its dates are forecast from, and how they are cut."""

    chunk: Chunk
    stored: StoredModel
    inputs: Inputs
    pieces: dict[int, slice]


@dataclass(frozen=True)
class _Replies:
    """What came back of a job, by piece."""

    reports: dict[int, pa.Table]
    seconds: dict[int, float]
    rows: dict[int, pa.Table]


class SparkCompute:
    """Chunks on a Spark session: the platform's (a Dagster resource), or the one that the settings describe."""

    def __init__(self, worker: Worker | None = None) -> None:
        self._worker = worker

    def run(self, platform: Platform, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Yield each chunk's result once its group is in the tables; a lost task is tried again, a lost job too."""
        if not chunks:
            return
        settings = platform.settings
        session = platform.spark.spark_session if platform.spark is not None else session_for(settings)
        slots = cores_of(session, settings) * settings.spark_partitions_per_core
        writer = writer_of(settings)
        stopped: str | None = None
        for group in groups(chunks, slots, writer):
            if stopped is None:
                for result in self._group(platform, session, group, slots, writer):
                    if result.fatal:
                        stopped = next(iter(result.failed.values()))
                    yield result
            else:
                yield from (ChunkResult(c, [], dict.fromkeys(c.dates, stopped), fatal=True) for c in group)

    def _group(
        self, platform: Platform, session: Any, group: Sequence[Chunk], slots: int, writer: Writer
    ) -> Iterator[ChunkResult]:
        now = dt.datetime.now(dt.timezone.utc)
        # What was live goes to the archive in the driver, which alone knows then that its successor is valid.
        if writer == "workers" and any(chunk.published for chunk in group):
            writer = "driver"
        size = max(MIN_PIECE_DATES, -(-sum(len(chunk.dates) for chunk in group) // slots))
        todo: list[_Prepared] = []
        number = 0
        for chunk in group:
            try:
                stored = load_model(platform, chunk.series, chunk.model, chunk.version, chunk.window_start)
                inputs = inference.gather(platform, stored, chunk.series, chunk.dates)
            except Exception as error:
                log.exception(
                    "%s %s %s: window %s failed", chunk.series, chunk.model, chunk.version, chunk.window_start
                )
                yield ChunkResult(chunk, [], dict.fromkeys(chunk.dates, f"{type(error).__name__}: {error}"))
                continue
            if not len(inputs.dates):
                yield ChunkResult(chunk, [], dict(inputs.failed))
                continue
            parts = split(inputs.dates, size, whole_months=writer == "workers")
            todo.append(_Prepared(chunk, stored, inputs, dict(enumerate(parts, number))))
            number += len(parts)
        if not todo:
            return
        try:
            replies = self._attempts(platform, session, todo, slots, writer, now)
        except DiskFullError as error:
            yield from (ChunkResult(p.chunk, [], dict.fromkeys(p.chunk.dates, str(error)), fatal=True) for p in todo)
            return
        except Exception as error:
            log.exception("Spark: dates %s to %s failed", todo[0].chunk.dates[0], todo[-1].chunk.dates[-1])
            reason = f"{type(error).__name__}: {_first_lines(error)}"
            yield from (ChunkResult(p.chunk, [], dict.fromkeys(p.chunk.dates, reason)) for p in todo)
            return
        for prepared in todo:
            yield self._finish(platform, prepared, replies, writer, now)

    def _attempts(
        self,
        platform: Platform,
        session: Any,
        todo: list[_Prepared],
        slots: int,
        writer: Writer,
        now: dt.datetime,
    ) -> _Replies:
        n_dates = sum(len(prepared.inputs.dates) for prepared in todo)
        if writer != "driver":
            warehouse = _delta(platform)
            warehouse.check_space(n_dates * platform.settings.n_paths * _PATH_BYTES)
            warehouse.create(DISTRIBUTIONS)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._job(platform, session, todo, slots, writer, now)
            except DiskFullError:
                raise
            except Exception:
                if attempt == ATTEMPTS:
                    raise
                log.exception("Spark: a job over %s dates was lost; tried again (%s of %s)", n_dates, attempt, ATTEMPTS)
                time.sleep(0.5 * attempt)
            except BaseException:
                _cancel(session)
                raise
        raise SparkJobError("unreachable")

    def _job(
        self,
        platform: Platform,
        session: Any,
        todo: list[_Prepared],
        slots: int,
        writer: Writer,
        now: dt.datetime,
    ) -> _Replies:
        import pyarrow as pa
        from pyspark.sql import functions as sql

        from forecast_platform.compute import spark_worker as work

        settings = platform.settings
        folder = settings.warehouse / "_spark" / uuid.uuid4().hex
        job = work.Job(
            n_paths=settings.n_paths,
            seed=settings.seed,
            generated=now,
            root=str(settings.warehouse) if writer == "workers" else None,
            min_free_gb=settings.min_free_gb,
            reports=str(folder) if writer == "spark" else None,
        )
        windows = pa.Table.from_pylist([_window_row(platform, p, now) for p in todo], schema=work.WINDOWS)
        numbers = [number for prepared in todo for number in prepared.pieces]
        names = [name for name in work.WINDOWS.names if name != "pieces"]
        # One partition before the explosion: Spark then deals the pieces out evenly, and copies the window's columns.
        pieces = session.createDataFrame(windows).coalesce(1).select(*names, sql.explode("pieces").alias("piece"))
        pieces = pieces.repartition(min(slots, len(numbers)))
        chosen = self._worker or work.forecast_piece
        if writer != "spark":
            found = pieces.mapInArrow(partial(work.stream_replies, job, chosen), work.REPLY_DDL).toArrow()
            return _collected(found, numbers)
        _sweep(folder.parent)
        folder.mkdir(parents=True)
        try:
            rows = pieces.mapInArrow(partial(work.stream_rows, job, chosen), work.ROWS_DDL)
            return _written_by_spark(platform, session, todo, rows, folder, numbers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _finish(
        self, platform: Platform, prepared: _Prepared, replies: _Replies, writer: Writer, now: dt.datetime
    ) -> ChunkResult:
        import pyarrow as pa

        chunk = prepared.chunk
        started = time.perf_counter() - sum(replies.seconds[number] for number in prepared.pieces)
        try:
            made, summary = _made(prepared, replies)
            if not made.days:
                return ChunkResult(chunk, [], made.failed)
            if writer == "driver":
                rows = pa.concat_tables([replies.rows[number] for number in prepared.pieces])
                inference.store_paths(platform, chunk, made.days, rows)
            seconds = inference.store_results(platform, chunk, prepared.stored, made, summary, now, started)
        except DiskFullError as error:
            return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, str(error)), fatal=True)
        except Exception as error:
            log.exception("%s %s: window %s failed", chunk.series, chunk.model, chunk.window_start)
            return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, f"{type(error).__name__}: {error}"))
        return ChunkResult(chunk, made.days, made.failed, len(made.days) * platform.settings.n_paths, seconds)


def groups(chunks: Sequence[Chunk], slots: int, writer: Writer) -> Iterator[list[Chunk]]:
    """Chunks of one job each: enough dates to keep every slot busy, few enough to lose little with a job."""
    most = max(MIN_GROUP_DATES, slots * 30)
    if writer == "driver":
        most = min(most, DRIVER_GROUP_DATES)
    group: list[Chunk] = []
    for chunk in chunks:
        full = sum(len(other.dates) for other in group) + len(chunk.dates) > most
        if group and (full or key_of(group[0]) != key_of(chunk)):
            yield group
            group = []
        group.append(chunk)
    if group:
        yield group


def key_of(chunk: Chunk) -> tuple[str, str, str]:
    """Series, model and version: what one write's predicate names."""
    return chunk.series, chunk.model, chunk.version


def split(dates: Dates, size: int, *, whole_months: bool) -> list[slice]:
    """Positions of consecutive dates, about `size` each: whole months where they fit, so that a file has one writer.

    With `whole_months` a month is never cut: delta-rs refuses two writers of one file partition.
    """
    months = dates.astype("datetime64[M]")
    edges = [0, *(int(edge) for edge in np.flatnonzero(months[1:] != months[:-1]) + 1), len(dates)]
    parts: list[slice] = []
    for first, last in pairwise(edges):
        if parts and last - parts[-1].start <= size:
            parts[-1] = slice(parts[-1].start, last)
            continue
        cuts = 1 if whole_months else -(-(last - first) // size)
        bounds = np.linspace(first, last, cuts + 1).astype(int)
        parts.extend(slice(int(low), int(high)) for low, high in pairwise(bounds))
    return parts


def _window_row(platform: Platform, prepared: _Prepared, now: dt.datetime) -> dict[str, Any]:
    from forecast_platform.compute.spark_worker import history_bytes
    from forecast_platform.models import registry

    chunk, stored, inputs = prepared.chunk, prepared.stored, prepared.inputs
    days = list(inputs.dates.astype(dt.date))
    newest = list(inputs.last_observed.astype(dt.date))
    flags = [publish.is_backfill(platform.settings, day, now) for day in days]
    return {
        "series": chunk.series,
        "model": chunk.model,
        "version": chunk.version,
        "window_start": chunk.window_start,
        "training_start": stored.fitted.window.start.astype(dt.date),
        "training_end": stored.fitted.window.end.astype(dt.date),
        "fitted": stored.fitted.to_json(),
        "model_id": stored.model_id,
        "algorithm_version": registry.get(chunk.model).algorithm_version,
        "history": history_bytes(inputs.history),
        "sessions": list(inputs.history.sessions.astype(dt.date)),
        "pieces": [
            {
                "number": number,
                "dates": days[part],
                "hashes": inputs.hashes[part],
                "last_observed": newest[part],
                "staleness": inputs.staleness[part],
                "is_backfill": flags[part],
            }
            for number, part in prepared.pieces.items()
        ],
    }


def _written_by_spark(
    platform: Platform, session: Any, todo: list[_Prepared], rows: Any, folder: Path, numbers: list[int]
) -> _Replies:
    """Run the job with the table as its output, in one commit; where keys are replaced, only by valid ones."""
    import pyarrow as pa

    from forecast_platform.compute.spark_worker import from_bytes

    warehouse = _delta(platform)
    target = str(warehouse.path(DISTRIBUTIONS))
    key = key_of(todo[0].chunk)
    asked = [day for prepared in todo for day in prepared.inputs.dates.astype(dt.date)]
    where = keys_of(*key, asked, by_month=True)
    # A date that turns out to be invalid keeps its stored paths, so what replaces others waits until that is known.
    replacing = warehouse.read(DISTRIBUTIONS, ["path_id"], {**where, "path_id": 0}).num_rows > 0
    if replacing:
        rows.write.format("delta").mode("overwrite").save(str(folder / "paths"))
    else:
        _replace(rows, target, DeltaWarehouse.predicate(where))
    files = sorted(folder.glob("*.arrow"))
    replies = _collected(pa.concat_tables([from_bytes(file.read_bytes()) for file in files]), numbers)
    good: list[dt.date] = []
    for prepared in todo:
        made, _ = _made(prepared, replies)
        good += made.days
        if replacing:
            live = set(prepared.chunk.published)
            publish.archive(platform, *key, [day for day in made.days if day in live])
    if not good:
        return replies
    where = keys_of(*key, good, by_month=True)
    if replacing:
        staged = session.read.format("delta").load(str(folder / "paths"))
        _replace(staged, target, DeltaWarehouse.predicate(where))
    _verify(session, target, DeltaWarehouse.predicate(where), good, platform.settings.n_paths)
    return replies


def _replace(rows: Any, target: str, predicate: str) -> None:
    """One commit that replaces the rows of the predicate. Never partitionOverwriteMode: sail replaces the table."""
    rows.write.format("delta").mode("overwrite").option("replaceWhere", predicate).save(target)


def _verify(session: Any, target: str, predicate: str, good: Sequence[dt.date], n_paths: int) -> None:
    counts = session.read.format("delta").load(target).where(predicate).groupBy("forecast_date").count().toArrow()
    found = dict(zip(counts["forecast_date"].to_pylist(), counts["count"].to_pylist(), strict=True))
    wrong = {day: found.get(day, 0) for day in good if found.get(day, 0) != n_paths}
    wrong.update({day: count for day, count in found.items() if day not in set(good)})
    if wrong:
        day, count = next(iter(wrong.items()))
        raise SparkJobError(
            f"{DISTRIBUTIONS.name}: {len(wrong)} dates do not hold {n_paths} paths after the write ({day}: {count}); "
            "another process may be writing the same keys: run it again"
        )


def _collected(found: pa.Table, numbers: list[int]) -> _Replies:
    from forecast_platform.compute.spark_worker import from_bytes

    rows = found.to_pylist()
    got = sorted(row["number"] for row in rows)
    if got != sorted(numbers):
        raise SparkJobError(f"a Spark job over {len(numbers)} pieces answered for {len(set(got))} ({len(got)} answers)")
    return _Replies(
        reports={row["number"]: from_bytes(row["report"]) for row in rows},
        seconds={row["number"]: row["seconds"] for row in rows},
        rows={row["number"]: from_bytes(row["rows"]) for row in rows if row["rows"] is not None},
    )


def _made(prepared: _Prepared, replies: _Replies) -> tuple[Forecasts, Any]:
    """What became of a chunk, by its pieces' reports: as `chunks.simulate` gives it less the paths; and statistics."""
    import pyarrow as pa

    from forecast_platform.compute.spark_worker import summary_of

    inputs = prepared.inputs
    report = pa.concat_tables([replies.reports[number] for number in prepared.pieces])
    origins, summary = summary_of(report)
    failed = dict(inputs.failed)
    errors = zip(report["forecast_date"].to_pylist(), report["error"].to_pylist(), strict=True)
    failed.update({day: reason for day, reason in errors if reason is not None})
    at = np.searchsorted(inputs.dates, origins)
    made = Forecasts(
        origins=origins,
        paths=np.empty((0, 0, HORIZON), np.float32),
        hashes=[inputs.hashes[row] for row in at],
        last_observed=list(inputs.last_observed[at].astype(dt.date)),
        staleness=[inputs.staleness[row] for row in at],
        failed=failed,
    )
    return made, summary


def _delta(platform: Platform) -> DeltaWarehouse:
    if not isinstance(platform.warehouse, DeltaWarehouse):
        raise SparkJobError("spark_writer spark and workers write to a warehouse folder; set it to driver")
    return platform.warehouse


def _sweep(folder: Path) -> None:
    """Remove what a killed driver left behind."""
    if folder.is_dir():
        for old in folder.iterdir():
            if old.stat().st_mtime < time.time() - _STALE_SECONDS:
                shutil.rmtree(old, ignore_errors=True)


def _cancel(session: Any) -> None:
    """Stop what still runs for an interrupted step."""
    if hasattr(session, "interruptAll"):
        session.interruptAll()


def _first_lines(error: Exception, most: int = 600) -> str:
    return str(error).strip()[:most]
