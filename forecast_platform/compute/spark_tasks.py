"""Plain tasks on Spark: a task is a row of JSON, done by a worker with the function that does it anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from forecast_platform.compute.spark_jobs import Jobs
from forecast_platform.compute.spark_pieces import SparkJobError
from forecast_platform.work.tasks import Reply, TaskRequest, TaskResult, perform, target_of

TASKS = pa.schema([("number", pa.int32()), ("request", pa.string()), ("target", pa.string())])
"""What the driver sends: a task a row, and where its kind's function is: a worker has not registered what the driver
has."""

ANSWERS_DDL = "number int, reply string"
"""What comes back: a row a task; `reply` is JSON."""


def spark_tasks(
    session: Callable[[], Any], requests: Sequence[TaskRequest], slots: int, attempts: int
) -> Iterator[TaskResult]:
    """Yield the tasks' results as they are done: a job a task, at most `slots` at once. Spark tries a lost task again;
    a job that is lost is sent again, `attempts` times in all, then its keys fail. Raises SparkUnavailableError."""
    jobs = Jobs[TaskRequest, TaskResult](
        do=_job,
        lost=lambda job, reason: [TaskResult(one, failed=dict.fromkeys(one.keys, reason)) for one in job],
        about=lambda job: ", ".join(one.about for one in job),
        attempts=attempts,
    )
    yield from jobs.run(session, [[one] for one in requests], slots)


def perform_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: one row out for each row in."""
    for batch in batches:
        for row in batch.to_pylist():
            request = TaskRequest.from_dict(json.loads(row["request"]))
            done = perform(request, row["target"])
            reply = json.dumps(Reply(done.failed, done.notes, done.seconds, done.value).to_dict())
            answer = {"number": pa.array([row["number"]], pa.int32()), "reply": pa.array([reply], pa.string())}
            yield pa.RecordBatch.from_pydict(answer)


def _job(session: Any, requests: Sequence[TaskRequest]) -> list[TaskResult]:
    rows = [
        {"number": number, "request": json.dumps(one.to_dict()), "target": target_of(one.kind)}
        for number, one in enumerate(requests)
    ]
    frame = session.createDataFrame(pa.Table.from_pylist(rows, TASKS))
    found = {row["number"]: row["reply"] for row in frame.mapInArrow(perform_rows, ANSWERS_DDL).toArrow().to_pylist()}
    if sorted(found) != list(range(len(requests))):
        raise SparkJobError(f"a Spark job over {len(requests)} tasks answered for {len(found)}")
    results = []
    for number, request in enumerate(requests):
        reply = Reply.from_dict(json.loads(found[number]))
        written = set(request.keys) - reply.failed.keys()
        results.append(TaskResult(request, written, reply.failed, reply.value, reply.seconds, reply.notes))
    return results
