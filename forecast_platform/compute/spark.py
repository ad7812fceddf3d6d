"""Spark: chunks are cut into pieces of dates, made by the workers, and written to Delta a group of chunks at a time.

Fits are made by the workers too (spark_fits.py). For forecasts, the driver reads models and histories, sends each once
a window, and gets back a report of a kilobyte a date; the paths go from the workers to the table (`spark.writer`).
"""

from __future__ import annotations

import datetime as dt
import logging
import shutil
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from forecast_platform.clients.spark import session_for
from forecast_platform.clients.spark_session import (
    SparkUnavailableError,
    Writer,
    cancel,
    cores_of,
    interrupt_in,
    interruptible,
    writer_of,
)
from forecast_platform.compute.local import LocalCompute
from forecast_platform.compute.spark_delta import prepare, sweep, write_with_spark
from forecast_platform.compute.spark_pieces import (
    Prepared,
    Replies,
    SparkJobError,
    collected,
    forecasts_from_replies,
    groups,
    piece_size,
    reason_of,
    split,
    window_row,
)
from forecast_platform.warehouse.base import DiskFullError
from forecast_platform.work import forecast_chunk
from forecast_platform.work.chunks import Chunk, ChunkResult
from forecast_platform.work.fits import load_model
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from forecast_platform.compute.base import Current
    from forecast_platform.compute.spark_fits import Fitter
    from forecast_platform.compute.spark_worker import Worker
    from forecast_platform.work.fitting import Fit, FitTask
    from forecast_platform.work.tasks import TaskRequest, TaskResult

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Tries of a Spark job. A write replaces exactly its keys, so a job that was lost after it wrote may run again."""

_DAY_BYTES, _PATH_BYTES = 4, 8


class SparkCompute:
    """Fits and chunks on a Spark session: the platform's (a Dagster resource), or the one the settings describe.

    Each method raises SparkUnavailableError where there is no session.
    """

    def __init__(self, worker: Worker | None = None, fitter: Fitter | None = None) -> None:
        self._worker = worker
        self._fitter = fitter

    def fits(self, platform: Platform, tasks: Sequence[FitTask]) -> Iterator[Fit]:
        """Yield the fits, made by the workers, as they are done."""
        from forecast_platform.compute.spark_fits import spark_fits
        from forecast_platform.work.fitting import fit

        if tasks:
            slots = _session(platform)[1]
            yield from spark_fits(lambda: _live(platform), tasks, slots, ATTEMPTS, self._fitter or fit)

    def run(self, platform: Platform, chunks: Sequence[Chunk], current: Current) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result once its group is in the tables; a lost task is tried again, a lost job too."""
        from forecast_platform.compute.spark_worker import forecast_piece

        if not chunks:
            return
        if platform.model(chunks[0].model).tags.combines:
            # Its inputs are its members' paths: sent to the workers they would cost more than the combining itself.
            yield from LocalCompute(platform.settings.workers).run(platform, chunks, current)
            return
        session, slots = _session(platform)
        run = _Run(platform, session, slots, writer_of(platform.settings), self._worker or forecast_piece)
        if run.writer == "driver" and platform.settings.spark.writer == "auto":
            unity = platform.settings.tables == "unity_catalog"
            log.warning(
                "spark.writer is auto: whether the cluster shares %s is not known, so the paths come back and are "
                "written here; set %s where it does",
                platform.settings.warehouse,
                "unity.volume" if unity else "spark.writer to spark or workers",
            )
        stopped: str | None = None
        for group in groups(chunks, slots, run.writer, platform.horizon):
            if stopped is not None:
                yield from (ChunkResult(c, [], dict.fromkeys(c.dates, stopped), fatal=True) for c in group)
                continue
            for result in run.group(group):
                if result.fatal:
                    stopped = next(iter(result.failed.values()))
                yield result

    def perform(self, platform: Platform, requests: Sequence[TaskRequest]) -> Generator[TaskResult, None, None]:
        """Yield each plain task's result, made by the workers: as many at once as the session has slots."""
        from forecast_platform.compute.spark_tasks import spark_tasks

        if requests:
            slots = _session(platform)[1]
            yield from spark_tasks(lambda: _live(platform), requests, slots, ATTEMPTS)


def _live(platform: Platform) -> Any:
    """The session; another one where the last was lost."""
    return platform.spark.spark_session if platform.spark is not None else session_for(platform.settings)


def _session(platform: Platform) -> tuple[Any, int]:
    """The session, and how many tasks a job of it is cut into."""
    settings = platform.settings
    session = _live(platform)
    return session, cores_of(session, settings) * settings.spark.partitions_per_core


