"""Training jobs in Dagster's terms: the partition set, the tags, and what a run's state means for its job.

Used by the sensor, by the API and by whoever cancels: each may look at any time, and comes to the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagster import AssetKey, DagsterInstance, DagsterRun, DynamicPartitionsDefinition, RunsFilter

from forecast_platform.graph import requested_runs
from forecast_platform.graph.requested_runs import KIND, KIND_TAG, USER_TAG
from forecast_platform.training_jobs.results import RESULTS
from forecast_platform.training_jobs.store import Job, JobStore

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTITIONS = "training_jobs"
JOB = "train_on_request"
JOB_TAG = "forecast_platform/training_job"
ATTEMPT_TAG = "forecast_platform/training_attempt"
INPUT, MODEL, FORECAST, LEADERBOARD = (
    AssetKey(["training_jobs", name]) for name in ("input", "model", "forecast", "leaderboard")
)

partitions = DynamicPartitionsDefinition(name=PARTITIONS)
"""One key a job: its id."""

_PRIORITY_TAG = "dagster/priority"


def tags_of(job: Job) -> dict[str, str]:
    """The tags of a job's run: what the queue's limits and its order go by."""
    return {
        **_attempt_tags(job),
        USER_TAG: job.user_id,
        KIND_TAG: KIND,
        _PRIORITY_TAG: str(job.priority),
    }


def newest_run(instance: DagsterInstance, job: Job) -> DagsterRun | None:
    """The newest run of the job's last attempt; None before there is one."""
    return requested_runs.newest_run(instance, _attempt_tags(job))


def settle(instance: DagsterInstance, store: JobStore, job: Job) -> Job:
    """The job, brought in line with its run."""
    return requested_runs.settle(
        instance, store, job, _attempt_tags(job), succeeded=lambda run: _conclude(store, job, run)
    )


def _attempt_tags(job: Job) -> dict[str, str]:
    return {JOB_TAG: job.job_id, ATTEMPT_TAG: str(job.attempt)}


def _conclude(store: JobStore, job: Job, run: DagsterRun) -> None:
    """A run that succeeded kept its results before it said so; where it died in between, they are told now."""
    file = store.job_folder(job.job_id) / RESULTS
    if file.is_file():
        summary = summary_of(json.loads(file.read_text(encoding="utf-8")))
        if store.concluded(job, run.run_id, summary):
            return
    # Of one that is to be cancelled a failure is its cancel; one that has ended is left as it is.
    store.fail(job.job_id, "the run ended without results; see its log in the Dagster UI", attempt=job.attempt)


def summary_of(results: dict[str, object]) -> dict[str, object]:
    """What a job's own answer holds of its results: not the forecast, which may have many rows."""
    return {name: value for name, value in results.items() if name not in ("forecast", "leaderboard")}


def forget_runs(instance: DagsterInstance, job_ids: Sequence[str]) -> None:
    """Remove the jobs' partitions, and their runs with all that those logged."""
    for job_id in job_ids:
        for run in instance.get_runs(RunsFilter(tags={JOB_TAG: job_id})):
            if run.is_finished:
                instance.delete_run(run.run_id)
        if instance.has_dynamic_partition(PARTITIONS, job_id):
            instance.delete_dynamic_partition(PARTITIONS, job_id)
