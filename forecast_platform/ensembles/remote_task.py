"""A task of a workflow through the task port: a run of Databricks each, over the same warehouse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from forecast_platform.compute import remote_for
from forecast_platform.ensembles.grammar import Task, Workflow
from forecast_platform.ensembles.reading import written
from forecast_platform.ensembles.running import Done, EarlierTaskError, Run
from forecast_platform.work.step import Step
from forecast_platform.work.tasks import TaskRequest

KIND = "ensemble_task"
"""The plain kind of these tasks."""
_NETWORKS = ("tf", "dl", "pytorch", "tabnet")


class RemoteTaskError(RuntimeError):
    """A task's run failed, or made something else than was asked for; the message is the run's, with the mend."""


def is_remote(run: Run) -> bool:
    """Whether tasks are runs of a workspace: where the settings' compute is one that submits them."""
    return remote_for(run.platform.settings) is not None


def perform_remotely(run: Run, name: str, step: Step) -> tuple[Done, str]:
    """Do one task in a run of its own, or find it done; returns it, and the run's address (empty where none was made).

    A step that was killed attaches to the run that it has submitted. Raises EarlierTaskError, RemoteTaskError;
    ValueError where the settings' compute submits no runs.
    """
    compute = remote_for(run.platform.settings)
    if compute is None:
        raise ValueError(f"compute = {run.platform.settings.compute!r} submits no runs")
    if (found := run.finished(name)) is not None:
        return Done(found, False), ""
    missing = [above for above in run.plan.above(name) if run.finished(above) is None]
    if missing:
        raise EarlierTaskError(f"{name} waits for {missing[0]}, which is not finished for these inputs: run it first")
    payload = {"yaml": written(run.workflow), "task": name, **place_of(run.workflow, run.workflow.task(name))}
    request = TaskRequest.plain(KIND, f"{run.workflow.context.slug} {name}", payload)
    [result] = list(compute.perform(replace(run.platform, step=step), [request]))
    if result.value is None:
        raise RemoteTaskError("; ".join(dict.fromkeys(result.failed.values())) or f"{request.about}: no reply")
    url = result.runs[-1].url if result.runs else ""
    outcome = run.finished(name)
    if outcome is None:
        same = result.value["input_hash"] == run.hashes[name]
        why = "its files are not in this warehouse's artifacts" if same else "rows, code or base models differ there"
        raise RemoteTaskError(
            f"{name} was done on Databricks, but not for the inputs that are here ({why}): the cluster's settings "
            "(databricks.config) must name this warehouse, and databricks.packages what is installed here"
        )
    if url:
        state = run.states.read()[name]
        run.states.write(name, replace(state, run_id=url))
    return Done(outcome, bool(result.value["computed"]), tuple(result.value["tables"])), url


def place_of(workflow: Workflow, task: Task) -> dict[str, Any]:
    """Where a task's run is made, as the workflow's compute says: with an accelerator, or on a cluster of its own.

    serverless [GPU]: every task that fits models; [GPU, no-GPU]: those that fit networks.
    """
    asked = workflow.context.compute
    found: dict[str, Any] = {}
    network = task.kind == "boost" and task.body().method in _NETWORKS
    fits = task.kind in ("stack", "boost")
    if "GPU" in asked.serverless and (network or (fits and "no-GPU" not in asked.serverless)):
        found["gpu"] = True
    if asked.existing_cluster_id:
        found["cluster"] = asked.existing_cluster_id
    return found
