"""compute=databricks_serverless and databricks_classic through real Dagster runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forecast_platform_tests.databricks.pipes_worlds import World, keys
from forecast_platform_tests.databricks_workspace import Workspace


@pytest.fixture
def world(small: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    workspace.spark = False
    made = World(small, workspace, "databricks_serverless")
    made.deploy()
    return made


def test_a_forecast_on_serverless_is_the_local_one(world: World, workspace: Workspace, tmp_path: Path) -> None:
    finished = world.forecast()
    assert finished.success, finished.messages
    np.testing.assert_array_equal(world.paths(), world.local_paths(tmp_path))
    assert world.partitions() == {"MATERIALIZED": keys()}
