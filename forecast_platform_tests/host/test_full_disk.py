"""A full disk is told in one line that names the folder, whichever library met it."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from forecast_platform.host import disk
from forecast_platform.host.disk import full_disk, with_room
from forecast_platform.settings import load


@pytest.fixture(autouse=True)
def _warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    load.cache_clear()
    yield
    load.cache_clear()


def told(error: BaseException) -> str:
    text = full_disk(error)
    assert text is not None
    assert "\n" not in text
    assert "free some space there, then run the same command again" in text
    return text


def test_a_database_that_has_no_room_left_is_a_full_disk(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "runs.db")
    database.execute("create table runs (body text)")
    database.execute("pragma max_page_count = 10")
    with pytest.raises(sqlite3.OperationalError) as bare:
        database.execute("insert into runs values (?)", ("x" * 100_000,))
    database.close()
    assert "MB free at " in told(bare.value)


def test_it_is_told_through_the_wrapper_of_dagster_and_mlflow(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("create table runs (body text)")
        connection.exec_driver_sql("pragma max_page_count = 10")
        with pytest.raises(sqlalchemy.exc.OperationalError) as wrapped:
            connection.exec_driver_sql("insert into runs values (?)", ("x" * 100_000,))
    engine.dispose()
    outer = RuntimeError("the run could not be recorded")
    outer.__cause__ = wrapped.value
    told(outer)


def test_what_is_no_full_disk_is_left_alone() -> None:
    told(OSError(errno.ENOSPC, "No space left on device"))
    for other in (OSError(errno.EACCES, "Permission denied"), sqlite3.OperationalError("no such table"), ValueError()):
        assert full_disk(other) is None


ROOM = "free some space there, then run the same command again"


@pytest.mark.parametrize(
    "said",
    [
        "OSError: [Errno 28] No space left on device",
        "MlflowException: no\n(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT INTO runs]",
    ],
)
def test_of_a_step_s_error_only_the_text_is_known(said: str, tmp_path: Path) -> None:
    text = with_room(said)
    assert "\n" not in text
    assert text.endswith(ROOM)
    assert "MB free at /" in text
    assert with_room(f"the step failed:\n{text}\nin a file") == text, "told once"
    assert (
        with_room("OSError: [Errno 13] Permission denied\nof a file")
        == "OSError: [Errno 13] Permission denied\nof a file"
    )


@pytest.mark.parametrize("said", ["disk I/O error", "unable to open database file"])
def test_what_sqlite_says_without_room_for_its_log_is_a_full_disk_where_there_is_none(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) {said}\n(Background on this error)"
    assert with_room(other) == other
    assert full_disk(sqlite3.OperationalError(said)) is None
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 4096))
    assert with_room(other).endswith(ROOM)
    told(sqlite3.OperationalError(said))
