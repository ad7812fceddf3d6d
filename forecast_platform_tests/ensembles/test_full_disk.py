"""A workflow whose disk fills up: one line that names the folder and the mend, and the same command completes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forecast_platform.ensembles import finishing
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.graph.workflow_runs import WHY_INTERRUPTED
from forecast_platform.runs import workflows
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.test_run import text_at, world
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


@pytest.mark.slow
def test_one_that_min_free_gb_stops_in_the_model_step_is_told_and_goes_on(tmp_path: Path) -> None:
    """Nothing can be written then, not even that it failed."""
    settings = world(tmp_path)
    workflow = read_workflow(text_at(tmp_path, {"task": "vote_weight"}, bases=["linear"], folds=2))
    platform = Platform.from_settings(settings)

    def stopped(*_: object) -> None:
        platform.warehouse.min_free_gb = 1e6  # type: ignore[attr-defined]

    def outcome(name: str) -> tuple[str, str]:
        [one] = [one for one in workflows.status(settings, workflow) if one.task == name]
        return one.state, one.error or ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Platform, "from_settings", classmethod(lambda cls, settings: platform))
        patch.setattr(finishing, "write_report", stopped)
        done = workflows.run_here(settings, workflow)
    [message] = done.messages
    assert message.startswith(f"FAILED ensembles__small__model: {settings.warehouse}: "), message
    assert "less than 1000000.0 GB (min_free_gb); free some space" in message
    assert outcome("vote_weight") == ("finished", "")
    assert outcome("model") == ("interrupted", WHY_INTERRUPTED), "this process goes on, and has said that its run ended"
    assert workflows.run_here(settings, workflow).success
    assert outcome("model") == ("finished", "")
