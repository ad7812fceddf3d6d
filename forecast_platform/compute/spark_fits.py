"""Training on Spark: a fit is a row (window, history, seed), made by a worker with the function that fits locally."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from forecast_platform.clients.spark_session import SparkUnavailableError, cancel
from forecast_platform.compute.spark_pieces import SparkJobError, reason_of
from forecast_platform.compute.spark_worker import history_bytes, history_of
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.saved import from_bytes, to_bytes
from forecast_platform.models.tags import ModelSpec
from forecast_platform.work.fits import Fit, FitTask, fit

log = logging.getLogger(__name__)

TASKS = pa.schema(
    [
        ("number", pa.int32()),
        ("series", pa.string()),
        ("model", pa.string()),
        ("spec", pa.string()),
        ("window_start", pa.date32()),
        ("training_start", pa.date32()),
        ("training_end", pa.date32()),
        ("history", pa.binary()),
        ("sessions", pa.list_(pa.date32())),
        ("seed", pa.int64()),
    ]
)
"""What the driver sends: a fit a row."""

FITS_DDL = "number int, fitted string, files binary, samples int, metrics string, seconds double, error string"
"""What comes back: a row a fit; `metrics` is JSON."""

Fitter = Callable[[FitTask], Fit]

_one_at_a_time = threading.Lock()


def spark_fits(
    session: Callable[[], Any], tasks: Sequence[FitTask], slots: int, attempts: int, fitter: Fitter = fit
) -> Iterator[Fit]:
    """Yield the fits of one series and model as they are done. A slow one is a job of its own, quick ones share jobs.

    Spark tries a lost task again; a job that is lost is sent again, `attempts` times in all, then its fits fail. Each
    try asks for the session, which may be what was lost. Raises SparkUnavailableError where none can be had.
    """
    if not tasks:
        return
    stopped = threading.Event()
    latest = _Latest(session, stopped)
    size = 1 if tasks[0].instance.tags.slow_fit else slots
    jobs = [tasks[first : first + size] for first in range(0, len(tasks), size)]
    # Each job is waited for by a thread; the session takes them side by side, and the cluster's slots are filled.
    with ThreadPoolExecutor(min(slots, len(jobs)), thread_name_prefix="fits") as pool:
        waiting = [pool.submit(_attempts, latest, job, attempts, fitter, stopped) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield from future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if latest.session is not None:
                cancel(latest.session)
            raise


class _Latest:
    """Asks for the session, one thread at a time, and keeps it: to cancel what it does, it must not be asked anew."""

    def __init__(self, ask: Callable[[], Any], stopped: threading.Event) -> None:
        self._ask, self._stopped = ask, stopped
        self._lock = threading.Lock()
        self.session: Any = None

    def __call__(self) -> Any:
        """The session. Raises SparkJobError where the work was stopped, also while a session was waited for."""
        with self._lock:
            session = None if self._stopped.is_set() else self._ask()
            if self._stopped.is_set():
                raise SparkJobError("the fits were stopped")
            self.session = session
            return session


def fit_rows(fitter: Fitter, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: one row out for each row in."""
    for batch in batches:
        for row in batch.to_pylist():
            # Fits limit BLAS to one thread for the whole process, where sail's workers are threads of one.
            with _one_at_a_time:
                done = fitter(_task_of(row))
            reply = {
                "number": pa.array([row["number"]], pa.int32()),
                "fitted": pa.array([done.text], pa.string()),
                "files": pa.array([to_bytes(done.files)], pa.binary()),
                "samples": pa.array([done.samples], pa.int32()),
                "metrics": pa.array([json.dumps(done.metrics)], pa.string()),
                "seconds": pa.array([done.seconds], pa.float64()),
                "error": pa.array([done.error], pa.string()),
            }
            yield pa.RecordBatch.from_pydict(reply)


def task_row(number: int, task: FitTask) -> dict[str, Any]:
    """A task as a row of `TASKS`."""
    return {
        "number": number,
        "series": task.series,
        "model": task.model,
        "spec": task.wanted.to_json(),
        "window_start": task.window_start,
        "training_start": task.window.start.astype(dt.date),
        "training_end": task.window.end.astype(dt.date),
        "history": history_bytes(task.history),
        "sessions": list(task.history.sessions.astype(dt.date)),
        "seed": task.seed,
    }


def _task_of(row: Mapping[str, Any]) -> FitTask:
    window = TrainingWindow(np.datetime64(row["training_start"], "D"), np.datetime64(row["training_end"], "D"))
    history = history_of(row["series"], row["history"], row["sessions"])
    spec = ModelSpec.from_json(row["spec"])
    return FitTask(row["series"], row["model"], row["window_start"], window, history, row["seed"], spec)


def _attempts(
    session: Callable[[], Any], tasks: Sequence[FitTask], attempts: int, fitter: Fitter, stopped: threading.Event
) -> list[Fit]:
    starts = ", ".join(str(task.window_start) for task in tasks)
    for attempt in range(1, attempts + 1):
        try:
            return _job(session(), tasks, fitter)
        except SparkUnavailableError:
            raise
        except Exception as error:
            # The cancelled job's error may be here before the interrupt that cancelled it.
            if stopped.wait(0.5 * attempt):
                raise
            log.exception("Spark: fits of %s %s were lost (%s of %s tries)", tasks[0].model, starts, attempt, attempts)
            reason = reason_of(error)
    return [Fit(task, error=reason) for task in tasks]


def _job(session: Any, tasks: Sequence[FitTask], fitter: Fitter) -> list[Fit]:
    rows = pa.Table.from_pylist([task_row(number, task) for number, task in enumerate(tasks)], TASKS)
    # From one partition Spark deals the rows out one by one: a fit a task.
    frame = session.createDataFrame(rows).coalesce(1).repartition(len(tasks))
    found = {row["number"]: row for row in frame.mapInArrow(partial(fit_rows, fitter), FITS_DDL).toArrow().to_pylist()}
    if sorted(found) != list(range(len(tasks))):
        raise SparkJobError(f"a Spark job over {len(tasks)} fits answered for {len(found)}")
    return [
        Fit(
            task,
            row["fitted"],
            row["samples"],
            json.loads(row["metrics"]),
            row["seconds"],
            row["error"],
            from_bytes(row["files"]),
        )
        for task, row in zip(tasks, (found[number] for number in range(len(tasks))), strict=True)
    ]
