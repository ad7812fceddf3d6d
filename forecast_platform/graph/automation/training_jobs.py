"""The sensor of training jobs: asks for the runs of admitted jobs, settles those whose runs ended, prunes old ones.

A job is asked for under its id as run key, so that a daemon that dies anywhere in a tick makes one run of it all the
same; Dagster's own launch has no such key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from forecast_platform.graph.requested_runs import NO_RECORD, is_lost
from forecast_platform.graph.training_jobs import PARTITIONS, forget_runs, newest_run, settle, tags_of
from forecast_platform.host.memory import lean_allocators
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.keeping import AT_ONCE, prune
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.warehouse.base import WarehouseError

NAME = "training_jobs"
_LINGER_SECONDS = 4.0
"""How long a look waits for a job where there is none, while somebody uses the service. The daemon looks every 5 s at
the most, whatever interval a sensor asks for: a job that is submitted in between would wait for half of that at the
median."""
_USED_SECONDS = 600.0
"""Since the last request of anybody: from then on no look waits, and the daemon's thread is the other sensors'."""
_LOOK_SECONDS = 0.1
_PRUNE_EVERY = dt.timedelta(minutes=10)


def training_job_sensor(settings: Settings, job: Any) -> SensorDefinition:
    """Looks as often as the daemon lets it, and is there in between; on from the start wherever jobs are taken."""
    store = JobStore(settings)

    @sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=1,
        default_status=DefaultSensorStatus.RUNNING if settings.training_jobs.enabled else DefaultSensorStatus.STOPPED,
        description="Runs the training jobs that the API has admitted, each once; keeps their state and prunes them.",
    )
    def training_jobs(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        if not store.exists:
            return SkipReason("nobody has asked for a training job yet")
        cursor = context.cursor
        if cursor is not None and store.used_within(_USED_SECONDS):  # the first look of a daemon is at once
            store.wait_for_one(_LINGER_SECONDS, _LOOK_SECONDS)
        now = settings.now()
        if cursor is None or abs(now - dt.datetime.fromisoformat(cursor)) > _PRUNE_EVERY:
            before, cursor = cursor, now.isoformat()
            if settings.training_jobs.delegation:
                from forecast_platform.training_jobs.remote_run import RemoteRuns

                RemoteRuns(settings).sweep(context.log.warning)
            if len(prune(store, lambda jobs: _forget(context, settings, jobs))) == AT_ONCE:
                cursor = before  # the next look goes on with it
            _forget_rows(context, settings, store)
        wanted = []
        for one in store.outbox():
            current = settle(context.instance, store, one)
            if current.status == "submitting" and newest_run(context.instance, current) is None:
                if store.requested(current):
                    wanted.append(current)
            elif (
                current.status in ("running", "cancelling")
                and is_lost(current, now)
                and newest_run(context.instance, current) is None
            ):
                store.ended(current, "failed", None, NO_RECORD)
        if not wanted:
            return SensorResult(skip_reason="no job waits to be run", cursor=cursor)
        # Here, where adding twice is adding once, rather than with the answer: a run of an unknown key only fails.
        context.instance.add_dynamic_partitions(PARTITIONS, [one.job_id for one in wanted])
        runs = [RunRequest(run_key=one.run_key, partition_key=one.job_id, tags=tags_of(one)) for one in wanted]
        return SensorResult(run_requests=runs, cursor=cursor)

    return training_jobs


def _forget_rows(context: SensorEvaluationContext, settings: Settings, store: JobStore) -> None:
    """Remove the rows of jobs that are gone. In Unity Catalog that needs a session, which takes longer than a tick may:
    there the next job's run does it, or maintenance."""
    if settings.tables != "folder" or not store.forgotten():
        return
    from forecast_platform.training_jobs.tables import remove_forgotten
    from forecast_platform.work.platform import Platform

    lean_allocators()
    try:
        remove_forgotten(Platform.from_settings(settings).warehouse, store)
    except WarehouseError as error:
        context.log.warning(f"rows of jobs that are gone are still in the tables, which is tried again: {error}")


def _forget(context: SensorEvaluationContext, settings: Settings, jobs: Sequence[Job]) -> None:
    """Remove what Dagster and MLflow have of jobs that are to be pruned."""
    forget_runs(context.instance, [job.job_id for job in jobs])
    # Also of those that failed or were cancelled: they may have been logged before that.
    begun = [job.job_id for job in jobs if job.attempt]
    if not begun:
        return
    from forecast_platform.training_jobs.tracking import JobTracker

    tracker = JobTracker(settings)
    for job_id in begun:
        try:
            tracker.forget(job_id)
        except Exception as error:  # noqa: BLE001 - whatever MLflow raises; its records outlive the job's
            context.log.warning(f"MLflow keeps the runs of job {job_id}: {error}")
