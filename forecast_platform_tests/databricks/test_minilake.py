"""A second opinion: the unmodified Pipes clients against an emulator that somebody else wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from forecast_platform_tests.databricks import minilake
from forecast_platform_tests.databricks.conftest import NODE
from forecast_platform_tests.databricks.test_pipes_clients import (
    VOLUME,
    VOLUMES,
    _materialize,
    _serverless_client,
    _source,
)

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minilake.Minilake]:
    try:
        python = minilake.install(tmp_path_factory.mktemp("minilake_environment"))
    except minilake.NotInstallableError as error:
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
