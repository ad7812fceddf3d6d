"""A database that was lost is named, and no empty one takes its place."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from forecast_platform.host.databases import copy_checked
from forecast_platform.host.home import prepare_home
from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.backup import backup
from forecast_platform.pipeline.tracking import Tracker, TrackingError
from forecast_platform.runs.launch import Launcher
from forecast_platform.settings import Settings, SettingsError, build
from forecast_platform.training_jobs.config import parse
from forecast_platform.training_jobs.store import JobStore
from forecast_platform_tests.training_jobs.tables import asked


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a platform whose instance holds the log of a run."""
    settings = build(warehouse=tmp_path / "warehouse")
    home = Launcher(settings).instance.root_directory
    (Path(home) / "history" / "runs" / "0f0f.db").touch()
    return settings


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE notes (text TEXT)")


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), Path.unlink, _foreign])
@pytest.mark.parametrize("file", ["history/runs.db", "history/runs/index.db"])
def test_a_lost_database_of_runs_is_named_and_left(settings: Settings, file: str, damage: object) -> None:
    path = settings.warehouse / "_dagster" / file
    damage(path)  # type: ignore[operator]
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(SettingsError, match=rf"{path.name} .*forecast-platform restore"):
        prepare_home(settings)
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), _foreign])
def test_a_lost_database_of_schedules_is_named_and_left_until_it_is_moved_away(
    settings: Settings, damage: object
) -> None:
    path = settings.warehouse / "_dagster" / "schedules" / "schedules.db"
    damage(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"schedules\.db .*restore.*, or move it away to begin with schedules"):
        prepare_home(settings)
    assert path.read_bytes() == before
    with pytest.raises(HousekeepingError, match=r"schedules\.db .*restore"):
        backup(settings, settings.warehouse.parent / "copy")
    path.unlink()
    prepare_home(settings)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), _foreign])
def test_a_lost_admission_store_is_named_and_left_until_it_is_moved_away(tmp_path: Path, damage: object) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    store = JobStore(settings)
    job = store.create("ann", parse(asked()))
    store.job_folder(job.job_id).mkdir(parents=True)
    damage(store.path)  # type: ignore[operator]
    before = store.path.read_bytes()
    with pytest.raises(SettingsError, match=r"jobs\.db .*restore.*, or move it away to begin with no jobs"):
        JobStore(settings).get(job.job_id)
    assert store.path.read_bytes() == before
    with pytest.raises(HousekeepingError, match=r"jobs\.db .*restore"):
        backup(settings, tmp_path / "copy")
    store.path.unlink()
    assert JobStore(settings).create("ann", parse(asked())).status == "pending"


@pytest.mark.parametrize("text", ["", "- a list\n", "run_storage: [\n"])
def test_a_dagster_yaml_that_configures_nothing_is_named_and_left(settings: Settings, text: str) -> None:
    path = settings.warehouse / "_dagster" / "dagster.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"dagster\.yaml: .*put the backup's back, or remove it"):
        prepare_home(settings)
    assert path.read_text() == text


def test_a_first_command_that_was_killed_over_its_databases_is_followed_by_another(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    history = prepare_home(settings) / "history"
    (history / "runs").mkdir(parents=True)
    for path in (history / "runs.db", history / "runs" / "index.db"):
        path.touch()
    assert Launcher(settings).instance.get_runs() == []


def test_an_empty_mlflow_database_beside_artifacts_is_named_and_left(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    folder = settings.warehouse / "_mlflow"
    (folder / "artifacts" / "1").mkdir(parents=True)
    (folder / "mlflow.db").touch()
    with pytest.raises(TrackingError, match=r"mlflow\.db has no bytes"):
        Tracker(settings).close_abandoned()
    assert (folder / "mlflow.db").read_bytes() == b""


def test_a_copy_is_made_of_no_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE runs (id TEXT)")
        store.execute("INSERT INTO runs VALUES ('one')")
    copy_checked(path, tmp_path / "whole.db")
    with sqlite3.connect(tmp_path / "whole.db") as store:
        assert store.execute("SELECT id FROM runs").fetchall() == [("one",)]
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CRXXTE TABLE"))
    with pytest.raises(OSError, match=r"mlflow\.db: malformed database schema.*: it is damaged: .*restore"):
        copy_checked(path, tmp_path / "copy.db")


def test_every_store_of_records_waits_for_the_disk(tmp_path: Path) -> None:
    """FULL (2): a committed transaction outlives a power loss; NORMAL may lose the last ones in SQLite's WAL mode."""
    from sqlalchemy import text

    settings = build(warehouse=tmp_path / "warehouse")
    instance = Launcher(settings).instance
    stores = (instance.run_storage.connect(), instance.event_log_storage.index_connection())
    for opened in stores:
        with opened as connection:
            assert connection.execute(text("PRAGMA synchronous")).scalar() >= 2
    store = Tracker(settings).client._tracking_client.store
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() >= 2
