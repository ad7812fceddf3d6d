"""A second opinion: the unmodified Pipes clients against an emulator that somebody else wrote.

The whole path of `compute=databricks_serverless` is not run on it: it has neither wheel tasks nor RAW imports (1.9).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from forecast_platform.pipeline.inference import forecast
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform
from forecast_platform.work.tasks import TaskRequest
from forecast_platform_tests.compute.engines import assert_same_tables, content
from forecast_platform_tests.databricks import minilake
from forecast_platform_tests.databricks.conftest import NODE
from forecast_platform_tests.databricks.environments import NotInstallableError, install
from forecast_platform_tests.databricks.test_pipes_clients import (
    VOLUME,
    VOLUMES,
    _materialize,
    _serverless_client,
    _source,
)
from forecast_platform_tests.worlds import days, settings_for

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

pytestmark = pytest.mark.slow

CLUSTER = {"source", "landing", "warehouse", "models", "lookback_years", "start_date", "n_paths", "min_free_gb"}
"""Settings of a cluster over the same files."""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minilake.Minilake]:
    try:
        python = install(tmp_path_factory.mktemp("minilake_environment"), [minilake.REQUIREMENT])
    except NotInstallableError as error:
        pytest.skip(str(error))
    with minilake.serving(python, tmp_path_factory.mktemp("minilake")) as running:
        yield running


@pytest.fixture
def its_client(emulator: minilake.Minilake) -> WorkspaceClient:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    return WorkspaceClient(config=Config(host=emulator.host, token="any"))


def _task(emulator: minilake.Minilake, transport: tuple[str, str], where: dict[str, Any]) -> dict[str, Any]:
    path = emulator.script(_source(*transport, "PipesCliArgsParamsLoader"), "report.py")
    return {"task_key": "main", "spark_python_task": {"python_file": path}, **where}


def test_the_volume_transport_brings_back_what_was_reported(
    emulator: minilake.Minilake, its_client: WorkspaceClient
) -> None:
    task = _task(emulator, VOLUMES, {"environment_key": "default"})
    result, _ = _materialize(_serverless_client(its_client), task, {"answer": 42})
    assert result.success
    [event] = result.get_asset_materialization_events()
    assert event.step_materialization_data.materialization.metadata["answer"].value == 42


def test_the_classic_client_takes_a_cluster_and_the_volume(
    emulator: minilake.Minilake, its_client: WorkspaceClient
) -> None:
    from dagster_databricks import PipesDatabricksClient
    from dagster_databricks.pipes import (
        PipesUnityCatalogVolumesContextInjector,
        PipesUnityCatalogVolumesMessageReader,
    )

    cluster = its_client.clusters.create(cluster_name="kept", **NODE).result()
    pipes = PipesDatabricksClient(
        client=its_client,
        context_injector=PipesUnityCatalogVolumesContextInjector(client=its_client, volume_path=VOLUME),
        message_reader=PipesUnityCatalogVolumesMessageReader(client=its_client, volume_path=VOLUME, interval=0.2),
        poll_interval_seconds=0.2,
    )
    task = _task(emulator, VOLUMES, {"existing_cluster_id": cluster.cluster_id})
    result, _ = _materialize(pipes, task, {"answer": 42})
    assert result.success
    [event] = result.get_asset_materialization_events()
    assert event.step_materialization_data.materialization.metadata["answer"].value == 42


def test_a_remote_error_fails_the_step_and_materializes_nothing(
    emulator: minilake.Minilake, its_client: WorkspaceClient
) -> None:
    task = _task(emulator, VOLUMES, {"environment_key": "default"})
    result, _ = _materialize(_serverless_client(its_client), task, {"fail": True})
    assert not result.success
    assert not result.get_asset_materialization_events()


def _output(client: WorkspaceClient) -> str:
    """What the newest run printed."""
    newest = max(client.jobs.list_runs(expand_tasks=True), key=lambda run: run.run_id or 0)
    return "\n".join(str(client.jobs.get_run_output(task.run_id or 0).logs) for task in newest.tasks or [])


CHUNK = """
import sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
names = {{"pipes_context": "--dagster-pipes-context", "pipes_messages": "--dagster-pipes-messages"}}
sys.argv[1:] = ["--action=chunk", "--config={config}", *(f"--{{name}}={{given[names[name]]}}" for name in names)]
from forecast_platform.remote import entry
entry.main()
"""


def test_a_chunk_run_there_leaves_the_same_paths(
    emulator: minilake.Minilake, its_client: WorkspaceClient, small: Path, tmp_path: Path
) -> None:
    dates = days("2018-02-01", "2018-02-03")
    here = Platform.from_settings(settings_for(small))
    there = Platform.from_settings(settings_for(small, warehouse=copytree(small / "warehouse", tmp_path / "there")))
    settings = json.loads(there.settings.model_dump_json(include=CLUSTER))
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(settings))
    path = emulator.script(CHUNK.format(config=str(tmp_path / "cluster.yaml")), "chunk.py")
    task = {"task_key": "main", "spark_python_task": {"python_file": path}, "environment_key": "default"}
    request = TaskRequest.of_dates("chunk", "Alpha", "naive", "v1.0", tuple(dates))
    result, instance = _materialize(_serverless_client(its_client), task, {"task": request.to_dict()})
    log = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
    assert result.success, f"{log}\n{_output(its_client)}"
    assert "3 written, 0 failed" in log
    forecast(here, "Alpha", "naive", dates)
    assert content(there, DISTRIBUTIONS).num_rows == 600
    assert_same_tables(here, there)
