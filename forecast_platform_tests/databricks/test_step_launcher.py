"""The real databricks_pyspark_step_launcher, unmodified, against the workspace."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dagster import AssetKey, DagsterInstance, execute_job, reconstructable

from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.graph.launchers import step_launcher
from forecast_platform.settings import load
from forecast_platform.settings.databricks import DatabricksOptions
from forecast_platform_tests.databricks.conftest import NODE
from forecast_platform_tests.databricks.launched.graph import flaky_job, local_job, shipped_job
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


@pytest.fixture
def instance(tmp_path: Path) -> Any:
    (tmp_path / "dagster").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made


@pytest.fixture
def package() -> Iterator[Path]:
    """What is zipped and shipped: this small graph alone. The launcher leaves out what lies under a `pytest` path."""
    with tempfile.TemporaryDirectory(prefix="shipped-") as folder:
        yield _written(Path(folder))


def _written(folder: Path) -> Path:
    target = folder / "forecast_platform_tests" / "databricks" / "launched"
    target.mkdir(parents=True)
    for part in (target, target.parent, target.parent.parent):
        (part / "__init__.py").touch()
    (target / "graph.py").write_text((Path(__file__).parent / "launched" / "graph.py").read_text())
    return folder


@pytest.fixture
def config(workspace: Workspace, package: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The launcher's configuration for the workspace, with a short interval."""
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    cluster = {
        "spark_version": NODE["spark_version"],
        "nodes": {"node_types": {"node_type_id": NODE["node_type_id"]}},
        "size": {"num_workers": 1},
    }
    return {
        "run_config": {"cluster": {"new": cluster}, "run_name": "step"},
        "permissions": {},
        "databricks_host": workspace.host,
        # Databricks' own code sets this variable, and no other, on the cluster, where the configuration is read again.
        "databricks_token": {"env": "DATABRICKS_TOKEN"},
        "secrets_to_env_variables": [],
        "local_dagster_job_package_path": str(package),
        "poll_interval_sec": 0.2,
    }


def remote_output(workspace: Workspace) -> list[dict[str, Any]]:
    """What the tasks printed and raised."""
    return [task.output for made in workspace.jobs.runs.values() for task in made.tasks]


def run(instance: DagsterInstance, config: dict[str, Any]) -> Any:
    return execute_job(
        reconstructable(shipped_job),
        instance,
        run_config={
            "resources": {"pyspark_step_launcher": {"config": config}},
            "execution": {"config": {"in_process": {}}},
        },
        tags={"dagster/partition": "2024-01-02"},
        raise_on_error=False,
    )


def test_a_step_runs_on_the_cluster_and_its_events_are_dagsters_own(
    workspace: Workspace, client: WorkspaceClient, instance: DagsterInstance, config: dict[str, Any]
) -> None:
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "password", string_value="hidden-value")
    secrets = [{"name": "PASSWORD", "key": "password", "scope": "keys"}]
    with run(instance, {**config, "secrets_to_env_variables": secrets}) as result:
        assert result.success, remote_output(workspace)
    record = instance.get_latest_materialization_event(AssetKey("heavy"))
    assert record is not None
    assert record.asset_materialization is not None
    metadata = record.asset_materialization.metadata
    assert metadata["runtime"].value == NODE["spark_version"]
    assert metadata["password"].value == len("hidden-value")
    assert record.asset_materialization.partition == "2024-01-02"
    logs = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
    assert "from the cluster" in logs
    [code] = (workspace.root / "dbfs" / "dagster_staging").rglob("code.zip")
    assert "forecast_platform_tests/databricks/launched/graph.py" in zipfile.ZipFile(code).namelist()
    assert workspace.token not in logs
    assert "hidden-value" not in logs


def test_a_failing_step_fails_the_run_with_the_remote_error(
    workspace: Workspace, instance: DagsterInstance, config: dict[str, Any]
) -> None:
    with run(instance, {**config, "env_variables": {"REMOTE_FAILS": "1"}}) as result:
        assert not result.success
    logs = "\n".join(str(entry.dagster_event) + entry.user_message for entry in instance.all_logs(result.run_id))
    assert "the remote step failed" in logs


def test_a_cluster_that_never_starts_fails_the_run(
    workspace: Workspace, instance: DagsterInstance, config: dict[str, Any]
) -> None:
    workspace.faults.add(RunFault("cluster", code="QUOTA_EXCEEDED"))
    with run(instance, config) as result:
        assert not result.success
    logs = "\n".join(str(entry.dagster_event) + entry.user_message for entry in instance.all_logs(result.run_id))
    assert "QUOTA_EXCEEDED" in logs


def test_permissions_are_granted_on_the_run_and_its_cluster(
    workspace: Workspace, instance: DagsterInstance, config: dict[str, Any]
) -> None:
    permissions = {
        "job_permissions": {"CAN_VIEW": [{"group_name": "traders"}]},
        "cluster_permissions": {"CAN_RESTART": [{"group_name": "traders"}]},
    }
    with run(instance, {**config, "permissions": permissions}) as result:
        assert result.success
    kinds = {kind for (kind, _), granted in workspace.access.lists.items() if "traders" in granted}
    assert kinds == {"jobs", "clusters"}


