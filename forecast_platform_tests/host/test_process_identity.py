"""Which process something belongs to, also once the system's clock was set."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from forecast_platform.host import process_identity


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the time at which a process began stays what it was")
def test_a_process_that_runs_is_alive_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, began = process_identity.this_process(), psutil.Process.create_time
    # What Linux says of when it was booted, and psutil of when a process began, moves with the clock.
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + 3600)
    assert process_identity.this_process() == mine
    assert process_identity.alive(mine)


def test_one_that_has_ended_and_one_of_the_same_number_are_not_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = process_identity.of(child.pid)
    assert process_identity.alive(owner)
    child.communicate(b"\n")
    assert not process_identity.alive(owner)
    host, _, start = owner.rsplit(":", 2)
    assert not process_identity.alive(f"{host}:{os.getpid()}:{start}")
    assert not process_identity.alive(process_identity.nobody())


def test_what_an_earlier_version_has_written_is_understood() -> None:
    host, pid, _ = process_identity.this_process().rsplit(":", 2)
    began = psutil.Process().create_time()
    assert process_identity.alive(f"{host}:{pid}:{began:.0f}")
    assert not process_identity.alive(f"{host}:{pid}:{began - 60:.0f}")
