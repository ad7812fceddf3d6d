"""Submitted workflows in Dagster's terms: the tags of their runs, what a run's state means, and how far each task is.

Whoever looks comes to the same.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.running import MODEL
from forecast_platform.ensembles.submissions import Submission, Submissions
from forecast_platform.graph import requested_runs
from forecast_platform.graph.requested_runs import KIND, KIND_TAG, USER_TAG
from forecast_platform.host import process_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster._core.execution.stats import RunStepKeyStatsSnapshot

WORKFLOW_TAG = "forecast_platform/workflow"
ATTEMPT_TAG = "forecast_platform/workflow_attempt"
PROCESS_TAG = "forecast_platform/process"
"""Of a run of workflows' tasks, with the number of each of its processes behind it: the run's id, so that none is
inherited from one that is tried again, the processes among which it is, and which it is."""
INTERRUPTED = "interrupted"
"""State of a task whose process ended before it could say how the task did."""
WHY_INTERRUPTED = "interrupted: its process ended without a word of it; finished fits are kept, the next run goes on"
_MOST_RUNS = 10


@dataclass(frozen=True)
class Step:
    """How far a task is in Dagster's run: waiting, running, finished, failed or interrupted; times in UTC."""

    state: str
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    attempts: int = 0
    run_id: str | None = None


def task_key(workflow: Workflow, task: str) -> AssetKey:
    """The asset of a task."""
    return AssetKey(["ensembles", workflow.context.slug, task])


def tags_of(one: Submission) -> dict[str, str]:
    """The tags of a workflow's run: what the queue's limits go by; they are those of training jobs."""
    return {**_attempt_tags(one), USER_TAG: one.user_id, KIND_TAG: KIND}


def newest_run(instance: DagsterInstance, one: Submission) -> DagsterRun | None:
    """The newest run of the workflow's last attempt; None before there is one."""
    return requested_runs.newest_run(instance, _attempt_tags(one))


def settle(instance: DagsterInstance, store: Submissions, one: Submission) -> Submission:
    """The workflow, brought in line with its run."""
    return requested_runs.settle(
        instance,
        store,
        one,
        _attempt_tags(one),
        succeeded=lambda run: store.ended(one, "completed", run.run_id),
        working=lambda run: store.running(one, run.run_id),
    )


def _attempt_tags(one: Submission) -> dict[str, str]:
    return {WORKFLOW_TAG: one.workflow_id, ATTEMPT_TAG: str(one.attempt)}


def steps_of(instance: DagsterInstance, workflow: Workflow, one: Submission) -> dict[str, Step]:
    """Each task, and the model, in the runs of the last attempt: one that Dagster tried again counts with its first."""
    names = {task_key(workflow, name).to_python_identifier(): name for name in _names(workflow)}
    found = dict.fromkeys(names.values(), Step("waiting"))
    runs = instance.get_runs(RunsFilter(tags=_attempt_tags(one)), limit=_MOST_RUNS)
    for run in reversed(runs):
        for stats in instance.get_run_step_stats(run.run_id):
            if stats.step_key in names:
                found[names[stats.step_key]] = _step(stats, run)
    return found


def _names(workflow: Workflow) -> Sequence[str]:
    return [*(task.name for task in workflow.tasks), MODEL]


def _step(stats: RunStepKeyStatsSnapshot, run: DagsterRun) -> Step:
    said = stats.status.value if stats.status is not None else ""
    state = {"SUCCESS": "finished", "FAILURE": "failed", "SKIPPED": "waiting"}.get(said, "running")
    if state == "running" and is_over(run):
        state = INTERRUPTED
    return Step(state, _time(stats.start_time), _time(stats.end_time), stats.attempts or 1, run.run_id)


def mark_process(instance: DagsterInstance, run_id: str) -> None:
    """Keep of a run that this process works on it; with some executors each step has one of its own."""
    own = f"{run_id} {process_identity.namespace()} {process_identity.this_process()}"
    instance.add_run_tags(run_id, {f"{PROCESS_TAG}/{os.getpid()}": own})


def is_over(run: DagsterRun) -> bool:
    """Whether nothing works on a run any more, also where its processes were killed and nobody has said so yet.

    One that an operator has marked as canceled goes on while its process does. A process on another machine or in
    another container cannot be looked for: there Dagster's word counts alone.
    """
    marks = [value.split(" ") for key, value in run.tags.items() if key.startswith(f"{PROCESS_TAG}/")]
    own = [(place, process) for run_id, place, process in marks if run_id == run.run_id]
    if own and all(place == process_identity.namespace() and process_identity.here(one) for place, one in own):
        said = run.status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE)
        return said or not any(process_identity.alive(one) for _, one in own)
    return bool(run.is_finished)


def _time(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc)


def forget_runs(instance: DagsterInstance, workflow_id: str) -> None:
    """Remove a workflow's runs with all that those logged."""
    for run in instance.get_runs(RunsFilter(tags={WORKFLOW_TAG: workflow_id})):
        if run.is_finished:
            instance.delete_run(run.run_id)
