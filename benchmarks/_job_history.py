"""The part `history` of benchmarks/jobs.py: what a hundred and ten thousand old jobs make of everything that is asked.

Each size is a platform of its own in a process of its own, both in one run. One job is trained; the others are its
copies: rows of the store, folders, partitions, runs and materializations in Dagster, experiments in MLflow, and rows of
the tables as maintenance leaves them, over 29 days and 30 users.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

SIZES = (100, 10_000)
PRUNED = 25
"""Jobs that are beyond `keep_days`, which one look of the sensor prunes."""
_DAYS = 29
_STATUSES = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionStats { numMaterialized numFailed numPartitions }
  partitionKeyConnection(limit: 50, ascending: false) { results }
  assetMaterializations(limit: 1) { partition }
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } } } } }"""
_RUNS = "{ runsOrError(limit: 25) { ... on Runs { results { runId status tags { key value } } } } }"


def history() -> None:
    """Print the figures of each size, side by side."""
    found: list[dict[str, tuple[float, float]]] = []
    for n_jobs in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks._job_history", str(n_jobs), folder], check=True,
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 2]
        found.append({name: (float(wall), float(processor)) for name, wall, processor in rows})
    print(f"milliseconds of wall time and of processor; load {os.getloadavg()[0]:.1f}")
    print(f"{'':<56}" + "".join(f"{n_jobs:>12,} old jobs" for n_jobs in SIZES))
    for name in found[0]:
        cells = "".join(f"{one[name][0]:11.1f} {one[name][1]:8.1f} " for one in found)
        print(f"{name:<56}{cells}", flush=True)


def main(n_jobs: int, root: Path) -> None:
    """Make the platform of one size, and ask it."""
    os.environ["DAGSTER_HOME"] = str(root / "home")
    from forecast_platform_tests.api.desk import Desk
    from forecast_platform_tests.training_jobs.tables import asked, weekly

    desk = Desk.over(root, training_jobs={"drafts_a_user": 1000, "jobs_a_user": 1000, "jobs_in_all": 1000})
    desk.beat()
    first = desk.create(asked(weekly(2, 60)))
    assert desk.ask("POST", f"/jobs/{first}/submit")[0] == 200
    [request] = desk.tick()
    assert desk.run(request), "the first job failed"
    began = time.process_time()
    _grow(desk, first, n_jobs)
    print(f"{n_jobs} jobs made in {time.process_time() - began:.0f} s of processor", file=sys.stderr, flush=True)

    def each(what: str, work: Callable[[int], Any], times: int) -> None:
        work(-1)  # what is opened once
        wall, processor = [], []
        for k in range(times):
            walls, processors = time.perf_counter(), time.process_time()
            work(k)
            wall.append(1000 * (time.perf_counter() - walls))
            processor.append(1000 * (time.process_time() - processors))
        print(f"{what}\t{statistics.median(wall)}\t{statistics.median(processor)}", flush=True)

    user = desk.jobs.store.get(first).user_id
    drafts = [desk.create(asked(weekly(2, 60))) for _ in range(22)]
    each("create a job (over HTTP, in this process)", lambda k: desk.create(asked(weekly(2, 60))), 20)
    each("submit", lambda k: desk.ask("POST", f"/jobs/{drafts[k]}/submit"), 20)
    each("status of one that waits", lambda k: desk.ask("GET", f"/jobs/{drafts[0]}"), 20)
    each("status of an old one", lambda k: desk.ask("GET", f"/jobs/{first}"), 20)
    each("results of an old one", lambda k: desk.ask("GET", f"/jobs/{first}/results"), 20)
    each("list of 100 of the user's", lambda k: desk.ask("GET", "/jobs?limit=100"), 20)
    each("cancel of one that waits", lambda k: desk.ask("POST", f"/jobs/{drafts[k]}/cancel"), 20)
    each("sensor's tick with nothing to do (and its pruning)", lambda k: _fresh(desk).tick(), 5)
    _age(desk)
    known = desk.jobs.store.ids()
    began, processor = time.perf_counter(), time.process_time()
    _fresh(desk).tick()
    spent = time.perf_counter() - began, time.process_time() - processor
    assert len(desk.jobs.store.ids() - known) == 0
    assert len(known - desk.jobs.store.ids()) == PRUNED
    assert desk.jobs.store.forgotten() == [], "rows of pruned jobs are left"
    print(f"sensor's tick that prunes {PRUNED}\t{1000 * spent[0]}\t{1000 * spent[1]}", flush=True)
    _tables(desk, user, each)
    _pages(root, n_jobs, each)


def _fresh(desk: Any) -> Any:
    """The desk as a daemon that looks first: nobody has asked lately, and it is time to prune."""
    os.utime(desk.jobs.store.path.with_name("jobs.used"), (0, 0))
    return desk


def _grow(desk: Any, first: str, n_jobs: int) -> None:
    """n_jobs ended jobs, as copies of the first, in all that keeps something of a job."""
    store = desk.jobs.store
    job = store.get(first)
    now = dt.datetime.now(dt.timezone.utc)
    times = [now - dt.timedelta(days=_DAYS * (k + 1) / (n_jobs + 1)) for k in range(n_jobs)]
    jobs = [
        replace(
            job,
            job_id=str(uuid.UUID(int=k + 1, version=4)),
            user_id=job.user_id if k % 30 == 0 else f"user{k % 30}",
            created_at=(one := at.isoformat(timespec="milliseconds")),
            submitted_at=one,
            requested_at=one,
            completed_at=one,
            run_id=str(uuid.UUID(int=k + 1, version=4)),
        )
        for k, at in enumerate(times)
    ]
    with store._file.open(write=True) as connection:
        marks = ", ".join("?" * len(vars(job)))
        connection.executemany(
            f"INSERT INTO jobs ({', '.join(vars(job))}) VALUES ({marks})",
            [tuple(vars(one).values()) for one in jobs],
        )
    for one in jobs:
        shutil.copytree(store.job_folder(first), store.job_folder(one.job_id), copy_function=os.link)
    _grow_dagster(desk.instance, jobs)
    _grow_tables(desk, job, jobs)
    _grow_mlflow(desk, jobs)


