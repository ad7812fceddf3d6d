"""One task of a workflow of ensembles on a cluster, as notebooks/ensemble_task calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from forecast_platform.ensembles.finishing import finish
from forecast_platform.ensembles.grammar import BODY_OF, Workflow
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import Done, Run
from forecast_platform.remote.parameters import ParameterError
from forecast_platform.settings import load
from forecast_platform.work.platform import Platform

WIDGETS = ("workflow_id", "task_id", "config", "context", "catalog", "schema", "table", "target")
"""Parameters of the notebook, all texts."""
_SERVICE = "_service"


def run_ensemble_task(parameters: Mapping[str, str]) -> str:
    """Do one task over a table; returns the exit value, JSON, with the names that others read.

    Of a route: output_table, n_clusters, method, cluster_sizes; of others: meta_learner_run_id (of MLflow; null while
    other tasks of the workflow are missing), n_base_models, oof_table, primary_metric, task_type, scores. Raises
    ParameterError, WorkflowError, and what `Run.perform` does.
    """
    workflow, name = _workflow(parameters)
    run = Run(Platform.from_settings(load()), workflow)
    done = run.perform(name)
    if workflow.task(name).kind == "route":
        body = workflow.task(name).body()
        method = body.cluster.method if body.cluster is not None else workflow.task(name).task.removeprefix("route_")
        sizes = done.outcome.sizes
        return json.dumps(
            {"output_table": done.tables[0] if done.tables else _table(run, done), "n_clusters": len(sizes),
             "method": method, "cluster_sizes": sizes}
        )  # fmt: skip
    whole = len(run.outcomes()) == len(run.plan.order)
    scorer = run.rows.scorers(workflow.context)[0]
    return json.dumps(
        {
            "meta_learner_run_id": finish(run).mlflow_run_id if whole else None,
            "n_base_models": sum(bool(row["chosen"]) for row in done.outcome.members),
            "oof_table": done.tables[0] if done.tables else _table(run, done),
            "primary_metric": {scorer.label: done.outcome.scores[scorer.label]},
            "task_type": "classification" if run.rows.n_classes else "regression",
            "scores": {label: value for label, value in done.outcome.scores.items() if value == value},
        }
    )


def _table(run: Run, done: Done) -> str:
    """The table that the task has written when it was done."""
    catalog, schema, table = run.workflow.context.source.place
    slug = run.workflow.context.slug
    if done.outcome.cells is not None:
        return f"{catalog}.{schema}.{table}_clustered_{slug}_{done.outcome.task}"
    return f"{catalog}.{schema}.oof_predictions_{slug}_{done.outcome.task}"


def _workflow(parameters: Mapping[str, str]) -> tuple[Workflow, str]:
    """The workflow that the widgets describe, and the name of the task. Raises ParameterError, WorkflowError."""
    given = {name: (parameters.get(name) or "").strip() for name in WIDGETS}
    config, context = _mapping("config", given["config"]), _mapping("context", given["context"])
    name = given["task_id"].removesuffix(_SERVICE)
    if "obsrv" in config:
        obsrv = dict(config["obsrv"] or {})
        context = {**(obsrv.get("context") or {}), **context}
        jobs = list(obsrv.get("job") or [])
    else:
        task = {**config}
        task.setdefault("task", name)
        if task["task"] not in BODY_OF:
            raise ParameterError(
                f"task_id {given['task_id']!r}: one of {', '.join(BODY_OF)}, or a whole workflow as config"
            )
        if task["task"] != name and name:
            task.setdefault("id", name)
        # A task by itself waits for nothing: those before it have no part in this workflow.
        jobs = [{key: value for key, value in task.items() if key != "depends_on"}]
    source = dict(context.get("source") or {})
    source |= {key: given[key] for key in ("catalog", "schema", "table", "target") if given[key]}
    context = {**context, "source": source}
    if given["workflow_id"]:
        context["name"] = given["workflow_id"]
    workflow = read_workflow(yaml.safe_dump({"obsrv": {"context": context, "job": jobs}}, sort_keys=False), "config")
    names = [task.name for task in workflow.tasks]
    found = name or names[-1]
    if found not in names:
        raise ParameterError(f"task_id {given['task_id']!r} is no task of the workflow; it has {', '.join(names)}")
    return workflow, found


def _mapping(name: str, text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError as error:
        raise ParameterError(f"{name}: neither YAML nor JSON: {error}") from None
    if not isinstance(found or {}, dict):
        raise ParameterError(f"{name}: {type(found).__name__} is no mapping of names to values")
    return found or {}
