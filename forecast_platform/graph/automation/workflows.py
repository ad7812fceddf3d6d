"""The sensor of submitted workflows: asks for the run of each that was admitted, and settles those whose runs ended.

It stands in the code location of the workflows. One that was submitted after that location was loaded waits until it is
loaded anew, so that what runs is what was submitted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
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

from forecast_platform.ensembles.submissions import Submissions
from forecast_platform.graph.assets.ensembles import job_name_of
from forecast_platform.graph.requested_runs import NO_RECORD, is_lost
from forecast_platform.graph.workflow_runs import newest_run, settle, tags_of
from forecast_platform.settings import Settings

NAME = "workflows"
_PRUNE_EVERY = dt.timedelta(minutes=10)


def workflow_sensor(
    settings: Settings, jobs: Sequence[Any], loaded: Mapping[str, str], kept: Callable[[], Mapping[str, str]]
) -> SensorDefinition:
    """Looks once a second; on from the start wherever jobs are taken.

    jobs: of the workflows that are loaded. loaded, kept: the hash of each workflow's file by its slug, as it was
    loaded, and as it is now.
    """
    store = Submissions(settings)

    @sensor(
        name=NAME,
        jobs=list(jobs),
        minimum_interval_seconds=1,
        default_status=DefaultSensorStatus.RUNNING if settings.training_jobs.enabled else DefaultSensorStatus.STOPPED,
        description="Runs the workflows that the API has admitted, each once, and keeps their state.",
    )
    def workflows(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        if not store.exists:
            return SkipReason("nobody has submitted a workflow yet")
        now, wanted = settings.now(), []
        cursor = context.cursor
        if cursor is None or abs(now - dt.datetime.fromisoformat(cursor)) > _PRUNE_EVERY:
            cursor = now.isoformat()
            age = dt.timedelta(hours=settings.training_jobs.keep_drafts_hours)
            store.drop_drafts((now.astimezone(dt.timezone.utc) - age).isoformat(timespec="milliseconds"))
        files = kept()
        for one in store.outbox():
            current = settle(context.instance, store, one)
            if current.status == "submitting" and newest_run(context.instance, current) is None:
                here = loaded.get(current.slug)
                if here is not None and here == files.get(current.slug) and store.requested(current):
                    wanted.append(current)
            elif (
                current.status in ("running", "cancelling")
                and is_lost(current, now)
                and newest_run(context.instance, current) is None
            ):
                store.ended(current, "failed", None, NO_RECORD)
        if not wanted:
            return SensorResult(skip_reason="no workflow waits to be run", cursor=cursor)
        runs = [RunRequest(run_key=one.run_key, job_name=job_name_of(one.slug), tags=tags_of(one)) for one in wanted]
        return SensorResult(run_requests=runs, cursor=cursor)

    return workflows
