"""Runs that a service left as started are ended by the next one; those whose process works on are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job, op
from dagster._core.events import EngineEventData

from forecast_platform.host.home import prepare_home
from forecast_platform.runs.lost_runs import close_lost
from forecast_platform.settings import build


@op
def work() -> None:
    pass


@job
def some_job() -> None:
    work()


def test_a_run_is_ended_where_its_process_is_gone_and_was_an_up_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = build(warehouse=tmp_path / "warehouse")
    prepare_home(settings)
    instance = DagsterInstance.get()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    def run_of(pid: int, launched: str, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> str:
        tags = {".dagster/grpc_info": launched} if launched else {}
        run = instance.create_run_for_job(some_job, tags=tags, status=status)
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))
        return run.run_id

    of_up = '{"host": "localhost", "socket": "/tmp/fp-abc/workflows"}'
    lost, canceling = run_of(gone.pid, of_up), run_of(gone.pid, of_up, DagsterRunStatus.CANCELING)
    works = run_of(os.getpid(), of_up)
    elsewhere = run_of(gone.pid, '{"host": "code", "port": 4266}')
    shell = run_of(gone.pid, "")
    assert sorted(close_lost(settings)) == sorted([lost, canceling])
    states = {run.run_id: run.status for run in instance.get_runs()}
    assert states == {
        lost: DagsterRunStatus.FAILURE, canceling: DagsterRunStatus.CANCELED,
        works: DagsterRunStatus.STARTED, elsewhere: DagsterRunStatus.STARTED, shell: DagsterRunStatus.STARTED,
    }  # fmt: skip
    assert close_lost(settings) == []
