"""Workflows of ensembles on a workspace: a run a task through the port, the bits of a local run, and the notebook."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetKey, instance_for_test

from forecast_platform.clients.databricks.deploy import SERVICES
from forecast_platform.ensembles.catalog import BASES, BOOSTS
from forecast_platform.ensembles.grammar import TASK_TYPES
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.remote_task import place_of
from forecast_platform.ensembles.running import Run
from forecast_platform.graph.assets.ensembles import job_name, workflow_definitions
from forecast_platform.remote import ensemble_task
from forecast_platform.remote.ensemble_task import run_ensemble_task
from forecast_platform.remote.parameters import ParameterError
from forecast_platform.runs.workflows import status
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.databricks.pipes_worlds import World
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.workflows import text_of

TASKS = (
    {"task": "stack_top_any", "stack": {"top_n": 2}},
    {"task": "vote_mix", "depends_on": ["stack_top_any"]},
)


@pytest.mark.slow
def test_each_task_is_a_run_of_the_workspace_with_the_bits_of_a_local_one(world: World, workspace: Workspace) -> None:
    classes().to_parquet(world.root / "table.parquet")
    source = {"path": str(world.root / "table.parquet")}
    workflow = read_workflow(
        text_of(*TASKS, source=source, bases=["linear", "neighbours"], compute={"serverless": ["GPU"]})
    )
    definitions = workflow_definitions(workflow, lambda: Platform.from_settings(world.settings))
    job = definitions.resolve_job_def(job_name(workflow))
    keys = [AssetKey(["ensembles", "small", task["task"]]) for task in TASKS]
    with instance_for_test() as instance:
        first = job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys)
        said = "\n".join(f"{one.user_message} {one.dagster_event}" for one in instance.all_logs(first.run_id))
        assert first.success, said[-3000:]
        runs = list(workspace.jobs.runs.values())
        again = job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys)
    assert again.success
    assert len(workspace.jobs.runs) == len(runs) == 2, "what is finished starts no run"
    assert [run.body["tasks"][0].get("compute") for run in runs] == [{"hardware_accelerator": "GPU_1xA10"}, None]
    addresses = {one.run_id for one in status(world.settings, workflow)[:2]}
    assert addresses == {f"{workspace.host}/jobs/{run.job_id}/runs/{run.run_id}" for run in runs}

    remote = Run(world.platform, workflow).outcomes()
    local = Run(Platform.from_settings(build(warehouse=world.root / "local", source="sample", workers=1)), workflow)
    for name in local.plan.order:
        own = local.perform(name).outcome
        np.testing.assert_array_equal(remote[name].predicted, own.predicted)
        assert remote[name].scores == own.scores
    world.no_secret_anywhere()


@pytest.mark.parametrize(
    ("serverless", "bases", "tasks_with_a_gpu"),
    [
        (["GPU", "no-GPU"], ["neighbours"], ["boost"]),
        (["GPU", "no-GPU"], ["linear", "neighbours"], ["stack_top_any", "boost", "of_its_own"]),
        (["GPU", "no-GPU"], ["gbm"], ["boost"]),
        (["GPU"], ["neighbours"], ["stack_top_any", "boost", "of_its_own"]),
        (["no-GPU"], ["linear"], []),
        ([], ["linear"], []),
    ],
)
def test_a_gpu_is_for_the_tasks_that_can_use_one_where_both_are_named(
    serverless: list[str],
    bases: list[str],
    tasks_with_a_gpu: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("linear", "neural"):
        monkeypatch.setitem(BASES, name, replace(BASES[name], on_gpu=True))
    monkeypatch.setitem(BOOSTS, "dl", ("neural",))
    classes().to_parquet(tmp_path / "table.parquet")
    tasks = [
        {"task": "route_feature", "route": {"feature": "a", "bins": 2}},
        {"task": "stack_top_any", "depends_on": ["route_feature"]},
        {"task": "boost", "boost": {"method": "dl"}},
        {"task": "vote_mix", "depends_on": ["stack_top_any"]},
        {"task": "vote_mix", "id": "of_its_own", "per_route": False, "depends_on": ["stack_top_any"]},
    ]
    compute = {"serverless": serverless, "existing_cluster_id": "c-1"}
    source = {"path": str(tmp_path / "table.parquet")}
    run = Run(
        Platform.from_settings(build(warehouse=tmp_path / "warehouse", source="sample", workers=1)),
        read_workflow(text_of(*tasks, source=source, bases=bases, compute=compute)),
    )
    found = {name: place_of(run, name) for name in run.plan.order}
    assert [name for name, one in found.items() if one.get("gpu")] == tasks_with_a_gpu
    assert {one["cluster"] for one in found.values()} == {"c-1"}


def test_every_task_type_has_the_notebook_that_existing_workspaces_call() -> None:
    assert tuple(f"{task}_service" for task in TASK_TYPES) == SERVICES


def test_the_notebook_s_widgets_give_the_exit_values_that_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = build(warehouse=tmp_path / "warehouse", source="sample", workers=1)
    monkeypatch.setattr(ensemble_task, "load", lambda: settings)
    classes().to_parquet(tmp_path / "table.parquet")
    context = json.dumps({"source": {"path": str(tmp_path / "table.parquet")}, "bases": ["linear"]})
    given = {"workflow_id": "risk", "target": "target", "context": context}
    config = json.dumps({"route": {"cluster": {"kmeans": {"n_clusters": 2}}}, "depends_on": [{"task": "other"}]})
    routed = json.loads(run_ensemble_task({**given, "task_id": "route_cluster_service", "config": config}))
    assert routed["output_table"] == "ensembles.files.table_clustered_risk_route_cluster"
    assert (routed["n_clusters"], routed["method"], sum(routed["cluster_sizes"])) == (2, "kmeans", 240)

    whole = json.dumps({"obsrv": {"job": [{"task": "stack_top_any"}, {"task": "vote_mix"}]}})
    stacked = json.loads(run_ensemble_task({**given, "task_id": "stack_top_any_service", "config": whole}))
    assert stacked.pop("primary_metric") == {"auc": stacked.pop("scores")["auc"]}
    assert stacked == {
        "meta_learner_run_id": None, "n_base_models": 1, "task_type": "classification",
        "oof_table": "ensembles.files.oof_predictions_risk_stack_top_any",
    }  # fmt: skip

    with pytest.raises(ParameterError, match="task_id 'rout_cluster': one of route_cluster"):
        run_ensemble_task({**given, "task_id": "rout_cluster"})
    with pytest.raises(ParameterError, match="context: list is no mapping"):
        run_ensemble_task({**given, "task_id": "boost", "context": "[a]"})
