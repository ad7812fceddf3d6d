"""Workflows submitted at run time: kept in the warehouse, run through Dagster, looked at, exported."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forecast_platform.ensembles.finishing import export_model, keep_report, model_files, result_of
from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import MODEL, Run
from forecast_platform.ensembles.store import RUNNING, State, States
from forecast_platform.ensembles.yaml_lines import Problem, WorkflowError, text_of
from forecast_platform.host.files import write_whole
from forecast_platform.models.saved import to_bytes
from forecast_platform.settings import Settings
from forecast_platform.work.platform import Platform

WAITING = "waiting"


class WorkflowRunError(ValueError):
    """A workflow cannot be taken or shown; the message says what to do."""


@dataclass(frozen=True)
class TaskStatus:
    """One task as it stands: its state, times, and why it failed."""

    task: str
    type: str
    needs: tuple[str, ...]
    state: str
    attempts: int = 0
    seconds: float | None = None
    error: str | None = None
    run_id: str | None = None
    report: str | None = None


@dataclass(frozen=True)
class RunOfWorkflow:
    """What a run of a workflow came to."""

    run_id: str
    success: bool
    messages: list[str]
    canceled: bool = False
    """Whether it was interrupted from the shell."""


def folder_of(settings: Settings) -> Path:
    """Where submitted workflows are kept: one YAML file each."""
    return settings.warehouse / "_workflows"


def submit(settings: Settings, text: str, name: str = "") -> Workflow:
    """Check a workflow and keep it, so that it is an asset of the workflows' code location.

    Raises WorkflowError; WorkflowRunError where another workflow's assets have the same names.
    """
    workflow = read_workflow(text, name)
    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{workflow.context.slug}.yaml"
    if path.is_file():
        try:
            other = read_workflow(text_of(path)).context.name
        except WorkflowError:
            other = workflow.context.name
        if other != workflow.context.name:
            raise WorkflowRunError(
                f"workflow {other!r} has the same asset names as {workflow.context.name!r}: rename one"
            )
    write_whole(path, text, 0o644)
    return workflow


def submitted(settings: Settings) -> dict[str, Workflow | WorkflowError]:
    """The workflows that are kept, by the name of their file; of those that cannot be read, or are in the file of
    another, why."""
    found: dict[str, Workflow | WorkflowError] = {}
    for path in sorted(folder_of(settings).glob("*.yaml")):
        try:
            workflow = read_workflow(text_of(path), path.name)
            found[path.stem] = workflow
            if workflow.context.slug != path.stem:
                own = f"{workflow.context.slug}.yaml"
                what = (
                    f"the workflow {workflow.context.name!r} belongs in {own}: `forecast-platform ensemble import` it"
                )
                found[path.stem] = WorkflowError([Problem(1, 1, "", f"{what}, and remove this file")], path.name)
        except WorkflowError as error:
            found[path.stem] = error
    return found


def hashes(settings: Settings) -> dict[str, str]:
    """The hash of each file of a workflow that is kept, by its name without the suffix."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder_of(settings).glob("*.yaml"))
    }


