"""A warehouse that can only be read is read, without a home that can be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.work.platform import Platform
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.worlds import days, settings_for

READ = """
from forecast_platform.read import Reader
from forecast_platform.cli.main import main
from forecast_platform.settings import load

found = Reader().paths("Alpha", "naive")
print(sorted(found)[-1], next(iter(found.values())).shape)
try:
    (load().warehouse / "probe").touch()
except PermissionError:
    print("cannot be written to")
print("exit", main(["daily-page"]))
print("exit", main(["reports", "--port", "0"]))
raise SystemExit(main(["coverage", "--commodity", "Alpha", "--models", "naive"]))
"""


@pytest.mark.slow
def test_reader_and_coverage_need_no_folder_that_can_be_written_to(small: Path) -> None:
    dates = days("2017-07-01", "2018-03-30")
    platform = Platform.from_settings(settings_for(small))
    assert forecast(platform, "Alpha", "naive", dates).failed == {}
    # root may write anywhere unless it lays that down.
    plain = [] if os.geteuid() else [shutil.which("setpriv"), "--bounding-set=-all", "--inh-caps=-all"]
    if None in plain:
        pytest.skip("no setpriv here, and root may write anywhere")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
    there = {**clean, **environment(small), "HOME": str(small / "nowhere"), "PYTHONDONTWRITEBYTECODE": "1"}
    del there["DAGSTER_HOME"]
    folders = [small, *(path for path in small.rglob("*") if path.is_dir())]
    modes = {folder: folder.stat().st_mode for folder in folders}
    try:
        for folder in folders:
            folder.chmod(0o555)
        done = subprocess.run(
            [*plain, sys.executable, "-W", "ignore", "-c", READ], env=there, cwd="/", capture_output=True, text=True
        )
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2018-03-30 (200, 14)" in done.stdout
    assert "cannot be written to" in done.stdout
    # Pages are kept in the warehouse: the folder is named, with the mend.
    assert done.stdout.count("exit 1\n") == 2
    named = f"forecast-platform: {small}/warehouse/_reports: Permission denied: make it writable for this account"
    assert done.stderr.count(named) == 2, done.stderr
    assert "none" in done.stdout.splitlines()[-1]
