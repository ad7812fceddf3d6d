"""Progress is said in a run's output as it happens."""

from __future__ import annotations

import re
import subprocess
import sys


def test_a_line_has_the_time_and_is_there_before_the_process_goes_on() -> None:
    code = "import os; from forecast_platform.host.progress import say; say('as far as this'); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d\d:\d\d:\d\d as far as this\n", done.stdout)
