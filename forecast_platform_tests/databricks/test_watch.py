"""What is said of a run while it is watched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from forecast_platform.clients.databricks import watch
from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.clients.databricks.monitor import life_of
from forecast_platform.clients.databricks.progress_file import PARAMETER, progress_path
from forecast_platform.clients.databricks.watch import Watch
from forecast_platform.settings.databricks import DatabricksOptions
from forecast_platform_tests.databricks_workspace import Fault, Workspace
from forecast_platform_tests.waiting import until

VOLUME = "/Volumes/commodity/forecast/pipes"
PATH = progress_path(VOLUME, "forecast-platform-0123")


@pytest.fixture
def connection(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    return Connection(DatabricksOptions(), pause=0.01)


@pytest.fixture
def running(workspace: Workspace, connection: Connection) -> Callable[[str], int]:
    """Starts a run that goes on for long, whose parameter names a progress file; returns its id."""
    workspace.spark = False
    workspace.local("/Workspace/long").write_text("# Databricks notebook source\nimport time; time.sleep(60)\n")

    def start(path: str) -> int:
        from databricks.sdk.service import jobs

        task = {
            "task_key": "backfill",
            "notebook_task": {"notebook_path": "/Workspace/long", "base_parameters": {PARAMETER: path}},
            "new_cluster": {"spark_version": "15.4.x-cpu-ml-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 1},
        }
        run_id = int(connection.client.jobs.submit(tasks=[jobs.SubmitTask.from_dict(task)]).bind()["run_id"])
        until(lambda: life_of(connection.client.jobs.get_run(run_id)) == "RUNNING")
        return run_id

    return start


def tell(workspace: Workspace, done: int, left: float | None) -> None:
    """What the run's task does."""
    path = workspace.local(PATH)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"what": "forecasts A naive", "done": done, "total": 2000, "left_seconds": left}))


def test_news_of_the_keys_is_said_once(
    workspace: Workspace, connection: Connection, running: Callable[[str], int]
) -> None:
    said: list[str] = []
    watched = Watch(connection, running(PATH), said.append)
    assert watched.look() is None
    told = len(said)
    for done, left in ((100, None), (100, None), (101, 380.0), (600, 85.2)):
        tell(workspace, done, left)
        assert watched.look() is None
    assert [text.split(" ", 1)[1] for text in said[told:]] == [
        "backfill: 100 of 2,000 keys (5 %), forecasts A naive",
        "backfill: 600 of 2,000 keys (30 %), forecasts A naive, 1 min 25 s left at this pace",
    ]


@pytest.mark.parametrize("status", [500, 503])
def test_a_file_that_cannot_be_read_now_does_not_hold_up_the_watch(
    workspace: Workspace,
    connection: Connection,
    running: Callable[[str], int],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "_PAUSE_SECONDS", 0.0)
    said: list[str] = []
    watched = Watch(connection, running(PATH), said.append)
    assert watched.look() is None
    tell(workspace, 600, None)
    workspace.faults.add(Fault("error", "*/progress/*", status=status, code="TEMPORARILY_UNAVAILABLE", times=99))
    told, began = len(said), time.monotonic()
    assert watched.look() is None
    # Calls that matter are tried again for two minutes.
    assert time.monotonic() - began < 60
    assert not said[told:]
    workspace.faults.clear()
    assert watched.look() is None
    [text] = said[told:]
    assert "600 of 2,000 keys" in text, "at the next look it is read"


def test_the_file_of_somebody_else_s_job_is_not_read(
    workspace: Workspace, connection: Connection, running: Callable[[str], int]
) -> None:
    watched = Watch(connection, running(f"{VOLUME}/their/state.json"), lambda _: None)
    assert watched.look() is None
    assert not workspace.count("GET", "state.json")
