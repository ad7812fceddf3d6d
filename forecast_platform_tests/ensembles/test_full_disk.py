"""A workflow whose disk fills up: one line that names the folder and the mend, and the same command completes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.workflows import text_of
from forecast_platform_tests.small_disk import disk_at, resize


@pytest.mark.slow
@pytest.mark.parametrize("place", ["_mlflow", "_artifacts"])
def test_it_is_told_in_one_line_and_goes_on_where_there_is_room(tmp_path: Path, place: str) -> None:
    classes(n=120).to_parquet(tmp_path / "table.parquet")
    file = tmp_path / "flow.yaml"
    source = {"path": str(tmp_path / "table.parquet")}
    file.write_text(text_of({"task": "vote_weight"}, bases=["linear"], folds=2, source=source))
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("FORECAST_PLATFORM_", "DAGSTER_"))}
    there = {"SOURCE": "sample", "WAREHOUSE": str(tmp_path / "warehouse"), "MIN_FREE_GB": "0", "WORKERS": "1"}
    environment = clean | {f"FORECAST_PLATFORM_{name}": text for name, text in there.items()}

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "forecast_platform.cli", "ensemble", "run", str(file)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    (tmp_path / "warehouse").mkdir()
    with disk_at(tmp_path / "warehouse" / place, 1) as folder:
        resize(folder, 4096 * 2)
        full = run()
        assert full.returncode == 1, full.stdout
        told = [line for line in full.stderr.splitlines() if "free some space there" in line]
        assert [f" free at {folder}: " in line for line in told] == [True], full.stderr
        assert "Traceback" not in full.stderr
        resize(folder, 100_000_000)
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
