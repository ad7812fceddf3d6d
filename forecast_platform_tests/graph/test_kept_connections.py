"""Connections that are kept between transactions: by one process, to one file, and never in the middle of a change."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job
from sqlalchemy import text

from forecast_platform.graph.instance_storage import HomeRunStorage
from forecast_platform.graph.kept_connections import engine_at


@job
def nothing() -> None:
    """No step."""


def _make(path: Path, number: int) -> None:
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE t (x INTEGER)")
        made.execute("INSERT INTO t VALUES (?)", (number,))
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    _make(tmp_path / "a.db", 1)
    return tmp_path / "a.db"


def test_one_connection_serves_transaction_after_transaction(path: Path) -> None:
    engine = engine_at(f"sqlite:///{path}")
    seen = set()
    for _ in range(3):
        with engine.begin() as connection:
            seen.add(id(connection.connection.dbapi_connection))
            assert connection.execute(text("SELECT x FROM t")).scalar() == 1
    assert len(seen) == 1
    with engine.begin() as one, engine.begin() as other:
        assert one.connection.dbapi_connection is not other.connection.dbapi_connection
    engine.dispose()
    assert not path.with_name("a.db-wal").exists(), "closed"


def test_a_file_that_took_the_place_of_the_database_is_read(path: Path) -> None:
    engine = engine_at(f"sqlite:///{path}")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT x FROM t")).scalar() == 1
    other = path.with_name("b.db")
    _make(other, 2)
    for end in ("-wal", "-shm"):
        path.with_name(f"a.db{end}").unlink(missing_ok=True)
    other.replace(path)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT x FROM t")).scalar() == 2


def test_a_transaction_that_fails_leaves_the_next_one_nothing(path: Path) -> None:
    engine = engine_at(f"sqlite:///{path}")
    connection = engine.connect()
    connection.execute(text("INSERT INTO t VALUES (7)"))
    connection.close()  # as where an exception ends the block
    with sqlite3.connect(path, timeout=0.1) as other:
        other.execute("INSERT INTO t VALUES (3)")  # no lock is left
    other.close()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT x FROM t ORDER BY x")).scalars().all() == [1, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_opens_its_own(path: Path) -> None:
    engine = engine_at(f"sqlite:///{path}")
    with engine.begin() as connection:
        kept = connection.connection.dbapi_connection
    child = os.fork()
    if child == 0:
        try:
            with engine.begin() as connection:
                own = connection.connection.dbapi_connection is not kept
                connection.execute(text("INSERT INTO t VALUES (5)"))
            os._exit(0 if own else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with engine.begin() as connection:
        assert connection.connection.dbapi_connection is kept
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 2


def test_runs_are_kept_through_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(
        "run_storage: {module: forecast_platform.graph.instance_storage, class: HomeRunStorage}\n"
    )
    with DagsterInstance.get() as instance:
        assert isinstance(instance._run_storage, HomeRunStorage)
        run = instance.create_run_for_job(nothing)
        instance.report_run_canceled(run)
        with DagsterInstance.get() as other:
            found = other.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status == DagsterRunStatus.CANCELED
    assert not list((tmp_path / "history").glob("runs.db-*")), "what was kept is closed with the instance"
