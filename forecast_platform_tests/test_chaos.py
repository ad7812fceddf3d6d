"""Some of the faults of benchmarks/chaos.py: nothing lost, nothing silently different, nothing stuck."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).resolve().parents[1] / "benchmarks" / "chaos.py"


@pytest.mark.slow
def test_after_each_fault_the_next_run_leaves_what_an_undisturbed_one_does() -> None:
    done = subprocess.run(
        [sys.executable, str(CHAOS), "--faults", "20", "--seed", "14"],
        capture_output=True,
        text=True,
        cwd=CHAOS.parents[1],
    )
    assert "lost rows 0, silent differences 0, stuck states 0" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
