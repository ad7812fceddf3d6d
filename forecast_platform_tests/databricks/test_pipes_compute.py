"""compute=databricks_serverless and databricks_classic through real Dagster runs: what is made, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.compute import remote_for
from forecast_platform.doctor.databricks import databricks
from forecast_platform.graph.pipes_step import DagsterStep
from forecast_platform.host import progress
from forecast_platform.pipeline.inference import forecast
from forecast_platform.remote import entry, parameters
from forecast_platform.work.platform import VERSION_TAG, Platform
from forecast_platform.work.results import RefusedError
from forecast_platform.work.tasks import TaskRequest
from forecast_platform_tests.databricks.pipes_worlds import FIRST, LAST, MESSAGES, World, both, day, keys
from forecast_platform_tests.databricks.test_pipes_faults import beside
from forecast_platform_tests.databricks_workspace import RunFault, Workspace
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import days

pytestmark = pytest.mark.slow


def test_a_forecast_on_serverless_is_the_local_one(world: World, workspace: Workspace, tmp_path: Path) -> None:
    twin = world.twin(tmp_path / "twin")
    world.options["budget_policy_id"] = "policy-7"
    workspace.faults.add(RunFault("slow_start", seconds=1))  # so that the wait for the compute is seen
    finished = world.forecast()
    assert finished.success, finished.messages
    assert not forecast(twin.platform, "Alpha", "naive", days(FIRST, LAST)).failed
    np.testing.assert_array_equal(world.paths(), twin.paths())
    assert world.partitions() == {"MATERIALIZED": keys()}
    [run] = workspace.jobs.runs.values()
    assert run.body["budget_policy_id"] == "policy-7"
    metadata = world.metadata(finished.run_id)
    assert (metadata["rows_written"], metadata["keys_written"], metadata["databricks_runs"]) == (600, 3, 1)
    assert f"{workspace.host}/jobs/{run.job_id}/runs/{run.run_id}" in metadata["databricks_urls"]
    assert "policy-7" in metadata["databricks_cost"]
    log = world.log(finished.run_id)
    for told in (f"Databricks run {run.run_id}", "chunk: PENDING", "compute local", "3 written, 0 failed", "SUCCESS"):
        assert told in log
    assert not world.book()
    assert not list(workspace.local(MESSAGES).iterdir()), "context and messages are removed"
    world.no_secret_anywhere()
    again = world.forecast()
    assert again.success
    assert len(workspace.jobs.runs) == 1, "what is there and unchanged starts no run"
    assert world.metadata(again.run_id)["keys_skipped"] == 3


def test_a_step_is_refused_before_any_run_where_nothing_or_other_code_is_deployed(
    world: World, workspace: Workspace
) -> None:
    record = workspace.local("/Shared/forecast_platform/deployment.json")
    deployed = record.read_text()
    for text, said in (
        (deployed.replace('"source": "', '"source": "0'), "is not the code that runs here"),
        (None, "nothing is deployed"),
    ):
        if text is None:
            record.unlink()
        else:
            record.write_text(text)
        finished = world.forecast()
        assert finished.status == "FAILURE"
        assert any(said in message and "databricks deploy" in message for message in finished.messages)
    assert not workspace.jobs.runs
    assert not world.dates()
    assert "MATERIALIZED" not in world.partitions()


def test_a_step_without_credentials_is_refused_without_another_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    finished = world.forecast()
    assert finished.status == "FAILURE"
    assert "no usable Databricks credentials" in finished.messages[0]
    assert not any(
        entry.dagster_event and entry.dagster_event.is_step_up_for_retry for entry in world.events(finished.run_id)
    )


HELD = """
import time
from pathlib import Path
from forecast_platform.host import progress
from forecast_platform.remote import task
progress._LOG_EVERY = 0.0
do = task.do
def held(platform, request, info):
    info("as far as this")
    for _ in range(1000):
        if Path({released!r}).exists():
            break
        time.sleep(0.1)
    return do(platform, request, info)
