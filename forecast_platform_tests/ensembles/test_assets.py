"""Workflows as assets: keys and edges, what is not computed again, failures alone, and the component."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, DagsterExecutionInterruptedError, DagsterInstance, Definitions, instance_for_test
from dagster.components.core.defs_module import ComponentPath

import forecast_platform.components as components
from forecast_platform.ensembles import running
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.graph.assets.ensembles import job_name, workflow_definitions
from forecast_platform.runs.launch import summarise_events
from forecast_platform.runs.workflows import WorkflowRunError, status, submit
from forecast_platform.settings import SeriesSettings, Settings, build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.test_run import TASKS, text_at, world
from forecast_platform_tests.ensembles.workflows import EXAMPLE
from forecast_platform_tests.forked import Command
from forecast_platform_tests.waiting import PATIENCE


def execute(settings: Settings, text: str, instance: DagsterInstance):
    workflow = read_workflow(text)
    definitions = workflow_definitions(workflow, lambda: Platform.from_settings(settings))
    job = definitions.resolve_job_def(job_name(workflow))
    return job.execute_in_process(instance=instance, raise_on_error=False)


def computed(result) -> dict[str, bool]:
    """Of each task that was materialized, whether it was computed."""
    return {
        event.asset_key.path[-1]: event.step_materialization_data.materialization.metadata["computed"].value
        for event in result.all_events
        if event.is_step_materialization
    }


def test_each_task_is_an_asset_and_each_dependency_an_edge() -> None:
    definitions = workflow_definitions(read_workflow(EXAMPLE))
    graph = definitions.resolve_asset_graph()
    prefix = ["ensembles", "credit_risk_ensemble"]
    parents = {key.path[-1]: {one.path[-1] for one in graph.get(key).parent_keys} for key in graph.get_all_asset_keys()}
    assert parents == {
        "route_cluster": set(),
        "stack_top_any": {"route_cluster"},
        "vote_top_alg": {"stack_top_any"},
        "model": {"route_cluster", "stack_top_any", "vote_top_alg"},
    }
    assert all(key.path[:2] == prefix for key in graph.get_all_asset_keys())


@pytest.mark.parametrize(
    ("forecasts", "models", "groups"),
    [
        ({"of": ["naive", "random_walk"], "series": ["Sugar"]}, ["naive", "random_walk"], ["softs"]),
        ({}, ["naive", "random_walk", "range_walk"], ["", "softs"]),
    ],
)
def test_what_votes_on_forecasts_stands_below_them(forecasts: dict, models: list[str], groups: list[str]) -> None:
    context = {"name": "pool", "source": {"forecasts": forecasts}}
    text = yaml.safe_dump({"obsrv": {"context": context, "job": [{"task": "vote_mix"}]}})
    series = [SeriesSettings(name="Coffee"), SeriesSettings(name="Sugar")]
    listed = ["naive", "random_walk", "range_walk"]
    settings = build(source="sample", models=listed, series=series, groups={"softs": ["Sugar"]})
    graph = workflow_definitions(read_workflow(text), settings=settings).resolve_asset_graph()
    above = {"/".join(one.path) for one in graph.get(AssetKey(["ensembles", "pool", "vote_mix"])).parent_keys}
    prefixes = [f"{group}/" if group else "" for group in groups]
    assert above == {f"{prefix}point_forecasts/{model}" for prefix in prefixes for model in models}


@pytest.mark.slow
def test_a_run_computes_once_and_a_failed_task_is_tried_alone(tmp_path: Path) -> None:
    settings = world(tmp_path)
    bad = {"task": "boost", "boost": {"method": "gbm"}, "id": "bad", "depends_on": ["bad_stack"]}
    stack = {"task": "stack_top_any", "id": "bad_stack", "stack": {"meta": "ridge"}}
    with instance_for_test() as instance:
        broken = execute(settings, text_at(tmp_path, *TASKS[:2], stack, bad, bases=["linear"]), instance)
        assert not broken.success
        assert computed(broken) == {"route_cluster": True, "stack_top_any": True}
        failed = [event.step_failure_data for event in broken.all_events if event.is_step_failure]
        assert ["ridge is of numbers" in (one.user_failure_data.description or "") for one in failed] == [True]
        fine = text_at(tmp_path, *TASKS[:2], {**stack, "stack": {}}, bad, bases=["linear"])
        again = execute(settings, fine, instance)
        assert again.success
        assert computed(again) == {
            "route_cluster": False, "stack_top_any": False, "bad_stack": True, "bad": True, "model": True,
        }  # fmt: skip


def test_who_interrupts_a_run_ends_it_and_no_task_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, begun = world(tmp_path), []

    def interrupted(*arguments: object) -> None:
        begun.append(arguments[3])
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr(running, "perform", interrupted)
    text = text_at(tmp_path, {"task": "vote_mix"}, bases=["linear"])
    with instance_for_test() as instance:
        result = execute(settings, text, instance)
    assert not result.success
    assert summarise_events(result.all_events)[0] == ["FAILED ensembles__small__vote_mix: interrupted"]
    assert begun == ["vote_mix"]
    assert status(settings, read_workflow(text))[0].error == "interrupted: finished fits are kept; run it again"


def test_the_component_is_public_lazy_and_one_broken_file_fails_alone(tmp_path: Path) -> None:
    code = "import sys, forecast_platform.components as c; print(dir(c), 'dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'Ensemble'" in done.stdout
    assert done.stdout.strip().endswith("False")

    class Context:
        path, defs_module_path, component_tree = tmp_path / "risk", tmp_path, None
        component_path = ComponentPath.from_path(tmp_path / "risk", 0)

    Context.path.mkdir()
    (Context.path / "workflow.yaml").write_text(EXAMPLE)
    made = components.Ensemble(file="workflow.yaml").build_defs(Context())
    assert AssetKey(["ensembles", "credit_risk_ensemble", "model"]) in made.resolve_asset_graph().get_all_asset_keys()
    (Context.path / "workflow.yaml").write_text(EXAMPLE.replace("top_n: 5", "top: 5"))
    broken = components.Ensemble(file="workflow.yaml").build_defs(Context())
    [key] = broken.resolve_asset_graph().get_all_asset_keys()
    assert key == AssetKey(["ensembles", "risk", "unreadable"])
    assert "did you mean 'top_n'?" in (broken.resolve_asset_graph().get(key).description or "")
    (Context.path / "workflow.yaml").write_bytes(b"obsrv:\n  name: caf\xe9")
    latin = components.Ensemble(file="workflow.yaml").build_defs(Context())
    told = latin.resolve_asset_graph().get(key).description or ""
    assert "workflow.yaml: line 2, column 12: the byte 0xe9 is no UTF-8: save the file as UTF-8" in told
    inline = components.Ensemble(obsrv={"context": {}, "job": []}).build_defs(Context())
    assert len(inline.resolve_asset_graph().get_all_asset_keys()) == 1


def test_the_component_loads_from_its_yaml_as_dagster_reads_it(tmp_path: Path) -> None:
    from dagster.components.testing import create_defs_folder_sandbox

    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=components.Ensemble,
            defs_path="risk",
            defs_yaml_contents={
                "type": "forecast_platform.graph.components.ensemble.Ensemble",
                "attributes": {"file": "workflow.yaml"},
            },
        )
        assert "stack_top_any" in (folder / "workflow.yaml").read_text(), "a workflow to begin with is written"
        with sandbox.build_all_defs() as made:
            keys = {key.path[-1] for key in made.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"stack_top_any", "vote_weight", "model"}


def test_workflows_of_one_name_and_broken_ones_of_one_folder_s_name_fail_alone() -> None:
    from dagster.components.testing import create_defs_folder_sandbox

    sound = EXAMPLE.replace("credit_risk_ensemble", "credit-risk")
    texts = {"a": sound, "b": sound.replace("credit-risk", "credit_risk"), "p/c": "obsrv: [", "q/c": "obsrv: ["}
    with create_defs_folder_sandbox() as sandbox:
        for place, text in texts.items():
            asked = {"type": "forecast_platform.components.Ensemble", "attributes": {"file": "workflow.yaml"}}
            folder = sandbox.scaffold_component(components.Ensemble, defs_path=place, defs_yaml_contents=asked)
            (folder / "workflow.yaml").write_text(text)
        with sandbox.build_all_defs() as made:
            graph = made.resolve_asset_graph()
    found = {"/".join(key.path[1:]) for key in graph.get_all_asset_keys()}
    tasks = {f"credit_risk/{one}" for one in ("route_cluster", "stack_top_any", "vote_top_alg", "model")}
    assert found == {*tasks, "b/unreadable", "p_c/unreadable", "q_c/unreadable"}
    told = graph.get(AssetKey(["ensembles", "b", "unreadable"])).description or ""
    assert "the workflow of a[0] has the same asset names as 'credit_risk': rename one" in told


def stale(definitions: Definitions, instance: DagsterInstance) -> dict[str, str]:
    """Of each asset of a workflow that Dagster shows as to be made again, why."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.loader import LoadingContextForTest

    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    causes = {key.path[-1]: resolver.get_stale_causes(key) for key in graph.get_all_asset_keys()}
    return {name: found[0].reason for name, found in causes.items() if found}


