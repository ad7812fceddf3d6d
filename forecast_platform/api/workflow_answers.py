"""What the API answers about workflows, with examples for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.submissions import Submission
from forecast_platform.ensembles.yaml_lines import Problem
from forecast_platform.runs.submitted_workflows import Checked, TaskState, completed_text

EXAMPLE = """\
obsrv:
  context:
    name: credit_risk
    metric: {classification: [auc, accuracy]}
    source: {catalog: main, schema: credit_risk, table: training_data, target: default_label}
  job:
    - task: stack_top_any
      stack: {top_n: 5}
    - task: vote_weight
"""


class WorkflowText(BaseModel):
    """A workflow in the obsrv grammar."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"yaml": EXAMPLE}]})

    yaml: str = Field(description="The workflow's YAML text (docs/ensembles.md).")


class ProblemAnswer(BaseModel):
    """A fault of a workflow's text; line and column count from 1."""

    line: int
    column: int
    where: str = Field(description="Its place in the document, such as obsrv.job[1].stack.")
    text: str = Field(description="What is wrong, and what to do.")


class WorkflowFault(BaseModel):
    """Why a workflow was refused: all faults as one text, and each with its place."""

    detail: str
    problems: list[ProblemAnswer] = []


class PlannedTask(BaseModel):
    """A task in running order."""

    task: str
    type: str
    needs: list[str] = Field(description="Tasks that it waits for.")
    level: int = Field(description="Those of one level may run at once; from 0.")


class CheckAnswer(BaseModel):
    """What was found in a text; nothing of it is kept."""

    valid: bool
    problems: list[ProblemAnswer]
    fixed: str | None = Field(default=None, description="The text as it was meant, where that can be told.")
    fixes: list[str] = []
    name: str | None = None
    tasks: list[PlannedTask] = []
    completed: str | None = Field(default=None, description="The workflow with every default.")


class TaskAnswer(BaseModel):
    """A task as it stands in the last attempt."""

    task: str
    type: str
    needs: list[str]
    state: str = Field(description="waiting, running, finished, failed or interrupted (its process is gone).")
    started_at: str | None
    finished_at: str | None
    attempts: int
    error: str | None
    run_id: str | None = Field(description="The run that did it: Dagster's, or the address of its Databricks job run.")
    report: str | None = Field(description="Where a webhook is set: delivered, or why it was not.")


class WorkflowAnswer(BaseModel):
    """A workflow; `tasks` where one is asked for by its id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workflow_id": "wf_20261128_080000", "name": "credit_risk", "status": "running", "progress": 33,
                    "current_step": "vote_weight", "run_id": "5b0b1f0e", "attempt": 1, "user_id": "local",
                    "created_at": "2026-11-28T08:00:00.000+00:00", "submitted_at": "2026-11-28T08:00:01.000+00:00",
                    "completed_at": None, "error": None, "assets": "ensembles/credit_risk", "tasks": None,
                }
            ]
        }
    )  # fmt: skip

    workflow_id: str
    name: str
    status: str = Field(
        description="pending, submitting (queued), running, cancelling, cancelled, completed or failed."
    )
    progress: int | None = Field(description="Percent of the tasks that are finished, where tasks are listed.")
    current_step: str | None
    run_id: str | None = Field(description="Dagster's run.")
    attempt: int = Field(description="How many times it was submitted.")
    user_id: str
    created_at: str
    submitted_at: str | None
    completed_at: str | None
    error: str | None
    assets: str = Field(description="Prefix of its assets' keys in Dagster.")
    tasks: list[TaskAnswer] | None = None


class WorkflowList(BaseModel):
    """Workflows, newest first."""

    workflows: list[WorkflowAnswer]
    total: int = Field(description="How many there are, also beyond the limit.")


class WorkflowResults(BaseModel):
    """What a completed workflow found: what is deployed, and each task's scores and leaderboard."""

    model_config = ConfigDict(extra="allow")

    workflow: str
    result: dict[str, Any]
    tasks: dict[str, Any]


def problems_of(problems: list[Problem]) -> list[ProblemAnswer]:
    """Faults as they are sent."""
    return [ProblemAnswer(**vars(one)) for one in problems]


def check_answer(found: Checked) -> CheckAnswer:
    """What was found in a text."""
    if found.workflow is None:
        problems = problems_of(found.problems)
        return CheckAnswer(valid=False, problems=problems, fixed=found.fixed, fixes=list(found.fixes))
    plan = plan_of(found.workflow)
    levels = {name: number for number, names in enumerate(plan.levels) for name in names}
    tasks = [
        PlannedTask(
            task=name, type=found.workflow.task(name).task, needs=list(plan.needs[name]), level=levels[name]
        )
        for name in plan.order
    ]  # fmt: skip
    name, completed = found.workflow.context.name, completed_text(found.workflow)
    return CheckAnswer(valid=True, problems=[], name=name, tasks=tasks, completed=completed)


def workflow_answer(one: Submission, tasks: list[TaskState] | None = None, step: str = "") -> WorkflowAnswer:
    """A workflow as it is sent; with its tasks where they were looked at."""
    progress = None
    if tasks is not None:
        progress = 100 * sum(task.state == "finished" for task in tasks) // len(tasks)
    failed = next((f"{task.task}: {task.error}" for task in tasks or () if task.error), None)
    return WorkflowAnswer(
        workflow_id=one.workflow_id,
        name=one.name,
        status=one.status,
        progress=progress,
        current_step=step or None,
        run_id=one.run_id,
        attempt=one.attempt,
        user_id=one.user_id,
        created_at=one.created_at,
        submitted_at=one.submitted_at,
        completed_at=one.completed_at,
        error=(failed or one.error) if one.status == "failed" else one.error,
        assets=f"ensembles/{one.slug}",
        tasks=None if tasks is None else [TaskAnswer(**{**vars(task), "needs": list(task.needs)}) for task in tasks],
    )
