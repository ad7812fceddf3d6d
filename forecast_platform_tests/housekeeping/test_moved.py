"""A warehouse that was moved or copied, and one that is exchanged while something is at work on it."""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.cli.main import main
from forecast_platform.host import process_identity
from forecast_platform.housekeeping import HousekeepingError, in_use
from forecast_platform.housekeeping import backup as module
from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.restore import restore
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.worlds import days, settings_for

WINDOW = dt.date(2018, 1, 1)


def test_a_copy_of_a_warehouse_reads_and_writes_nothing_of_the_first(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecast_platform.work.fits.INLINE_LIMIT", 0)
    train(Platform.from_settings(settings_for(root)), "Alpha", "naive", [WINDOW], overwrite=True)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    settings = settings_for(copy)
    # What becomes of the first one's files is not the copy's affair.
    shutil.rmtree(root / "warehouse" / "_artifacts")
    there = sorted((root / "warehouse" / "_mlflow" / "artifacts").rglob("*"))
    assert not forecast(Platform.from_settings(settings), "Alpha", "naive", days("2018-02-01", "2018-02-02")).failed
    assert not train(Platform.from_settings(settings), "Alpha", "naive", [WINDOW], overwrite=True).notes
    assert sorted((root / "warehouse" / "_mlflow" / "artifacts").rglob("*")) == there
    with closing(sqlite3.connect(copy / "warehouse" / "_mlflow" / "mlflow.db")) as store:
        places = [place for (place,) in store.execute("SELECT artifact_uri FROM runs")]
    assert places
    assert all(place.startswith((copy / "warehouse").as_uri()) for place in places)


def test_a_restore_waits_for_no_command_and_exchanges_nothing_under_one(root: Path, tmp_path: Path) -> None:
    settings = settings_for(root)
    backup(settings, tmp_path / "saved")
    with in_use(settings), pytest.raises(HousekeepingError, match="another forecast-platform command is at work"):
        restore(settings, tmp_path / "saved", force=True)
    assert not list(root.glob("*before-restore*"))
    assert restore(settings, tmp_path / "saved", force=True).kept


def test_what_a_killed_backup_left_is_removed_by_the_next_and_a_running_one_s_is_not(
    root: Path, tmp_path: Path
) -> None:
    settings = settings_for(root)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = tmp_path / f".yesterday@{process_identity.of(child.pid).replace(':', '+')}.partial"
    other.mkdir()
    (other / "table").write_bytes(b"1" * 1000)
    backup(settings, tmp_path / "one")
    assert other.exists()
    child.communicate(b"\n")
    backup(settings, tmp_path / "two.tar")
    assert sorted(path.name for path in tmp_path.iterdir() if path != root) == ["one", "two.tar"]


@pytest.mark.slow
def test_a_disk_that_became_read_only_is_backed_up_and_scores_are_read_from_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "read-only"
    there.mkdir()
    for command in (["--bind", str(root), str(there)], ["-o", "remount,ro,bind", str(there)]):
        if shutil.which("mount") is None or subprocess.run(["mount", *command], capture_output=True).returncode:
            pytest.skip("a folder cannot be mounted here")
    try:
        settings = settings_for(there)
        saved = backup(settings, tmp_path / "saved")
        for name, value in environment(there).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DAGSTER_HOME")
        assert main(["evaluate", "--commodity", "Alpha"]) == 0
    finally:
        subprocess.run(["umount", str(there)], check=True)
    assert "leaderboard by CRPS" in capsys.readouterr().out
    rows = DeltaWarehouse(root / "warehouse").rows(POINT_FORECASTS)
    assert saved.tables[POINT_FORECASTS.name]
    whole = settings_for(tmp_path / "again", landing=root / "landing")
    restore(whole, tmp_path / "saved")
    assert DeltaWarehouse(whole.warehouse).rows(POINT_FORECASTS) == rows


def test_of_two_backups_to_one_name_the_second_says_so(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, real = settings_for(root), module._fill

    def slower(*given: Any) -> Any:
        monkeypatch.setattr(module, "_fill", real)
        made = real(*given)
        (tmp_path / "saved.tar").write_bytes(b"the other's")
        return made

    monkeypatch.setattr(module, "_fill", slower)
    with pytest.raises(HousekeepingError, match=r"saved\.tar was written by another backup meanwhile"):
        backup(settings, tmp_path / "saved.tar")
    assert (tmp_path / "saved.tar").read_bytes() == b"the other's"
    assert not list(tmp_path.glob(".*.partial"))
