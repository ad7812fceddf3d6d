"""compute=databricks over real Dagster runs: commands and the UI ship their steps to the local workspace."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dagster import AssetKey, DagsterInstance

from forecast_platform.partitions import Partitions
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.platform import Platform
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import DAY_COLUMNS, DISTRIBUTIONS, TRAINED_MODELS
from forecast_platform_tests.compute.engines import needs_java, needs_sail
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.test_cli import environment
from forecast_platform_tests.ui.running import Running, keys
from forecast_platform_tests.waiting import PATIENCE, until
from forecast_platform_tests.worlds import days, settings_for

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

pytestmark = pytest.mark.slow

TOP = Path(__file__).resolve().parents[2]
WINDOW = dt.date(2018, 1, 1)
FIRST, LAST = "2018-02-01", "2018-02-05"
BACKFILL = ("backfill", "--commodity", "Alpha", "--models", "naive", "--start-date", FIRST, "--end-date", LAST)


@dataclass
class Shipping:
    """A platform whose steps are shipped to a workspace; both see one warehouse folder."""

    root: Path
    workspace: Workspace
    variables: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "forecast_platform.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.variables, cwd=self.root, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """One command to its end: exit code and what it printed."""
        process = self.start(*arguments)
        told, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, told

    def instance(self) -> DagsterInstance:
        return DagsterInstance.get()

    def submitted(self) -> Any:
        """The first remote run, once it is there."""
        return until(lambda: next(iter(self.workspace.jobs.runs.values()), None), "a submitted run")

    def paths(self) -> np.ndarray:
        platform = Platform.from_settings(settings_for(self.root))
        return paths_of(platform)

    def dates(self) -> set[dt.date]:
        """Dates that have stored paths."""
        where = {"commodity": "Alpha", "model_name": "naive", "path_id": 0}
        rows = Platform.from_settings(settings_for(self.root)).warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)
        return set(rows["forecast_date"].to_pylist())

    @property
    def states(self) -> list[tuple[str, str | None]]:
        return [(run.state.life, run.state.result) for run in self.workspace.jobs.runs.values()]


@pytest.fixture
def shipping(small: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Shipping:
    """The platform with sail for its cluster's Spark, which starts at once."""
    workspace.spark = False
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        **environment(small),
        "PYTHONPATH": str(TOP),
        "FORECAST_PLATFORM_COMPUTE": "databricks",
        "FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT": json.dumps({"FORECAST_PLATFORM_SPARK__MASTER": "sail"}),
        "FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS": "0.3",
        "DATABRICKS_HOST": workspace.host,
        "DATABRICKS_TOKEN": workspace.token,
    }
    monkeypatch.setenv("DAGSTER_HOME", str(small / "dagster"))
    return Shipping(small, workspace, variables)


def paths_of(platform: Platform) -> np.ndarray:
    where = {"commodity": "Alpha", "model_name": "naive", "model_version": "v1.0"}
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "path_id", *DAY_COLUMNS], where)
    rows = rows.sort_by([("forecast_date", "ascending"), ("path_id", "ascending")])
    return np.column_stack([rows[name].to_numpy() for name in DAY_COLUMNS])


def models_of(platform: Platform, version: str) -> list[tuple[str, str]]:
    rows = platform.warehouse.read(TRAINED_MODELS, where={"commodity": "Alpha", "model_version": version}).to_pylist()
    return [(row["fitted_model_json"], row["model_id"]) for row in rows]


def materialized(instance: DagsterInstance, *asset: str) -> set[str]:
    return instance.get_materialized_partitions(AssetKey(asset))


def failed(root: Path, instance: DagsterInstance, *asset: str) -> set[str]:
    """Partitions that the UI shows as failed."""
    chosen = keys(["Alpha"], (FIRST, LAST))
    found = instance.get_status_by_partition(AssetKey(asset), chosen, Partitions(settings_for(root)).days) or {}
    return {key for key, status in found.items() if status is not None and status.value == "FAILED"}


def run_statuses(instance: DagsterInstance) -> list[str]:
    return sorted(run.status.value for run in instance.get_runs() if run.job_name == "forecast")


def told_by_runs(instance: DagsterInstance) -> str:
    """Every event and log of every run."""
    return "\n".join(
        f"{entry.user_message} {entry.dagster_event}"
        for run in instance.get_runs()
        for entry in instance.all_logs(run.run_id)
    )


def files_with(folder: Path, secret: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


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
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert (first.state.life, first.state.result) == ("TERMINATED", "CANCELED"), "its end was waited for"
    assert not shipping.dates()
    killed = shipping.start(*BACKFILL)
    until(lambda: len(shipping.workspace.jobs.runs) == 2, "the second run")
    killed.kill()
    killed.communicate()
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
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RunFault("cluster", code="QUOTA_EXCEEDED"), ("QUOTA_EXCEEDED", "raise the quota")),
        (RunFault("cluster"), ("CLOUD_PROVIDER_LAUNCH_FAILURE", "the cluster did not start")),
        (RunFault("lost", seconds=1.0), ("Could not reach driver", "a larger driver_node_type")),
        (RunFault("skipped"), ("SKIPPED", "another run of this job is going on")),
        (RunFault("task"), ("this failure was asked for", "Traceback")),
        (RunFault("library", message="no distribution"), ("no distribution", "deploy again")),
        (RunFault("timeout", seconds=1.0), ("TIMEDOUT", "raise databricks.timeout_seconds")),
    ],
    ids=["quota", "cluster", "lost", "skipped", "task", "library", "timeout"],
)
def test_a_remote_run_that_fails_fails_the_step_with_the_remote_error_and_its_mend(
    shipping: Shipping, fault: RunFault, said: tuple[str, ...]
) -> None:
    shipping.workspace.faults.add(fault)
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    for text in (*said, f"{shipping.workspace.host}/jobs/"):
        assert text in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"]
        assert not materialized(instance, "distributions", "naive")
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
        assert shipping.workspace.token not in told_by_runs(instance)
    assert not len(shipping.paths())


