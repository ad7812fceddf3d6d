"""Event storages in empty folders, ours and Dagster's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from forecast_platform.graph.event_storage import BatchedSqliteEventLogStorage


@pytest.fixture
def ours(tmp_path: Path) -> BatchedSqliteEventLogStorage:
    """Our storage in an empty folder."""
    return BatchedSqliteEventLogStorage(str(tmp_path / "ours"))


@pytest.fixture
def theirs(tmp_path: Path) -> SqliteEventLogStorage:
    """Dagster's storage in the same place of another folder."""
    return SqliteEventLogStorage(str(tmp_path / "theirs" / "history" / "runs"))