@pytest.fixture
def ours(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The platform's settings for its own launcher, whose calls are tried again at once."""
    workspace.environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    monkeypatch.setenv("FORECAST_PLATFORM_COMPUTE", "databricks")
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS", "0.2")
    monkeypatch.setattr(step_launcher, "Connection", partial(Connection, pause=0.01))
    load.cache_clear()
    yield
    load.cache_clear()


def flaky(instance: DagsterInstance) -> Any:
    """A run of a step that fails at its first attempt, and is tried once more."""
    return execute_job(
        reconstructable(flaky_job),
        instance,
        run_config={"execution": {"config": {"in_process": {}}}},
        tags={"dagster/partition": "2024-01-02"},
        raise_on_error=False,
    )


def logs_of(instance: DagsterInstance) -> str:
    """What the newest run's log says, events and lines."""
    run_id = instance.get_runs(limit=1)[0].run_id
    return "\n".join(f"{entry.user_message} {entry.dagster_event}" for entry in instance.all_logs(run_id))


@pytest.mark.usefixtures("ours")
def test_an_outage_while_a_run_is_watched_is_waited_out(workspace: Workspace, instance: DagsterInstance) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=2))
    workspace.faults.add(Fault("error", "*/runs/get", status=500, code="INTERNAL_ERROR", after=3, times=12))
    with flaky(instance) as result:
        assert result.success, remote_output(workspace)
    assert "after 5 tries; tried again" in logs_of(instance)
    assert len(workspace.jobs.runs) == 2, "the step's two attempts"


@pytest.mark.usefixtures("ours")
def test_an_outage_that_is_too_long_ends_the_run_and_says_so(
    workspace: Workspace, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:

    # Dagster keeps the job that it has built, and with it the settings of the test before.
    def impatient(options: DatabricksOptions) -> Connection:
        return Connection(options.model_copy(update={"outage_seconds": 0}), pause=0.01)

    monkeypatch.setattr(step_launcher, "Connection", impatient)
    workspace.faults.add(RunFault("slow_start", seconds=120))
    workspace.faults.add(Fault("error", "*/runs/get", status=500, code="INTERNAL_ERROR", after=3, times=5))
    with flaky(instance) as result:
        assert not result.success
    [remote] = workspace.jobs.runs.values()
    assert f"Databricks run {remote.run_id} is given up" in logs_of(instance)
    until(lambda: remote.state.result)
    assert remote.state.result == "CANCELED"


@pytest.mark.usefixtures("ours")
def test_a_submission_that_is_never_answered_says_that_it_may_have_been_started(
    workspace: Workspace, instance: DagsterInstance
) -> None:
    workspace.faults.add(Fault("error", "*/runs/submit", status=504, code="DEADLINE_EXCEEDED", times=5))
    with flaky(instance) as result:
        assert not result.success
    assert not workspace.jobs.runs
    assert "it may have been started all the same: run this again, which ends it first" in logs_of(instance)


@pytest.mark.usefixtures("ours")
def test_a_cancel_that_comes_while_the_step_is_shipped_ends_its_run(
    workspace: Workspace, instance: DagsterInstance
) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=120))
    workspace.faults.add(Fault("late", "*/runs/submit", seconds=2))
    # The library's one try at the cancel is refused.
    workspace.faults.add(Fault("error", "*/runs/cancel", status=500, code="INTERNAL_ERROR"))

    def cancel() -> None:
        until(lambda: workspace.jobs.runs)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    # Dagster takes it for a failure where nobody asked it to end the run.
    with flaky(instance) as result:
        assert not result.success
    thread.join(PATIENCE)
    [remote] = workspace.jobs.runs.values()
    assert remote.state.result == "CANCELED"
    assert f"Cancelling Databricks run {remote.run_id}." in logs_of(instance)


@pytest.mark.usefixtures("ours")
def test_the_platform_s_launcher_ships_each_attempt_of_a_step_that_is_retried(
    workspace: Workspace, instance: DagsterInstance
) -> None:
    with flaky(instance) as result:
        assert result.success, remote_output(workspace)
    record = instance.get_latest_materialization_event(AssetKey("flaky"))
    assert record is not None
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["attempt"].value == 1
    names = [made.name for made in workspace.jobs.runs.values()]
    assert names == [f"forecast-platform step flaky {result.run_id}"] * 2
    logs = logs_of(instance)
    assert "the share is not mounted with Bearer ***" in logs
    assert "xxxx" not in logs
    assert workspace.token not in logs


def test_locally_the_same_key_holds_no_step_launcher(instance: DagsterInstance) -> None:
    with execute_job(reconstructable(local_job), instance, tags={"dagster/partition": "2024-01-02"}) as result:
        assert result.success