@needs_sail
def test_a_service_principal_ships_a_step_and_its_secret_is_nowhere(shipping: Shipping) -> None:
    workspace, secret = shipping.workspace, "a-principal-s-own-secret"
    workspace.oauth_clients["service"] = secret
    del workspace.tokens[workspace.token], shipping.variables["DATABRICKS_TOKEN"]
    shipping.variables |= {"DATABRICKS_CLIENT_ID": "service", "DATABRICKS_CLIENT_SECRET": secret}
    code, told = shipping.run(*BACKFILL)
    assert code == 0, told
    assert {run.body["run_name"].split(" ")[0] for run in workspace.jobs.runs.values()} == {"forecast-platform"}
    shipping.variables["DATABRICKS_CLIENT_SECRET"] = wrong = "another-secret-that-is-wrong"
    code, refused = shipping.run(*BACKFILL, "--overwrite")
    assert code == 1
    assert "invalid_client" in refused
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE", "SUCCESS"]
        for hidden in (secret, wrong, *workspace.tokens):
            assert hidden not in told + refused + told_by_runs(instance)
            for path in (file for file in shipping.root.rglob("*") if file.is_file()):
                assert hidden.encode() not in path.read_bytes(), path
    for hidden in (secret, *workspace.tokens):
        assert not [path for path in (workspace.root / "dbfs").rglob("*") if path.is_file() and _holds(path, hidden)]


def _holds(path: Path, text: str) -> bool:
    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    return text.encode() in content


@needs_sail
@pytest.mark.parametrize("fate", ["cancelled in the workspace", "forgotten by it"])
def test_a_run_that_is_ended_elsewhere_fails_the_step_and_says_what_became_of_it(
    shipping: Shipping, client: WorkspaceClient, fate: str
) -> None:
    workspace = shipping.workspace
    workspace.faults.add(RunFault("slow_start", seconds=120))
    process = shipping.start(*BACKFILL)
    run = shipping.submitted()
    until(lambda: workspace.count("GET", "/jobs/runs/get") > 1, "the watch")
    if fate == "cancelled in the workspace":
        client.jobs.cancel_run(run.run_id)
    else:
        del workspace.jobs.runs[run.run_id]
    told, _ = process.communicate(timeout=PATIENCE)
    run.cancelled.set()
    assert process.returncode == 1, told
    expected = {"cancelled in the workspace": "ended as CANCELED", "forgotten by it": "does not exist"}[fate]
    assert expected in told
    assert "is kept and not made twice" in told
    assert "may still go on" not in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"], "nobody cancelled it in Dagster"
        assert not materialized(instance, "distributions", "naive")
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
    assert not len(shipping.paths())


@needs_sail
def test_a_token_that_expires_tells_so_and_the_run_that_went_on_is_ended_by_the_next(shipping: Shipping) -> None:
    workspace = shipping.workspace
    user = workspace.tokens[workspace.token]
    workspace.faults.add(RunFault("slow_start", seconds=120, times=2))
    process = shipping.start(*BACKFILL)
    first = shipping.submitted()
    del workspace.tokens[workspace.token]
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the token is wrong or has expired" in told
    assert f"end it with `forecast-platform databricks cancel {first.run_id}`" in told
    assert first.state.life == "PENDING"
    with shipping.instance() as instance:
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
    # Cancelled while the workspace refuses: the Dagster run is cancelled all the same.
    workspace.tokens[workspace.token] = user
    shipping.variables["FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS"] = "5"
    process = shipping.start(*BACKFILL)
    second = until(lambda: (list(workspace.jobs.runs.values())[1:] or [None])[0], "the second run")
    assert first.state.result == "CANCELED", "ended before its step was started again"
    looked = workspace.count("GET", "/jobs/runs/get")
    until(lambda: workspace.count("GET", "/jobs/runs/get") > looked, "the watch")
    del workspace.tokens[workspace.token]
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    with shipping.instance() as instance:
        assert f"Databricks run {second.run_id} may go on still" in told_by_runs(instance)
        assert run_statuses(instance) == ["CANCELED", "FAILURE"]
        assert not materialized(instance, "distributions", "naive")
        assert workspace.token not in told_by_runs(instance)
    assert workspace.token not in told
    assert not len(shipping.paths())


def test_without_dbfs_the_step_fails_before_any_remote_run_and_says_what_does_without_it(shipping: Shipping) -> None:
    shipping.workspace.dbfs_enabled = False
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    assert "Public DBFS root is disabled" in told
    assert "set compute to databricks_serverless or databricks_classic" in told
    expected = set(keys(["Alpha"], (FIRST, LAST)))
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"]
        assert failed(shipping.root, instance, "distributions", "naive") == expected
        assert not materialized(instance, "distributions", "naive")
        assert not materialized(instance, "point_forecasts", "naive")
    assert not len(shipping.paths())
    # A launcher that cannot be made fails the run before any step; that is told too.
    (shipping.root / "pytest-tmp").mkdir()
    shipping.variables["TMPDIR"] = str(shipping.root / "pytest-tmp")
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    assert "set TMPDIR to another folder" in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE", "FAILURE"]
        assert not materialized(instance, "distributions", "naive")
        assert not materialized(instance, "point_forecasts", "naive")
    assert not len(shipping.paths())
    assert not shipping.workspace.jobs.runs


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
