"""A workspace of each test's own, and real clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forecast_platform_tests.databricks.pipes_worlds import World
from forecast_platform_tests.databricks.shells import Shell, log_in, ready
from forecast_platform_tests.databricks.shipping import Shipping, shipped
from forecast_platform_tests.databricks_workspace import Workspace

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

NODE = {"spark_version": "15.4.x-cpu-ml-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 1}
"""A cluster the workspace accepts."""


@pytest.fixture(autouse=True)
def _no_own_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the caller's credentials nor their profile reach a test."""
    import os

    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "databricks", environment={"OMP_NUM_THREADS": "1"}) as running:
        yield running


@pytest.fixture
def client(workspace: Workspace) -> WorkspaceClient:
    return workspace.client()


def script(workspace: Workspace, source: str, name: str = "script.py") -> str:
    """Put a Python file in the workspace; returns its path there."""
    workspace.local(f"/Workspace/{name}").write_text(source)
    return f"/Workspace/{name}"


def python_task(path: str, *parameters: str, key: str = "main", **more: Any) -> Any:
    """A spark_python_task on a new cluster."""
    from databricks.sdk.service import jobs

    task = {"python_file": path, "parameters": list(parameters)}
    return jobs.SubmitTask.from_dict({"task_key": key, "spark_python_task": task, "new_cluster": NODE, **more})


@pytest.fixture
def world(small: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    """A trained small platform, deployed to the workspace: on compute databricks_serverless, or what `both` says."""
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    workspace.spark = False
    made = World(small, workspace, getattr(request, "param", "databricks_serverless"))
    made.deploy()
    return made


@pytest.fixture
def shipping(small: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Shipping:
    """A trained small platform that ships its steps to the workspace."""
    return shipped(small, workspace, monkeypatch)


@pytest.fixture
def shell(
    capsys: pytest.CaptureFixture[str], workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """A shell that is logged in to the workspace."""
    log_in(workspace, tmp_path, monkeypatch)
    return Shell(capsys, workspace)


@pytest.fixture
def deployed(shell: Shell, workspace: Workspace) -> Workspace:
    """The workspace with the platform deployed from the shell."""
    return ready(shell, workspace)
