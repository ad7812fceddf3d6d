"""The first command of a new user, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_first_command_on_the_sample_needs_nothing_but_the_package(tmp_path: Path) -> None:
    environment = {"FORECAST_PLATFORM_WAREHOUSE": str(tmp_path / "warehouse")}
    done = subprocess.run(
        [sys.executable, "-m", "forecast_platform.cli", "quickstart"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    index_file = tmp_path / "warehouse" / "_reports" / "index.html"
    index = index_file.read_text(encoding="utf-8")
    assert 'href="daily_2019-01-04.html"' in index
    assert "forecast WTI: 2010-01-01 to 2019-01-04" in done.stdout, "whole windows, without a gap before the first date"
    assert "leaderboard by CRPS" in done.stdout
    assert "what this tells, and what not: 2,2" in done.stdout
    assert "of naive's CRPS, with 95 % confidence" in done.stdout
    assert "9.0 years are too few to judge by (10 are needed)" in done.stdout
    assert "oracle: target days left out" in (index_file.parent / "leaderboard_WTI.html").read_text(encoding="utf-8")
    assert "forecast-platform up" in done.stdout
