"""What is told after a run is told to the shell, also where a step's log could not be written."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import sys
from contextlib import suppress
from dagster._core.execution.compute_logs import redirect_stream
from forecast_platform.runs.launch import own_output

with open("/dev/full", "w", buffering=1) as log, suppress(OSError), own_output(), redirect_stream(log, sys.stdout):
    print("of the step")
print("told")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no file that is always full here")
def test_a_full_disk_under_a_step_s_log_silences_nothing_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("told\n")
    without = _CHILD.replace("own_output(), ", "")
    silent = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    assert "told" not in silent.stdout, "Dagster gives the output back itself: own_output is no longer needed"
