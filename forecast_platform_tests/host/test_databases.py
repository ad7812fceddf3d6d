"""A database that was lost is named, and no empty one takes its place."""

from __future__ import annotations

import ast
import contextlib
import gc
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.host.databases import copy_checked, why_foreign
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
    instance = Launcher(settings).instance
    (Path(instance.root_directory) / "history" / "runs" / "0f0f.db").touch()
    instance.dispose()
    gc.collect()  # its last connection, which writes the log into the database when it closes
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


def test_a_database_that_is_looked_at_keeps_the_locks_of_this_process(tmp_path: Path) -> None:
    """Else whoever closes it last in another process removes the log that this one goes on writing to."""
    path = tmp_path / "jobs.db"
    insert = "INSERT INTO jobs VALUES ('{}')"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as ours:
        ours.execute("PRAGMA journal_mode=WAL")
        ours.execute("CREATE TABLE jobs (id TEXT)")
        ours.execute(insert.format("before"))
        assert why_foreign(path, "jobs", records=True) is None
        _elsewhere(path, insert.format("theirs"))
        ours.execute(insert.format("ours"))
        assert _elsewhere(path, "SELECT id FROM jobs") == [("before",), ("theirs",), ("ours",)]


def _elsewhere(path: Path, statement: str) -> Any:
    """What a statement gives in a process of its own."""
    code = (
        "import contextlib, sqlite3, sys\n"
        "with contextlib.closing(sqlite3.connect(sys.argv[1], isolation_level=None)) as store:\n"
        "    print(store.execute(sys.argv[2]).fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), statement], check=True, capture_output=True, text=True
    )
    return ast.literal_eval(done.stdout)


@pytest.mark.parametrize("data", [b"no database" * 20, b"\0" * 8192])
def test_what_is_no_database_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(data)
    assert why_foreign(path, "jobs", records=True) == "is no SQLite database, or its beginning is overwritten"
    assert path.read_bytes() == data


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
