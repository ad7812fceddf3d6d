"""The real dagster-databricks Pipes clients, unmodified, against the workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dagster import DagsterInstance, asset, materialize

from forecast_platform_tests.databricks.conftest import NODE, script
from forecast_platform_tests.databricks_workspace import RunFault, Workspace

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

pytestmark = [pytest.mark.usefixtures("_no_jvm"), pytest.mark.slow]

VOLUME = "/Volumes/main/forecast/pipes"


@pytest.fixture
def _no_jvm(workspace: Workspace) -> None:
    """The reporting code asks for the cluster's tags only; one slow test below asks a JVM for them."""
    workspace.spark = False


REPORT = """
with open_dagster_pipes({arguments}) as pipes:
    pipes.log.info("from the cluster")
    if pipes.extras.get("fail"):
        raise ValueError("the remote code failed")
    pipes.report_asset_materialization(metadata={{"answer": pipes.get_extra("answer")}})
"""


def _source(context: str, writer: str, parameters: str | None = None, argument: str = "") -> str:
    names = ["open_dagster_pipes", context, writer, *([parameters] if parameters else [])]
    arguments = f"context_loader={context}(), message_writer={writer}()"
    if parameters:
        arguments += f", params_loader={parameters}({argument})"
    return f"from dagster_pipes import {', '.join(names)}\n" + REPORT.format(arguments=arguments)


DBFS = ("PipesDbfsContextLoader", "PipesDbfsMessageWriter")
VOLUMES = ("PipesUnityCatalogVolumesContextLoader", "PipesUnityCatalogVolumesMessageWriter")


def _materialize(pipes: Any, task: dict[str, Any], extras: dict[str, Any], **submit_args: Any) -> Any:
    from databricks.sdk.service import jobs

    # No annotation: dagster compares the class, and here annotations are text.
    @asset
    def remote(context):
        return pipes.run(
            context=context, task=jobs.SubmitTask.from_dict(task), extras=extras, submit_args=submit_args or None
        ).get_materialize_result()

    instance = DagsterInstance.ephemeral()
    result = materialize([remote], instance=instance, raise_on_error=False)
    return result, instance


def _dbfs_client(client: WorkspaceClient) -> Any:
    from dagster_databricks import PipesDatabricksClient, PipesDbfsMessageReader

    return PipesDatabricksClient(
        client=client, message_reader=PipesDbfsMessageReader(client=client, interval=0.2), poll_interval_seconds=0.2
    )


def _serverless_client(client: WorkspaceClient) -> Any:
    from dagster_databricks.pipes import PipesDatabricksServerlessClient, PipesUnityCatalogVolumesMessageReader

    reader = PipesUnityCatalogVolumesMessageReader(client=client, volume_path=VOLUME, interval=0.2)
    return PipesDatabricksServerlessClient(
        client=client, volume_path=VOLUME, message_reader=reader, poll_interval_seconds=0.2
    )


def _environment() -> Any:
    from databricks.sdk.service import jobs

    return jobs.JobEnvironment.from_dict({"environment_key": "default", "spec": {"client": "2"}})


def _check(result: Any, workspace: Workspace) -> None:
    assert result.success, [task.output for run in workspace.jobs.runs.values() for task in run.tasks]
    [event] = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["answer"].value == 42
    [run] = workspace.jobs.runs.values()
    assert metadata["Databricks Job Run ID"].value == str(run.run_id)
    assert metadata["Databricks Job Run URL"].value.startswith(workspace.host)


def test_the_classic_client_with_a_new_cluster_reports_through_dbfs(
    workspace: Workspace, client: WorkspaceClient
) -> None:
    path = script(workspace, _source(*DBFS))
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "new_cluster": NODE}
    result, _ = _materialize(_dbfs_client(client), task, {"answer": 42})
    _check(result, workspace)
    assert not list(workspace.local("/dbfs/tmp").iterdir())


def test_the_classic_client_with_an_existing_cluster_passes_its_parameters_as_arguments(
    workspace: Workspace, client: WorkspaceClient
) -> None:
    cluster = client.clusters.create(spark_version="15.4.x-scala2.12", node_type_id="i3.xlarge", num_workers=1)
    path = script(workspace, _source(*DBFS, "PipesCliArgsParamsLoader"))
    cluster_id = cluster.bind()["cluster_id"]
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "existing_cluster_id": cluster_id}
    result, _ = _materialize(_dbfs_client(client), task, {"answer": 42})
    _check(result, workspace)


def test_the_serverless_client_reports_through_a_volume(workspace: Workspace, client: WorkspaceClient) -> None:
    path = script(workspace, _source(*VOLUMES, "PipesCliArgsParamsLoader"))
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "environment_key": "default"}
    result, _ = _materialize(_serverless_client(client), task, {"answer": 42}, environments=[_environment()])
    _check(result, workspace)
    assert not list(workspace.local(f"{VOLUME}/tmp").iterdir())


def test_the_serverless_client_runs_a_notebook(workspace: Workspace, client: WorkspaceClient) -> None:
    source = _source(*VOLUMES, "PipesDatabricksNotebookWidgetsParamsLoader", "dbutils.widgets")
    client.workspace.upload("/nb.py", f"# Databricks notebook source\n{source}".encode())
    task = {"task_key": "main", "notebook_task": {"notebook_path": "/nb.py"}}
    result, _ = _materialize(_serverless_client(client), task, {"answer": 42})
    _check(result, workspace)


def test_a_remote_failure_fails_the_step_and_materializes_nothing(
    workspace: Workspace, client: WorkspaceClient
) -> None:
    path = script(workspace, _source(*DBFS))
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "new_cluster": NODE}
    result, instance = _materialize(_dbfs_client(client), task, {"fail": True, "answer": 1})
    assert not result.success
    assert not result.get_asset_materialization_events()
    errors = json.dumps([str(event.step_failure_data.error) for event in result.get_step_failure_events()])
    assert "Error running Databricks job" in errors
    assert workspace.token not in errors


def test_a_cluster_that_never_starts_fails_the_step(workspace: Workspace, client: WorkspaceClient) -> None:
    workspace.faults.add(RunFault("cluster"))
    path = script(workspace, _source(*DBFS))
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "new_cluster": NODE}
    result, _ = _materialize(_dbfs_client(client), task, {"answer": 1})
    assert not result.success
    [failure] = result.get_step_failure_events()
    assert "CLOUD_PROVIDER_LAUNCH_FAILURE" in str(failure.step_failure_data.error)


@pytest.mark.parametrize("times", [1, 3])
def test_throttled_polls_are_waited_out(workspace: Workspace, client: WorkspaceClient, times: int) -> None:
    from forecast_platform_tests.databricks_workspace import Fault

    workspace.faults.add(Fault("throttle", "*/runs/get", times=times, retry_after=0.1))
    path = script(workspace, _source(*DBFS))
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "new_cluster": NODE}
    result, _ = _materialize(_dbfs_client(client), task, {"answer": 42})
    _check(result, workspace)


@pytest.mark.slow
def test_the_classic_client_reports_from_a_process_with_a_spark_session(
    workspace: Workspace, client: WorkspaceClient
) -> None:
    import shutil

    if shutil.which("java") is None:
        pytest.skip("no Java: JVM Spark cannot start")
    workspace.spark = True
    path = script(workspace, _source(*DBFS) + "assert spark.range(3).count() == 3\n")
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "new_cluster": NODE}
    result, _ = _materialize(_dbfs_client(client), task, {"answer": 42})
    _check(result, workspace)
