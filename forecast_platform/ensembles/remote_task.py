"""A task of a workflow through the task port, over the same warehouse: a run of Databricks, or on a worker of Spark."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from forecast_platform.clients.spark_session import writer_of
from forecast_platform.compute import engine_for, remote_for
from forecast_platform.compute.base import Compute
from forecast_platform.ensembles.base_models import fitted_by
from forecast_platform.ensembles.catalog import BaseError
from forecast_platform.ensembles.gpu import asks_gpu
from forecast_platform.ensembles.reading import written
from forecast_platform.ensembles.running import Done, EarlierTaskError, Run
from forecast_platform.ensembles.task_kind import KIND
from forecast_platform.settings import Settings
from forecast_platform.work.step import Step
from forecast_platform.work.tasks import TaskRequest


class RemoteTaskError(RuntimeError):
    """A task's run failed, or made something else than was asked for; the message is the run's, with the mend."""


def is_remote(run: Run) -> bool:
    """Whether tasks are done elsewhere: in runs of a workspace, or by workers of Spark that share the warehouse."""
    return _elsewhere(run.platform.settings) is not None


def perform_remotely(run: Run, name: str, step: Step | None) -> tuple[Done, str]:
    """Do one task elsewhere, or find it done; returns it, and its run's address (empty where there is none).

    A step that was killed attaches to the run of Databricks that it has submitted. Raises EarlierTaskError,
    RemoteTaskError; ValueError where the settings' compute does tasks here.
    """
    settings = run.platform.settings
    compute = _elsewhere(settings)
    if compute is None:
        raise ValueError(f"compute = {settings.compute!r} does the tasks of workflows here")
    if (found := run.finished(name)) is not None:
        return Done(found, False), ""
    missing = [above for above in run.plan.above(name) if run.finished(above) is None]
    if missing:
        raise EarlierTaskError(f"{name} waits for {missing[0]}, which is not finished for these inputs: run it first")
    payload = {"yaml": written(run.workflow), "task": name, **place_of(run, name)}
    if settings.compute == "spark":
        # The worker's own environment says the rest.
        payload["settings"] = {"warehouse": str(settings.warehouse), "compute": "local", "workers": settings.workers}
    request = TaskRequest.plain(KIND, f"{run.workflow.context.slug} {name}", payload)
    [result] = list(compute.perform(replace(run.platform, step=step), [request]))
    if result.value is None:
        raise RemoteTaskError("; ".join(dict.fromkeys(result.failed.values())) or f"{request.about}: no reply")
    url = result.runs[-1].url if result.runs else ""
    outcome = run.finished(name)
    if outcome is None:
        same = result.value["input_hash"] == run.hashes[name]
        why = "its files are not in this warehouse's artifacts" if same else "rows, code or base models differ there"
        where, mend = _MENDS[settings.compute == "spark"]
        raise RemoteTaskError(f"{name} was done {where}, but not for the inputs that are here ({why}): {mend}")
    if url or run.run_id:
        state = run.states.read()[name]
        run.states.write(name, replace(state, run_id=url or run.run_id))
    return Done(outcome, bool(result.value["computed"]), tuple(result.value["tables"])), url


def _elsewhere(settings: Settings) -> Compute | None:
    """The compute that does tasks elsewhere; None where they are done by this process.

    A worker of Spark reads and writes the warehouse itself: it must be a folder that all share.
    """
    if settings.compute == "spark":
        shared = settings.tables != "unity_catalog" and writer_of(settings) == "workers"
        return engine_for(settings) if shared else None
    return remote_for(settings)


_MENDS = {
    True: ("by a worker of Spark", "its environment must have what is installed here, and reach the same warehouse"),
    False: (
        "on Databricks",
        "the cluster's settings (databricks.config) must name this warehouse, and databricks.packages what is "
        "installed here",
    ),
}
"""Of Spark and not: where a task was done, and what to look at where it was done for other inputs."""


def place_of(run: Run, name: str) -> dict[str, Any]:
    """Where a task's run is made, as the workflow's compute says: with an accelerator, or on a cluster of its own.

    serverless [GPU]: every task that fits models; [GPU, no-GPU]: those that fit networks. Raises RowsError and
    ForecastsError as `Run.rows`.
    """
    asked = run.workflow.context.compute
    found: dict[str, Any] = {}
    if asks_gpu(run.workflow.context):
        try:
            bases = fitted_by(run.workflow, run.plan, run.rows, name)
        except BaseError:
            # The task itself fails of it, and its state says why.
            bases = []
        if any(one.on_gpu or "no-GPU" not in asked.serverless for one in bases):
            found["gpu"] = True
    if asked.existing_cluster_id:
        found["cluster"] = asked.existing_cluster_id
    return found