def run_here(settings: Settings, workflow: Workflow, tell: Callable[[str], None] = lambda text: None) -> RunOfWorkflow:
    """Run a workflow's assets in this process, recorded by the instance. Tasks that are finished are not done again;
    those that need nothing of a failed one go on."""
    from forecast_platform.graph.assets.ensembles import job_name, workflow_definitions
    from forecast_platform.host import process_identity
    from forecast_platform.runs.launch import SHELL_TAG, Launcher, own_output, summarise_events

    launcher = Launcher(settings)
    for run_id in launcher.close_orphans():
        tell(f"closed the run {run_id}, whose process is gone; what it finished is kept")
    definitions = workflow_definitions(workflow, lambda: Platform.from_settings(settings))
    job = definitions.resolve_job_def(job_name(workflow))
    run_id = str(uuid.uuid4())
    with launcher.canceled_when_interrupted(run_id), own_output():
        result = job.execute_in_process(
            instance=launcher.instance,
            raise_on_error=False,
            run_id=run_id,
            tags={SHELL_TAG: process_identity.this_process()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    canceled = launcher.status_after(run_id, result.all_events) == "CANCELED"
    return RunOfWorkflow(run_id, result.success, summarise_events(result.all_events)[0], canceled)


def status(settings: Settings, workflow: Workflow) -> list[TaskStatus]:
    """The tasks of a workflow in running order, as the warehouse has them; the source is not read.

    One that runs by its state, and whose process is gone, is `interrupted`.
    """
    plan = plan_of(workflow)
    states = States(Platform.from_settings(settings).warehouse, workflow.context).read()
    states = _without_the_dead(settings, states)
    rows = [(name, workflow.task(name).task, plan.needs[name]) for name in plan.order]
    return [_status(name, kind, needs, states.get(name)) for name, kind, needs in [*rows, (MODEL, MODEL, plan.order)]]


def _without_the_dead(settings: Settings, states: dict[str, State]) -> dict[str, State]:
    """The states, where a process that was killed has left one as running: interrupted."""
    from forecast_platform.graph.workflow_runs import INTERRUPTED, WHY_INTERRUPTED, is_over
    from forecast_platform.runs.launch import Launcher

    at_work = {one.run_id for one in states.values() if one.state == RUNNING and one.run_id is not None}
    if not at_work:
        return states
    instance = Launcher(settings).instance
    known = {run_id: instance.get_run_by_id(run_id) for run_id in at_work}
    over = {run_id for run_id, run in known.items() if run is not None and is_over(run)}
    return {
        name: replace(one, state=INTERRUPTED, error=WHY_INTERRUPTED)
        if one.state == RUNNING and one.run_id in over
        else one
        for name, one in states.items()
    }


def _status(name: str, kind: str, needs: tuple[str, ...], state: State | None) -> TaskStatus:
    if state is None:
        return TaskStatus(name, kind, needs, WAITING)
    about = {one: getattr(state, one) for one in ("attempts", "seconds", "error", "run_id", "report")}
    return TaskStatus(name, kind, needs, state.state, **about)


def results(settings: Settings, workflow: Workflow) -> dict[str, Any]:
    """A finished workflow's result: what is deployed, each task's scores and leaderboard, and routed against unrouted.

    Raises WorkflowRunError where it is not finished for the inputs as they are now.
    """
    run = Run(Platform.from_settings(settings), workflow)
    found = result_of(run)
    if found is None:
        raise WorkflowRunError(f"{workflow.context.name} is not finished for its inputs: `ensemble run` makes it")
    tasks = {}
    for name, outcome in run.outcomes().items():
        tasks[name] = {
            "scores": outcome.scores,
            "intervals": outcome.intervals,
            "members": outcome.members,
            "sizes": outcome.sizes,
            "verdict": outcome.verdict,
            "notes": outcome.notes,
        }
    return {"workflow": workflow.context.name, "result": vars(found), "tasks": tasks}


def report(settings: Settings, workflow: Workflow) -> Path:
    """The page of a workflow whose results are there; written again where it is gone. Raises OSError, PackageError."""
    return keep_report(Run(Platform.from_settings(settings), workflow))


def results_text(found: dict[str, Any]) -> str:
    """Results as JSON text, what is not a number as null."""
    return json.dumps(_finite(found), indent=1, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value


def model_zip(settings: Settings, workflow: Workflow) -> bytes:
    """The workflow's newest model, an MLflow model folder, as one ZIP file. Raises PackageError."""
    return to_bytes(model_files(Run(Platform.from_settings(settings), workflow)))


def export(settings: Settings, workflow: Workflow, folder: Path) -> Path:
    """Write the workflow's newest model as an MLflow model folder. Raises PackageError."""
    return export_model(Run(Platform.from_settings(settings), workflow), folder)
