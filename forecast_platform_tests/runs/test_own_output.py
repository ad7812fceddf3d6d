"""What is told after a run is told to the shell, also where a step's output was not given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import os
from contextlib import suppress
from forecast_platform.runs.launch import own_output

with suppress(OSError), own_output():
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    raise OSError("no room")
print("told")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no file that is always full here")
def test_a_full_disk_under_a_step_s_log_silences_nothing_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
