"""Connections to the SQLite databases of Dagster's instance, each kept open for the next transaction.

Dagster's own storages open and close one for every transaction: opening reads the schema anew, and closing the last one
writes the log back into the database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import QueuePool, create_engine, event
from sqlalchemy.exc import DisconnectionError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

_OF = "of"
"""What a connection was made by and to: the process, and the file."""


def engine_at(address: str) -> Engine:
    """An engine for the database at `address`, sqlite:///PATH, that keeps one idle connection.

    A connection is not used again by another process, nor where another file has taken the database's place, as after
    `restore` or `repair`.
    """
    engine = create_engine(
        address,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )
    path = Path(address.removeprefix("sqlite:///"))

    def made(_: Any, record: Any) -> None:
        record.info[_OF] = _now(path)

    def taken(_: Any, record: Any, proxy: Any) -> None:
        now = _now(path)
        if record.info[_OF] == now:
            return
        if record.info[_OF][0] != now[0]:
            # The parent's: closing it here would work on the file that the parent has open.
            record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError(f"{path} is another file, or this another process")

    event.listen(engine, "connect", made)
    event.listen(engine, "checkout", taken)
    return engine


def _now(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return os.getpid(), 0, 0
    return os.getpid(), found.st_dev, found.st_ino


class Kept:
    """A storage of Dagster's on one SQLite database, whose transactions share a kept connection."""

    _conn_string: str
    _engine: Engine | None = None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction, as in the parent's."""
        if self._engine is None:
            self._engine = engine_at(self._conn_string)
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close what is kept."""
        if self._engine is not None:
            self._engine.dispose()
