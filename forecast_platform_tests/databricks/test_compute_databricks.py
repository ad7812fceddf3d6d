"""compute=databricks over real Dagster runs: commands and the UI ship their steps to the local workspace."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import needs_java, needs_sail
from forecast_platform_tests.databricks.shipping import (
    BACKFILL,
    FIRST,
    LAST,
    TOP,
    WINDOW,
    Shipping,
    files_with,
    materialized,
    models_of,
    paths_of,
    told_by_runs,
)
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.ui.running import Running, keys
from forecast_platform_tests.waiting import PATIENCE, until
from forecast_platform_tests.worlds import days, settings_for

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.slow


@needs_java
def test_training_and_a_backfill_on_the_cluster_s_own_session_are_the_local_bits(
    shipping: Shipping, tmp_path: Path
) -> None:
    shutil.copytree(shipping.root, tmp_path / "twin")
    here = Platform.from_settings(settings_for(tmp_path / "twin"))
    train(here, "Alpha", "naive", [WINDOW], version="v2")
    assert not forecast(here, "Alpha", "naive", days(FIRST, LAST)).failed
    shipping.workspace.spark = True
    # A cluster installs the wheel for its Python workers; this JVM's find the package, and its needs, here.
    shipping.workspace.environment.update(PYTHONPATH=str(TOP), PYSPARK_PYTHON=sys.executable)
    del shipping.variables["FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT"]
    # The answer to the first submission is lost; later, the service fails while the run is watched.
    shipping.workspace.faults.add(Fault("drop_after", path="*/jobs/runs/submit"))
    shipping.workspace.faults.add(
        Fault("error", path="*/jobs/runs/get", status=500, code="INTERNAL_ERROR", after=4, times=2)
    )
    window = ("--start-date", str(WINDOW), "--end-date", str(WINDOW), "--model-version-tag", "v2")
    code, told = shipping.run("train", "--commodity", "Alpha", "--models", "naive", *window)
    assert code == 0, (told, shipping.states)
    assert shipping.states == [("TERMINATED", "SUCCESS")]
    there = Platform.from_settings(settings_for(shipping.root))
    assert models_of(there, "v2") == models_of(here, "v2")
    code, told = shipping.run(*BACKFILL)
    assert code == 0, told
    assert "distributions/naive: 5 written, 0 unchanged, 0 failed" in told
    np.testing.assert_array_equal(shipping.paths(), paths_of(here))
    train_task, forecast_task = [run.tasks[0].spec for run in shipping.workspace.jobs.runs.values()]
    assert train_task["new_cluster"]["num_workers"] == 0
    assert forecast_task["new_cluster"]["num_workers"] == 4
    assert forecast_task["new_cluster"]["custom_tags"]["application"] == "forecast_platform"
    with shipping.instance() as instance:
        assert materialized(instance, "trained_models", "naive") == {"2018-01-01|Alpha"}
        expected = set(keys(["Alpha"], (FIRST, LAST)))
        assert materialized(instance, "distributions", "naive") == expected
        assert materialized(instance, "point_forecasts", "naive") == expected
        assert materialized(instance, "distributions", "actuals") == expected, "made here, in the same run"
        assert shipping.workspace.token not in told_by_runs(instance)
    assert shipping.workspace.token not in told
    # Neither what was shipped, nor Dagster's storage, nor the warehouse holds the token.
    assert list((shipping.workspace.root / "dbfs" / "dagster_staging").rglob("step_run_ref.pkl"))
    assert not files_with(shipping.workspace.root, shipping.workspace.token)
    assert not files_with(shipping.root, shipping.workspace.token)


@needs_sail
def test_a_partial_failure_comes_back_as_the_keys_that_failed_and_the_keys_that_are_there(shipping: Shipping) -> None:
    span = ("--start-date", "2018-04-02", "--end-date", "2018-04-06")
    shipping.variables["FORECAST_PLATFORM_DATABRICKS__PENDING_WARNING_SECONDS"] = "0.2"
    shipping.workspace.faults.add(RunFault("slow_start", seconds=6))
    shipping.workspace.faults.add(Fault("error", "*/dbfs/add-block", status=500, code="INTERNAL_ERROR", after=1))
    shipping.workspace.faults.add(Fault("error", "*/jobs/runs/submit", status=502, code="BAD_GATEWAY"))
    shipping.workspace.faults.add(Fault("throttle", "*/jobs/runs/get", after=1, times=2, retry_after=0.1))
    shipping.workspace.faults.add(Fault("drop", "*/jobs/runs/get", after=5))
    code, told = shipping.run("backfill", "--commodity", "Alpha", "--models", "naive", *span)
    assert code == 1
    assert "data of Alpha end on 2018-03-29" in told
    with shipping.instance() as instance:
        good = materialized(instance, "distributions", "naive")
        assert good
        assert good == materialized(instance, "point_forecasts", "naive")
        assert good < set(keys(["Alpha"], ("2018-04-02", "2018-04-06")))
        assert good == {f"{day}|Alpha" for day in shipping.dates()}, "and no other is in the tables"
        [run] = [run for run in instance.get_runs() if run.job_name == "forecast"]
        assert run.status.value == "FAILURE"
        failures = [
            entry.dagster_event.step_failure_data
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event is not None and entry.dagster_event.is_step_failure
        ]
        [failure] = [one for one in failures if one.user_failure_data is not None]
        assert f"{len(good)} are there" in failure.user_failure_data.description
        told = told_by_runs(instance)
        for text in ("dagster-task: PENDING", "acquiring more instances", "dagster-task: SUCCESS"):
            assert text in told
    # The remote task did its work: what failed is the step. Disturbed submissions started no second one.
    assert shipping.states == [("TERMINATED", "SUCCESS")]


@needs_sail
def test_ctrl_c_ends_the_remote_run_and_a_killed_command_s_run_is_ended_by_the_next(shipping: Shipping) -> None:
    shipping.workspace.faults.add(RunFault("slow_start", seconds=60, times=2))
    process = shipping.start(*BACKFILL)
    first = shipping.submitted()
    process.send_signal(signal.SIGINT)
    told = process.told(PATIENCE)
    assert process.returncode == 130, told
    assert (first.state.life, first.state.result) == ("TERMINATED", "CANCELED"), "its end was waited for"
    assert not shipping.dates()
    killed = shipping.start(*BACKFILL)
    until(lambda: len(shipping.workspace.jobs.runs) == 2, "the second run")
    killed.kill()
    killed.wait()
    second = list(shipping.workspace.jobs.runs.values())[1]
    assert second.state.life == "PENDING"
    code, told = shipping.run(*BACKFILL)
    assert code == 0, told
    assert second.state.result == "CANCELED", "left behind by the killed command"
    assert [result for _, result in shipping.states] == ["CANCELED", "CANCELED", "SUCCESS"]
    with shipping.instance() as instance:
        statuses = [run.status.value for run in instance.get_runs() if run.job_name == "forecast"]
        assert sorted(statuses) == ["CANCELED", "FAILURE", "SUCCESS"]
        [canceled] = [run for run in instance.get_runs() if run.status.value == "CANCELED"]
        made = [entry.dagster_event for entry in instance.all_logs(canceled.run_id) if entry.is_dagster_event]
        assert not [event for event in made if event.step_key == "forecasts_naive" and event.is_step_materialization]
        assert "was left behind" in told_by_runs(instance)
        expected = set(keys(["Alpha"], (FIRST, LAST)))
        assert materialized(instance, "distributions", "naive") == expected
    assert shipping.dates() == set(days(FIRST, LAST))


@needs_sail
def test_a_run_from_the_ui_is_shipped_and_a_cancel_there_ends_the_remote_run(shipping: Shipping) -> None:
    # No run but those asked for here: after the daily deadline the sensor would launch today's.
    running = Running.start(shipping.root, {**shipping.variables, "FORECAST_PLATFORM_AUTOMATION": "false"})
    try:
        chosen = keys(["Alpha"], (FIRST, LAST))
        state = running.finished(running.launch(["distributions/naive", "point_forecasts/naive"], chosen), 180)
        assert state.status == "COMPLETED_SUCCESS", running.messages(state.runs[0].id)
        assert running.statuses("distributions/naive")["materialized"] == set(chosen)
        assert shipping.states == [("TERMINATED", "SUCCESS")]
        fits = Platform.from_settings(settings_for(shipping.root)).warehouse.read(TRAINED_MODELS)
        shipping.workspace.faults.add(RunFault("slow_start", seconds=120))
        backfill = running.launch(["trained_models/naive"], ["2017-07-01|Alpha"])
        remote = until(lambda: (list(shipping.workspace.jobs.runs.values())[1:] or [None])[0], "the remote run")
        [run] = running.backfill(backfill).runs
        terminate = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
        assert running.ask(terminate, id=run.id)["__typename"] == "TerminateRunSuccess"
        until(lambda: running.backfill(backfill).runs[0].status == "CANCELED", "its end")
        assert (remote.state.life, remote.state.result) == ("TERMINATED", "CANCELED")
        assert not running.statuses("trained_models/naive")["materialized"]
        assert Platform.from_settings(settings_for(shipping.root)).warehouse.read(TRAINED_MODELS).equals(fits)
    finally:
        running.stop()


def shown_by(workspace: Workspace) -> str:
    """All that the step left on the cluster's side: printed, raised, and its events, unpacked."""
    staged = workspace.root / "dbfs" / "dagster_staging"
    files = [path for path in staged.rglob("*") if path.is_file() and path.suffix != ".zip"]
    content = [path.read_bytes() for path in files]
    content += [gzip.decompress(text) for text in content if text.startswith(b"\x1f\x8b")]
    tasks = [str(task.output) for run in workspace.jobs.runs.values() for task in run.tasks]
    return "\n".join([*(text.decode(errors="replace") for text in content), *tasks])


@needs_sail
@pytest.mark.parametrize("name", ["TIMEZONE", "MLFLOW_TRACKING_URI"])
def test_a_secret_that_the_remote_code_shows_leaves_the_cluster_nowhere(shipping: Shipping, name: str) -> None:
    # One stops the step before it begins; the other is quoted in a note of a step that succeeds.
    # Longer than what pydantic shows uncut.
    hidden = 'sqlite:////dev/null/Pa55-"word"-of-a-store' + "-with-more" * 6
    client = shipping.workspace.client()
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "store", string_value=hidden)
    shipping.variables["FORECAST_PLATFORM_DATABRICKS__SECRETS"] = json.dumps(
        {f"FORECAST_PLATFORM_{name}": "keys/store"}
    )
    window = ("--start-date", str(WINDOW), "--end-date", str(WINDOW), "--model-version-tag", "v2")
    code, told = shipping.run("train", "--commodity", "Alpha", "--models", "naive", *window)
    with shipping.instance() as instance:
        events = told_by_runs(instance)
    for text in (told, events, shown_by(shipping.workspace)):
        assert "Pa55" not in text
    assert "***" in events, (code, told)
    assert not files_with(shipping.root, "Pa55")
