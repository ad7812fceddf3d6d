"""Training on Spark: a fit is a row (window, history, seed), made by a worker with the function that fits locally."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from forecast_platform.compute.spark_jobs import Jobs
from forecast_platform.compute.spark_pieces import SparkJobError
from forecast_platform.compute.spark_worker import CALENDAR, calendar_of, history_bytes, history_of
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.saved import from_bytes, to_bytes
from forecast_platform.models.tags import ModelSpec
from forecast_platform.work.fitting import Fit, FitTask, fit

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
        ("calendar", CALENDAR),
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
    size = 1 if tasks[0].instance.tags.slow_fit else slots
    jobs = Jobs[FitTask, Fit](
        do=lambda live, job: _job(live, job, fitter),
        lost=lambda job, reason: [Fit(task, error=reason) for task in job],
        about=lambda job: f"fits of {job[0].model} {', '.join(str(task.window_start) for task in job)}",
        attempts=attempts,
    )
    yield from jobs.run(session, [tasks[first : first + size] for first in range(0, len(tasks), size)], slots)


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
        "calendar": calendar_of(task.history),
        "seed": task.seed,
    }


def _task_of(row: Mapping[str, Any]) -> FitTask:
    window = TrainingWindow(np.datetime64(row["training_start"], "D"), np.datetime64(row["training_end"], "D"))
    history = history_of(row["series"], row["history"], row["calendar"])
    spec = ModelSpec.from_json(row["spec"])
    return FitTask(row["series"], row["model"], row["window_start"], window, history, row["seed"], spec)


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
