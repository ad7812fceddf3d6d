"""The admission store: one SQLite file with WAL of what users asked for, and how much of it may be open at once.

It holds what Dagster cannot: a request before it is a run (the outbox), the count that admits it, and a wish to cancel
that no run can take yet. Every change is one statement or one transaction that names the state it starts from, so that
processes (API, sensor, run workers) may die between any two of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Iterator

from forecast_platform.host.databases import why_foreign
from forecast_platform.settings import Settings, SettingsError

STATUSES = ("pending", "submitting", "running", "cancelling", "cancelled", "completed", "failed")
OPEN = ("submitting", "running", "cancelling")
"""Statuses that count against the limits."""
ENDED = ("cancelled", "completed", "failed")

FOLDER = "_training_jobs"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  job_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, status TEXT NOT NULL, config TEXT NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0, step TEXT NOT NULL DEFAULT '', priority INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, submitted_at TEXT, requested_at TEXT, completed_at TEXT,
  attempt INTEGER NOT NULL DEFAULT 0, run_id TEXT, cancel INTEGER NOT NULL DEFAULT 0, error TEXT, summary TEXT);
CREATE INDEX IF NOT EXISTS jobs_by_user ON jobs (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status);
CREATE TABLE IF NOT EXISTS uploads (
  upload_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
  created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS arriving_uploads (
  upload_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, size INTEGER NOT NULL, owner TEXT NOT NULL,
  created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS workflows (
  workflow_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, name TEXT NOT NULL, slug TEXT NOT NULL UNIQUE,
  text TEXT NOT NULL, upload TEXT, status TEXT NOT NULL, created_at TEXT NOT NULL, submitted_at TEXT,
  requested_at TEXT, completed_at TEXT, attempt INTEGER NOT NULL DEFAULT 0, run_id TEXT,
  cancel INTEGER NOT NULL DEFAULT 0, error TEXT);
CREATE INDEX IF NOT EXISTS workflows_by_status ON workflows (status);
CREATE TABLE IF NOT EXISTS forgotten_jobs (job_id TEXT PRIMARY KEY, job_day TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS job_is_forgotten AFTER DELETE ON jobs WHEN OLD.attempt > 0 BEGIN
  INSERT OR REPLACE INTO forgotten_jobs VALUES (OLD.job_id, substr(OLD.created_at, 1, 10));
END;
"""


class UnknownJobError(LookupError):
    """There is no such job, workflow or upload, or it is another user's."""


class WrongStateError(ValueError):
    """It is not in a state in which this can be done; the message says which it is in."""


class LimitReachedError(RuntimeError):
    """A limit is reached; `retry_after` is when, in seconds, to try again."""

    def __init__(self, message: str, retry_after: int = 10) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LostStoreError(SettingsError):
    """The file is not the store it is taken for: an emptied one, or another database."""


class AdmissionFile:
    """The file of one warehouse; safe from many threads and processes at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = settings.training_jobs.store or settings.warehouse / FOLDER / "jobs.db"
        self._ready = False

    @contextlib.contextmanager
    def open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection: to read, or one transaction. Raises LostStoreError."""
        if not self._ready:
            self.refuse_foreign()
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            if not self._ready:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
                self._ready = True
            connection.execute("PRAGMA synchronous=FULL" if write else "PRAGMA query_only=ON")
            if not write:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def refuse_foreign(self) -> None:
        """Raise LostStoreError where the file is empty beside what jobs or workflows left, or is another database.

        SQLite would make a new store of it, and what was asked for would be forgotten.
        """
        if not self.path.is_file():
            return  # not made yet, or moved away on purpose
        warehouse = self.settings.warehouse
        left = (warehouse / FOLDER / "jobs", warehouse / FOLDER / "uploads", warehouse / "_workflows")
        why = why_foreign(self.path, "jobs", records=any(one.is_dir() and any(one.iterdir()) for one in left))
        if why is not None:
            raise LostStoreError(
                f"{self.path} {why}; it is left as it is: `forecast-platform restore` a backup, or move it away to "
                "begin with no jobs and workflows (their results are not touched)"
            )

    def now(self) -> str:
        """The time as it is stored."""
        return self.settings.now().astimezone(dt.timezone.utc).isoformat(timespec="milliseconds")

    def require_room(self, connection: sqlite3.Connection, user: str) -> None:
        """Refuse one more job or workflow beyond the limits, which hold over both. Raises LimitReachedError.

        In the transaction that then admits it, so the limits hold however many ask at once.
        """
        limits = self.settings.training_jobs
        own = sum(count(connection, table, f"user_id = ? AND status IN {OPEN}", user) for table in _ADMITTED)
        if own >= limits.jobs_a_user:
            raise LimitReachedError(
                f"you have {own} jobs queued or running, the most that a user may have: wait for one, or cancel it"
            )
        every = sum(count(connection, table, f"status IN {OPEN}") for table in _ADMITTED)
        if every >= limits.jobs_in_all:
            raise LimitReachedError(
                f"{every} jobs are queued or running, the most that there may be: try again later", 30
            )

    def require_draft(self, connection: sqlite3.Connection, user: str) -> None:
        """Refuse one more that is created and not submitted. Raises LimitReachedError."""
        drafts = sum(count(connection, table, "user_id = ? AND status = 'pending'", user) for table in _ADMITTED)
        if drafts >= self.settings.training_jobs.drafts_a_user:
            raise LimitReachedError(f"{drafts} jobs are created and not submitted; submit or delete some", 60)


_ADMITTED = ("jobs", "workflows")


def count(connection: sqlite3.Connection, table: str, condition: str, *values: object) -> int:
    """How many rows of a table are so."""
    found = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}", values)  # noqa: S608 - own texts
    return int(found.fetchone()[0])
