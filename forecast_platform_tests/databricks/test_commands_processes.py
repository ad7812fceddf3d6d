"""`submit` as a process of its own: interrupted while it watches, and killed at the moments that matter."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from forecast_platform_tests.databricks.shells import Shell, notebook
from forecast_platform_tests.databricks_workspace import Fault, Workspace
from forecast_platform_tests.forked import Command
from forecast_platform_tests.waiting import PATIENCE, until

GO = "/Volumes/commodity/forecast/landing/go"
WAITS = f"""import pathlib, time
while not pathlib.Path({GO!r}).exists():
    time.sleep(0.1)
dbutils.notebook.exit("{{}}")"""
"""A notebook that goes on until a file is there."""


def start(*arguments: str) -> Command:
    """The command as a shell starts it."""
    return Command("databricks", *arguments, env=os.environ)


def let_go(workspace: Workspace) -> None:
    """End the notebook that waits."""
    workspace.local(GO).parent.mkdir(parents=True, exist_ok=True)
    workspace.local(GO).touch()


@pytest.mark.slow
def test_ctrl_c_ends_the_watch_and_not_the_run(deployed: Workspace, shell: Shell) -> None:
    notebook(deployed, "backfill_spark", WAITS)
    process = start("submit", "backfill")
    until(lambda: any(run.state.life == "RUNNING" for run in deployed.jobs.runs.values()))
    looked = deployed.count("GET", "/jobs/runs/get")
    until(lambda: deployed.count("GET", "/jobs/runs/get") > looked + 1)
    process.send_signal(signal.SIGINT)
    told = process.told(PATIENCE)
    assert process.returncode == 130, told
    [run] = deployed.jobs.runs.values()
    assert f"no longer watched; run {run.run_id} goes on" in told
    assert f"`forecast-platform databricks monitor {run.run_id}`" in told
    assert f"`forecast-platform databricks cancel {run.run_id}`" in told
    assert "Traceback" not in told
    assert deployed.token not in told
    assert deployed.count("POST", "/jobs/runs/cancel") == 0
    assert (run.state.life, run.cancelled.is_set()) == ("RUNNING", False)
    let_go(deployed)
    code, text = shell("monitor", str(run.run_id))
    assert (code, run.state.result) == (0, "SUCCESS"), text


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("late", "*/runs/submit", seconds=120),
        Fault("throttle", "*/runs/submit", times=99, retry_after=60),
        None,
    ],
    ids=["after the run began", "before it began", "while it is watched"],
)
def test_a_submission_that_was_killed_is_one_run_when_it_is_made_again(
    deployed: Workspace, shell: Shell, tmp_path: Path, fault: Fault | None
) -> None:
    notebook(deployed, "backfill_spark", WAITS)
    ledger = tmp_path / "local" / "_databricks" / "submitted.json"
    if fault:
        deployed.faults.add(fault)
    process = start("submit", "backfill")
    if fault is None:
        until(lambda: deployed.count("GET", "/jobs/runs/get"))
    elif fault.kind == "late":
        until(lambda: deployed.jobs.runs)
    else:
        until(lambda: deployed.count("POST", "/jobs/runs/submit"))
    process.kill()
    process.wait()
    first = list(deployed.jobs.runs)
    assert len(first) == (0 if fault and fault.kind == "throttle" else 1)
    [kept] = json.loads(ledger.read_text()).values()
    assert kept["run_id"] == (None if fault else first[0]), "what the killed process knew"
    deployed.faults.clear()
    code, text = shell("submit", "backfill", "--no-wait")
    [run] = deployed.jobs.runs.values()
    assert code == 0
    assert first in ([], [run.run_id])
    assert "is the same request and still going on: attached" in text
    let_go(deployed)
    assert shell("monitor", str(run.run_id))[0] == 0
    assert len(deployed.jobs.runs) == 1