@dataclass
class _Run:
    """One call of `SparkCompute.run`: where, how wide, and who writes. A session that is lost is replaced."""

    platform: Platform
    session: Any
    slots: int
    writer: Writer
    worker: Worker

    def group(self, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Every chunk's result; the dates of all are made by one Spark job."""
        # What was live goes to the archive through the driver, which alone knows that its successor is valid.
        if self.writer == "workers" and any(chunk.published for chunk in chunks):
            yield from replace(self, writer="driver").group(chunks)
            return
        now = self.platform.settings.now()
        size = piece_size(chunks, self.slots)
        todo: list[Prepared] = []
        for chunk in chunks:
            try:
                stored = load_model(self.platform, chunk.series, chunk.model, chunk.version, chunk.window_start)
                inputs = forecast_chunk.read_chunk_inputs(self.platform, stored, chunk.series, chunk.dates)
            except Exception as error:
                log.exception("%s %s: window %s failed", chunk.series, chunk.model, chunk.window_start)
                yield _failed(chunk, error)
                continue
            if not len(inputs.dates):
                yield ChunkResult(chunk, [], dict(inputs.failed))
                continue
            parts = split(inputs.dates, size, whole_months=self.writer == "workers")
            first = sum(len(prepared.pieces) for prepared in todo)
            todo.append(Prepared(chunk, stored, inputs, dict(enumerate(parts, first))))
        if not todo:
            return
        try:
            replies = self._attempts(todo, now)
        except Exception as error:
            log.exception("Spark: dates %s to %s failed", todo[0].chunk.dates[0], todo[-1].chunk.dates[-1])
            yield from (_failed(prepared.chunk, error) for prepared in todo)
            return
        for prepared in todo:
            yield self._finish(prepared, replies, now)

    def _attempts(self, todo: list[Prepared], now: dt.datetime) -> Replies:
        n_dates = sum(len(prepared.inputs.dates) for prepared in todo)
        if self.writer != "driver":
            path_bytes = _DAY_BYTES * self.platform.horizon + _PATH_BYTES
            prepare(self.platform, n_dates * self.platform.settings.n_paths * path_bytes)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with interruptible(self.session):
                    return self._job(todo, now)
            except DiskFullError:
                raise
            except Exception as error:
                interrupt = interrupt_in(error)
                if interrupt is not None:
                    raise interrupt from None
                if attempt == ATTEMPTS:
                    raise
                log.exception("Spark: a job over %s dates was lost; tried again (%s of %s)", n_dates, attempt, ATTEMPTS)
                time.sleep(0.5 * attempt)
                # The session may be what was lost; the groups after this one begin with the new one.
                self.session = _live(self.platform)
            except BaseException:
                cancel(self.session)
                raise
        raise SparkJobError("unreachable")

    def _job(self, todo: list[Prepared], now: dt.datetime) -> Replies:
        import pyarrow as pa
        from pyspark.sql import functions as sql

        from forecast_platform.compute import spark_worker as work

        settings = self.platform.settings
        folder = settings.warehouse / "_spark" / uuid.uuid4().hex
        job = work.SparkJob(
            horizon=self.platform.horizon,
            n_paths=settings.n_paths,
            seed=settings.seed,
            generated=now,
            root=str(settings.warehouse) if self.writer == "workers" else None,
            min_free_gb=settings.min_free_gb,
            reports=str(folder) if self.writer == "spark" else None,
        )
        windows = pa.Table.from_pylist([window_row(self.platform, prepared, now) for prepared in todo], work.WINDOWS)
        numbers = [number for prepared in todo for number in prepared.pieces]
        names = [name for name in work.WINDOWS.names if name != "pieces"]
        # One partition before the explosion: Spark then deals the pieces out evenly, and copies the window's columns.
        frame = self.session.createDataFrame(windows).coalesce(1)
        frame = frame.select(*names, sql.explode("pieces").alias("piece"))
        frame = frame.repartition(min(self.slots, len(numbers)))
        if self.writer != "spark":
            found = frame.mapInArrow(partial(work.stream_replies, job, self.worker), work.REPLY_DDL).toArrow()
            return collected(found, numbers)
        sweep(folder.parent)
        folder.mkdir(parents=True)
        try:
            rows = frame.mapInArrow(partial(work.stream_rows, job, self.worker), work.rows_ddl(self.platform.horizon))
            return write_with_spark(self.platform, self.session, todo, rows, folder, numbers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, prepared: Prepared, replies: Replies, now: dt.datetime) -> ChunkResult:
        import pyarrow as pa

        chunk = prepared.chunk
        started = time.perf_counter()
        try:
            made, summary = forecasts_from_replies(prepared, replies)
            if not made.days:
                return ChunkResult(chunk, [], made.failed)
            if self.writer == "driver":
                rows = pa.concat_tables([replies.rows[number] for number in prepared.pieces])
                forecast_chunk.store_paths(self.platform, [(chunk, made.days, rows)])
            worked = sum(replies.seconds[number] for number in prepared.pieces)
            done = forecast_chunk.Made(chunk, prepared.stored, made, now, worked + time.perf_counter() - started)
            forecast_chunk.store_results(self.platform, [(done, summary)])
        except Exception as error:
            log.exception("%s %s: window %s failed", chunk.series, chunk.model, chunk.window_start)
            return _failed(chunk, error)
        return ChunkResult(chunk, made.days, made.failed, len(made.days) * self.platform.settings.n_paths, done.seconds)


def _failed(chunk: Chunk, error: Exception) -> ChunkResult:
    """A chunk none of whose dates were made. One chunk's failure must not keep the others from being written."""
    if isinstance(error, DiskFullError | SparkUnavailableError):
        return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, str(error)), fatal=True)
    return ChunkResult(chunk, [], dict.fromkeys(chunk.dates, reason_of(error)))