task.do = held
"""


@both
def test_what_a_run_logs_is_in_dagster_while_it_goes_on(
    world: World, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its keys too. This process must not say the same of its own: only the run's lines are looked for.
    monkeypatch.setattr(progress, "_LOG_EVERY", math.inf)
    folder, released = tmp_path / "held", tmp_path / "released"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HELD.format(released=str(released)))
    workspace.environment["PYTHONPATH"] = f"{folder}{os.pathsep}{Path(__file__).resolve().parents[2]}"
    seen: list[tuple[str, str | None, str]] = []

    def look() -> None:
        until(lambda: workspace.jobs.runs)
        [run] = workspace.jobs.runs.values()
        [going] = world.launcher.instance.get_runs()
        until(lambda: "as far as this" in world.log(going.run_id))
        seen.append((run.state.life, run.state.result, world.log(going.run_id)))
        released.touch()

    with beside(look):
        finished = world.forecast()
    assert finished.success, finished.messages
    [(life, result, log)] = seen
    assert (life, result) == ("RUNNING", None)
    for said in ("begun, forecast-platform", "chunk: RUNNING", f"{workspace.host}/jobs/"):
        assert said in log
    assert "3 written" not in log
    assert "keys done" not in log
    assert "3 of 3 keys done" in world.log(finished.run_id)


def test_doctor_looks_at_the_deployment_and_the_volume(world: World, workspace: Workspace) -> None:
    def found() -> list[tuple[str, str]]:
        return [(one.subject, one.severity) for one in databricks(world.settings)]

    there = [("databricks", "good"), ("cluster", "good"), ("deployment", "good")]
    assert found() == [*there, ("volume", "good")]
    assert not list(workspace.local(MESSAGES).iterdir())
    workspace.faults.add(_refused_volume())
    assert found() == [*there, ("volume", "error")]
    workspace.tokens.clear()
    [refused] = databricks(world.settings)
    assert (refused.severity, "DATABRICKS_TOKEN" in refused.mend) == ("error", True)


def test_a_call_without_a_dagster_step_says_so(world: World) -> None:
    with pytest.raises(RefusedError, match="from a Dagster step, and this is none"):
        forecast(Platform.from_settings(world.settings), "Alpha", "naive", days(FIRST, LAST))


def test_a_volume_that_is_not_there_is_named_with_the_sql_that_makes_it(world: World, workspace: Workspace) -> None:
    workspace.faults.add(_refused_volume())
    finished = world.forecast()
    assert finished.status == "FAILURE"
    assert "CREATE VOLUME IF NOT EXISTS commodity.forecast.pipes" in "\n".join(finished.messages)
    assert not workspace.jobs.runs
    assert not world.book()


def _refused_volume() -> object:
    from forecast_platform_tests.databricks_workspace import Fault

    return Fault(
        "error", f"/api/2.0/fs/directories{MESSAGES}/*", times=9, status=404, code="NOT_FOUND", message="no volume"
    )


def test_a_chunk_runs_without_pipes_too(
    small: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = World(small, workspace, "local")
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(alone.config()))
    chunk = TaskRequest.of_dates("chunk", "Alpha", "naive", "v1.0", (day(FIRST),)).to_dict()
    arguments = [f"--config={alone.config()}", "--compute=local"]
    monkeypatch.setattr(sys, "argv", ["task", "--action=chunk", *arguments, f"--task={json.dumps(chunk)}"])
    entry.main()
    assert "1 written, 0 failed, 200 rows" in capsys.readouterr().out
    assert alone.dates() == {day(FIRST)}
    for wrong, said in (
        (["--action=fit", *arguments, f"--task={json.dumps(chunk)}"], "a fit is wanted"),
        (["--action=chunk", *arguments], "a chunk is wanted"),
    ):
        monkeypatch.setattr(sys, "argv", ["task", *wrong])
        with pytest.raises(parameters.ParameterError, match=said):
            entry.main()
    unknown = json.dumps({**chunk, "subject": ["Gold", "naive", "v1.0"]})
    monkeypatch.setattr(sys, "argv", ["task", "--action=chunk", *arguments, f"--task={unknown}"])
    with pytest.raises(
        parameters.TaskFailedError, match="'Gold' is not configured on the cluster, which knows Alpha, Beta"
    ):
        entry.main()


def test_a_classic_run_has_its_cluster_tags_and_gives_the_local_bits(
    world: World, workspace: Workspace, tmp_path: Path
) -> None:
    twin = world.twin(tmp_path / "twin")
    world.compute = "databricks_classic"
    world.options |= {"tags": {"cost_center": "desk-1"}, "pending_warning_seconds": 0.2}
    workspace.faults.add(RunFault("slow_start", seconds=1.5))
    finished = world.forecast()
    assert finished.success, finished.messages
    assert not forecast(twin.platform, "Alpha", "naive", days(FIRST, LAST)).failed
    np.testing.assert_array_equal(world.paths(), twin.paths())
    [run] = workspace.jobs.runs.values()
    cluster = run.tasks[0].spec["new_cluster"]
    assert cluster["num_workers"] == 0
    assert cluster["custom_tags"]["cost_center"] == "desk-1"
    assert "cost_center=desk-1" in world.metadata(finished.run_id)["databricks_cost"]
    assert "acquiring more instances" in world.log(finished.run_id), "a long wait is said, with why"
    assert not workspace.count("POST", "/dbfs/put"), "the volume is used, not DBFS"


def test_serverless_runs_have_the_variables_that_a_new_cluster_would_have(world: World, workspace: Workspace) -> None:
    world.options |= {"environment": {"FORECAST_PLATFORM_SEED": "not a number"}}
    finished = world.forecast()
    assert finished.status == "FAILURE"
    assert "'not a number'" in "\n".join(finished.messages)
    world.options |= {"environment": {"FORECAST_PLATFORM_LOG_JSON": "1"}, "secrets": {"FEED": "keys/gone"}}
    finished = world.forecast()
    assert finished.status == "FAILURE"
    assert "FEED cannot be read from keys/gone" in "\n".join(finished.messages)
    assert "READ on the scope" in "\n".join(finished.messages)
    assert not world.dates()


def test_a_classic_run_uses_the_existing_cluster(world: World, workspace: Workspace) -> None:
    created = workspace.client().clusters.create(
        spark_version="17.3.x-scala2.13", node_type_id="i3.xlarge", num_workers=1
    )
    cluster = created.bind()["cluster_id"]
    world.compute = "databricks_classic"
    world.options["existing_cluster_id"] = cluster
    assert world.forecast().success
    [run] = workspace.jobs.runs.values()
    assert run.tasks[0].spec["existing_cluster_id"] == cluster


@pytest.mark.parametrize(
    ("compute", "model"),
    [("databricks_serverless", "naive"), ("databricks_serverless", "xgboost"), ("databricks_classic", "naive")],
)
def test_training_and_forecasting_give_the_local_fit_and_paths(
    world: World, workspace: Workspace, tmp_path: Path, compute: str, model: str
) -> None:
    world.models = ("naive", model) if model != "naive" else ("naive", "random_walk")
    world.deploy()
    twin = world.twin(tmp_path / "twin")
    world.compute = compute
    for each in (world, twin):
        trained = each.train("2018-01-01", model, **{VERSION_TAG: "v2"})
        assert trained.success, trained.messages
        made = each.forecast(LAST, LAST, model, **{VERSION_TAG: "v2"})
        assert made.success, made.messages
    assert world.fits(model, "v2") == twin.fits(model, "v2")
    assert set(world.fits(model, "v2")) == {dt.date(2017, 12, 31)}
    np.testing.assert_array_equal(world.paths(model), twin.paths(model))
    fit, chunk = workspace.jobs.runs.values()
    assert [fit.tasks[0].key, chunk.tasks[0].key] == ["fit", "chunk"]
    assert world.partitions(f"trained_models/{model}")["MATERIALIZED"] == {"2018-01-01|Alpha"}
    again = world.train("2018-01-01", model, **{VERSION_TAG: "v2"})
    assert again.success
    assert len(workspace.jobs.runs) == 2, "a window whose fit is current starts no run"


def test_each_window_is_a_run_and_overwrite_makes_dates_anew(world: World, workspace: Workspace) -> None:
    from forecast_platform.work.platform import OVERWRITE_TAG

    span = ("2017-12-30", "2018-01-02")
    assert world.forecast(*span).success
    assert len(workspace.jobs.runs) == 2
    first = world.paths()
    assert world.forecast(*span, **{OVERWRITE_TAG: "true"}).success
    assert len(workspace.jobs.runs) == 4
    np.testing.assert_array_equal(world.paths(), first)
    assert world.dates() == {day(text) for text in ("2017-12-30", "2017-12-31", "2018-01-01", "2018-01-02")}


def test_a_backfill_from_the_command_line_trains_forecasts_and_scores(
    world: World, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecast_platform import settings
    from forecast_platform.cli.main import main

    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(world.config()))
    settings.load.cache_clear()
    chosen = ["--commodity", "Alpha", "--models", "naive", "--model-version-tag", "v2"]
    assert main(["backfill", *chosen, "--start-date", FIRST, "--end-date", LAST, "--train"]) == 0, capsys.readouterr()
    assert [run.tasks[0].key for run in workspace.jobs.runs.values()] == ["fit", "chunk"]
    assert world.dates() == set(days(FIRST, LAST))
    settings.load.cache_clear()


def test_remote_runs_are_limited_in_number(world: World, workspace: Workspace) -> None:
    world.options["concurrent_runs"] = 1
    assert world.forecast("2017-12-31", "2018-01-01").success
    one, two = workspace.jobs.runs.values()
    assert two.state.created >= (one.state.ended or 0)


@both
def test_a_plain_task_is_a_run_whose_reply_is_its_value(world: World, workspace: Workspace) -> None:
    from dagster import MaterializeResult, asset, materialize

    found = []

    @asset
    def thing(context):  # type: ignore[no-untyped-def]
        platform = replace(Platform.from_settings(world.settings), step=DagsterStep(context))
        compute = remote_for(world.settings)
        assert compute is not None
        found.extend(
            compute.perform(platform, [TaskRequest.plain("describe", "the cluster", {"libraries": ["numpy"]})])
        )
        return MaterializeResult()

    assert materialize([thing]).success
    [result] = found
    assert (result.written, result.failed) == ({"the cluster"}, {})
    assert result.value["libraries"]["numpy"] is not None
    [run] = workspace.jobs.runs.values()
    assert run.tasks[0].key == "describe"
    assert [str(run.run_id) in one.url for one in result.runs] == [True]