def _grow_dagster(instance: Any, jobs: list[Any]) -> None:
    """A run that succeeded, a partition, and four materializations, of each job."""
    from dagster import (
        AssetMaterialization,
        DagsterEvent,
        DagsterEventType,
        DagsterRun,
        DagsterRunStatus,
        EventLogEntry,
    )
    from dagster._core.events import StepMaterializationData

    from forecast_platform.graph.training_jobs import FORECAST, INPUT, JOB, LEADERBOARD, MODEL, PARTITIONS, tags_of

    def made(job: Any, key: Any) -> EventLogEntry:
        data = StepMaterializationData(AssetMaterialization(key, partition=job.job_id))
        event = DagsterEvent(DagsterEventType.ASSET_MATERIALIZATION.value, JOB, event_specific_data=data)
        at = dt.datetime.fromisoformat(job.completed_at).timestamp()
        return EventLogEntry(
            error_info=None, level=20, user_message="", run_id=job.run_id, timestamp=at, dagster_event=event
        )

    for start in range(0, len(jobs), 500):
        some = jobs[start : start + 500]
        instance.add_dynamic_partitions(PARTITIONS, [job.job_id for job in some])
        for job in some:
            tags = {**tags_of(job), "dagster/partition": job.job_id}
            instance.add_run(DagsterRun(JOB, run_id=job.run_id, status=DagsterRunStatus.SUCCESS, tags=tags))
        events = [made(job, key) for job in some for key in (INPUT, MODEL, FORECAST, LEADERBOARD)]
        instance.event_log_storage.store_event_batch(events)


def _grow_tables(desk: Any, job: Any, jobs: list[Any]) -> None:
    """The rows of each job, a file a day."""
    import pyarrow as pa

    from forecast_platform.training_jobs.tables import TABLES

    warehouse = _warehouse(desk)
    days = sorted({one.day for one in jobs})
    for table in TABLES:
        rows = warehouse.read(table, None, {"job_day": job.day, "job_id": job.job_id})
        if not isinstance(rows, pa.Table):
            rows = pa.table(rows)
        for day in days:
            mine = [one for one in jobs if one.day == day]
            parts = [
                _with(rows, {"job_day": one.day, "job_id": one.job_id, "user_id": one.user_id}).cast(rows.schema)
                for one in mine
            ]
            if day == job.day:
                parts.append(rows)
            warehouse.replace(table, pa.concat_tables(parts), {"job_day": day})


def _with(rows: Any, values: dict[str, str]) -> Any:
    import pyarrow as pa

    for name, value in values.items():
        column = pa.array([value] * rows.num_rows, rows.schema.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows


def _grow_mlflow(desk: Any, jobs: list[Any]) -> None:
    """An experiment a job, and its run."""
    from forecast_platform.training_jobs.tracking import JobTracker

    tracker = JobTracker(desk.settings)
    client, _ = tracker.client_for(jobs[0].job_id)
    for job in jobs[1:]:
        client.create_experiment(tracker.experiment_of(job.job_id))


def _warehouse(desk: Any) -> Any:
    from forecast_platform.warehouse.delta import DeltaWarehouse

    return DeltaWarehouse(desk.settings.warehouse)


def _age(desk: Any) -> None:
    """Let some jobs have ended before what is kept."""
    old = (dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=31)).isoformat(timespec="milliseconds")
    with desk.jobs.store._file.open(write=True) as connection:
        connection.execute(
            "UPDATE jobs SET completed_at = ? WHERE job_id IN "
            "(SELECT job_id FROM jobs WHERE status = 'completed' ORDER BY created_at LIMIT ?)",
            (old, PRUNED),
        )


def _tables(desk: Any, user: str, each: Callable[..., None]) -> None:
    """What a reader of the tables waits for."""
    from forecast_platform.training_jobs.tables import TABLES

    forecasts, leaderboards = TABLES
    job = desk.jobs.listed(user, "completed", 1)[0][0]
    names = ["job_id", "rank", "model", "mase"]
    each("a user's leaderboards", lambda k: _warehouse(desk).read(leaderboards, names, {"user_id": user}), 5)
    where = {"job_day": job.day, "job_id": job.job_id}
    each("a job's forecast", lambda k: _warehouse(desk).read(forecasts, None, where), 5)


def _pages(root: Path, n_jobs: int, each: Callable[..., None]) -> None:
    """What Dagster's UI asks its webserver for; processor time is that of `up` and all that it started."""
    from benchmarks._job_service import processor_of
    from forecast_platform_tests.api.service import environment
    from forecast_platform_tests.ui.running import Running

    running = Running.start(root, environment(root))
    try:
        key = {"path": ["training_jobs", "leaderboard"]}
        found = running.ask(_STATUSES, key=key)
        made = len(found["assetPartitionStatuses"]["materializedPartitions"])
        assert n_jobs - PRUNED <= made <= n_jobs + 1, (made, n_jobs)
        before = processor_of(running)
        each("UI: the page of training_jobs/leaderboard", lambda k: running.ask(_STATUSES, key=key), 9)
        each("UI: the list of runs", lambda k: running.ask(_RUNS), 9)
        print(f"processor of `up` meanwhile: {processor_of(running) - before:.1f} s", file=sys.stderr, flush=True)
    finally:
        running.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