@pytest.mark.slow
def test_dagster_shows_what_another_context_or_table_makes_stale(tmp_path: Path) -> None:
    settings = world(tmp_path)

    def of(**context) -> Definitions:
        workflow = read_workflow(text_at(tmp_path, **context))
        return workflow_definitions(workflow, lambda: Platform.from_settings(settings))

    with instance_for_test() as instance:
        assert execute(settings, text_at(tmp_path), instance).success
        assert stale(of(timeout="3 h"), instance) == {}
        names = ("route_cluster", "stack_top_any", "vote_weight", "model")
        assert stale(of(folds=3), instance) == dict.fromkeys(names, "has a new code version")
        assert stale(of(register=True), instance) == {"model": "has a new code version"}
        classes(seed=4).to_parquet(tmp_path / "table.parquet")
        job = of().resolve_job_def("ensemble_small")
        assert job.execute_in_process(instance=instance, asset_selection=[AssetKey(["ensembles", "small", names[0]])])
        below = dict.fromkeys(("stack_top_any", "model"), "has a new dependency data version")
        assert stale(of(), instance) == below


def test_submitted_workflows_are_a_code_location_of_their_own_and_names_do_not_meet(tmp_path: Path) -> None:
    from forecast_platform.workflow_definitions import build_workflow_definitions

    settings = world(tmp_path)
    submit(settings, text_at(tmp_path, {"task": "boost"}, name="a-b"))
    with pytest.raises(WorkflowRunError, match="same asset names"):
        submit(settings, text_at(tmp_path, {"task": "boost"}, name="a_b"))
    (settings.warehouse / "_workflows" / "broken.yaml").write_text("obsrv: [")
    (settings.warehouse / "_workflows" / "latin.yaml").write_bytes("obsrv:\n  name: café".encode("latin-1"))
    kept = settings.warehouse / "_workflows"
    (kept / "copy.yaml").write_text((kept / "a_b.yaml").read_text())
    (kept / "not so-good.yaml").write_text("obsrv: [")
    (kept / "not_so_good.yaml").write_text("obsrv: [")
    graph = build_workflow_definitions(settings).resolve_asset_graph()
    assert {"/".join(key.path) for key in graph.get_all_asset_keys()} == {
        "ensembles/a_b/boost", "ensembles/a_b/model", "ensembles/broken/unreadable", "ensembles/copy/unreadable",
        "ensembles/latin/unreadable", "ensembles/not_so_good/unreadable", "ensembles/not_so_good_2/unreadable",
    }  # fmt: skip
    told = graph.get(AssetKey(["ensembles", "copy", "unreadable"])).description or ""
    assert "copy.yaml: line 1, column 1: the workflow 'a-b' belongs in a_b.yaml" in told


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_from_its_last_finished_fit(tmp_path: Path) -> None:
    settings = world(tmp_path)
    file = tmp_path / "small.yaml"
    text = text_at(tmp_path, *TASKS, bases=["linear", "xgboost", "forest"])
    file.write_text(text)
    environment = {**os.environ, "FORECAST_PLATFORM_WAREHOUSE": str(settings.warehouse), "OMP_NUM_THREADS": "1"}
    environment["FORECAST_PLATFORM_WORKERS"] = "1"
    command = ("ensemble", "run", str(file))
    fits = settings.warehouse / "_artifacts" / "ensembles" / "small"
    process = Command(*command, env=environment)
    deadline = time.monotonic() + 120
    while len(kept := [one for one in fits.rglob("*.zip") if one.parent.name != "tasks"]) < 4:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = {one: one.stat().st_mtime_ns for one in kept}
    workflow = read_workflow(text)
    assert {one.task: one.state for one in status(settings, workflow)}["model"] == "waiting"
    done = Command(*command, env=environment)
    told = done.told(PATIENCE)
    assert done.returncode == 0, told
    assert {one.state for one in status(settings, workflow)} == {"finished"}
    assert {one: one.stat().st_mtime_ns for one in before} == before, "no finished fit is made again"
    attempts = {one.task: one.attempts for one in status(settings, workflow)}
    assert attempts["route_cluster"] == 1, "a finished task is not begun again"
    again = Command(*command, env=environment)
    told = again.told(PATIENCE)
    assert again.returncode == 0, told
    assert {one.task: one.attempts for one in status(settings, workflow)} == attempts
