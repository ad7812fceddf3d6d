"""The workflows that users submitted: whose, how far, and who wants them cancelled; beside the jobs of the admission
store, and under the same limits."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.host.admission import ENDED, OPEN, AdmissionFile, UnknownJobError, WrongStateError, count
from forecast_platform.settings import Settings


class NameTakenError(ValueError):
    """Another workflow has this name, or one that makes the same assets; the message says what to do."""


@dataclass(frozen=True)
class Submission:
    """A workflow that somebody brought; times are ISO 8601 in UTC."""

    workflow_id: str
    user_id: str
    name: str
    slug: str
    text: str
    upload: str | None
    status: str
    created_at: str
    submitted_at: str | None
    requested_at: str | None
    completed_at: str | None
    attempt: int
    run_id: str | None
    cancel: int
    error: str | None

    @property
    def run_key(self) -> str:
        """What its run is asked for by: the same key is never run twice."""
        return f"{self.workflow_id}:{self.attempt}"


class Submissions:
    """The submitted workflows of one warehouse; safe from many threads and processes at once."""

    def __init__(self, settings: Settings) -> None:
        self._file = AdmissionFile(settings)
        self._open, self.now = self._file.open, self._file.now

    @property
    def path(self) -> Path:
        """The file that they are kept in."""
        return self._file.path

    def create(self, user: str, workflow: Workflow, text: str, upload: str | None) -> Submission:
        """A workflow that waits to be submitted; under a name that the user has already, the newer text of that one.

        upload: the file that its source names. Raises NameTakenError, WrongStateError, TooManyJobsError.
        """
        name, slug, now = workflow.context.name, workflow.context.slug, self.now()
        with self._open(write=True) as connection:
            row = connection.execute("SELECT * FROM workflows WHERE slug = ?", (slug,)).fetchone()
            if row is not None:
                there = Submission(**row)
                if there.user_id != user or there.name != name:
                    raise NameTakenError(f"context.name {name!r} is taken: rename the workflow")
                if there.status in OPEN:
                    raise WrongStateError(f"workflow {there.workflow_id} ({name}) is {there.status}: cancel it first")
                connection.execute(
                    "UPDATE workflows SET text = ?, upload = ?, status = 'pending', created_at = ?, "
                    "submitted_at = NULL, completed_at = NULL, error = NULL, cancel = 0, run_id = NULL "
                    "WHERE workflow_id = ?",
                    (text, upload, now, there.workflow_id),
                )
                return _one(connection, there.workflow_id)
            self._file.require_draft(connection, user)
            workflow_id = self._free_id(connection)
            connection.execute(
                "INSERT INTO workflows (workflow_id, user_id, name, slug, text, upload, status, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'pending', ?)",
                (workflow_id, user, name, slug, text, upload, now),
            )
            return _one(connection, workflow_id)

    def _free_id(self, connection: sqlite3.Connection) -> str:
        """wf_%Y%m%d_%H%M%S, as others name them; with a number where a second has several."""
        stem = f"wf_{self._file.settings.now():%Y%m%d_%H%M%S}"
        found, number = stem, 1
        while count(connection, "workflows", "workflow_id = ?", found):
            number += 1
            found = f"{stem}_{number}"
        return found

    def get(self, workflow_id: str, user: str | None = None) -> Submission:
        """A workflow; of `user` alone where one is given. Raises UnknownJobError."""
        with self._open() as connection:
            found = _one(connection, workflow_id)
        if user is not None and found.user_id != user:
            raise UnknownJobError(f"no workflow {workflow_id!r}")
        return found

    def of_slug(self, slug: str) -> Submission | None:
        """The workflow that makes these assets, whoever submitted it."""
        with self._open() as connection:
            row = connection.execute("SELECT * FROM workflows WHERE slug = ?", (slug,)).fetchone()
        return None if row is None else Submission(**row)

    def uses(self, upload: str, user: str | None = None) -> bool:
        """Whether the source of a workflow (of this user's) is this upload."""
        with self._open() as connection:
            return count(connection, "workflows", "upload = ? AND user_id = coalesce(?, user_id)", upload, user) > 0

    def listed(self, user: str, status: str | None, limit: int) -> tuple[list[Submission], int]:
        """A user's newest workflows, and how many there are in all."""
        condition, values = "user_id = ?", [user]
        if status is not None:
            condition, values = f"{condition} AND status = ?", [*values, status]
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT * FROM workflows WHERE {condition} ORDER BY created_at DESC, workflow_id DESC LIMIT ?",  # noqa: S608
                (*values, limit),
            )
            return [Submission(**row) for row in rows], count(connection, "workflows", condition, *values)

    def submit(self, workflow_id: str, user: str) -> Submission:
        """Admit a workflow to the queue, for the first time or again: what is finished is not computed again.

        Raises UnknownJobError, WrongStateError, TooManyJobsError.
        """
        with self._open(write=True) as connection:
            found = _one(connection, workflow_id)
            if found.user_id != user:
                raise UnknownJobError(f"no workflow {workflow_id!r}")
            if found.status in OPEN:
                raise WrongStateError(f"workflow {workflow_id} is {found.status} already")
            self._file.require_room(connection, user)
            connection.execute(
                "UPDATE workflows SET status = 'submitting', submitted_at = ?, requested_at = NULL, run_id = NULL, "
                "completed_at = NULL, error = NULL, cancel = 0, attempt = attempt + 1 WHERE workflow_id = ?",
                (self.now(), workflow_id),
            )
            return _one(connection, workflow_id)

    def outbox(self) -> list[Submission]:
        """Open workflows, the first to be run first."""
        with self._open() as connection:
            rows = connection.execute(f"SELECT * FROM workflows WHERE status IN {OPEN} ORDER BY submitted_at")  # noqa: S608
            return [Submission(**row) for row in rows]

    def place(self, one: Submission) -> int:
        """How many workflows are before this one in the queue, itself counted."""
        with self._open() as connection:
            return 1 + count(connection, "workflows", "status = 'submitting' AND submitted_at < ?", one.submitted_at)

    def requested(self, one: Submission) -> bool:
        """Its run is about to be asked for; False where it is cancelled by now."""
        return self._change(
            one, "requested_at = coalesce(requested_at, ?)", "status = 'submitting' AND cancel = 0", self.now()
        )

    def running(self, one: Submission, run_id: str) -> bool:
        """A run works on it."""
        return self._change(one, "status = 'running', run_id = ?", "status = 'submitting'", run_id)

    def ended(self, one: Submission, status: str, run_id: str | None, error: str | None = None) -> bool:
        """Nothing works on it any more; a failure of one that is to be cancelled is its cancel."""
        return self._change(
            one,
            "status = CASE WHEN cancel = 1 AND ? = 'failed' THEN 'cancelled' ELSE ? END, run_id = ?, error = ?, "
            "completed_at = ?",
            f"status IN {OPEN}",
            status, status, run_id, None if error is None else error[:4000], self.now(),
        )  # fmt: skip

    def wants_cancel(self, workflow_id: str, attempt: int) -> bool:
        """Whether somebody wants this attempt to end; also where it is gone or another goes on."""
        with self._open() as connection:
            row = connection.execute("SELECT * FROM workflows WHERE workflow_id = ?", (workflow_id,)).fetchone()
        return row is None or bool(row["cancel"]) or row["attempt"] != attempt

    def cancel(self, workflow_id: str, user: str) -> Submission:
        """Keep the wish to cancel it: at once where no run was asked for. Raises UnknownJobError, WrongStateError."""
        with self._open(write=True) as connection:
            found = _one(connection, workflow_id)
            if found.user_id != user:
                raise UnknownJobError(f"no workflow {workflow_id!r}")
            if found.status in ENDED:
                raise WrongStateError(f"workflow {workflow_id} is {found.status}: there is nothing to cancel")
            at_once = found.status == "pending" or (found.status == "submitting" and found.requested_at is None)
            connection.execute(
                "UPDATE workflows SET cancel = 1, status = ?, completed_at = ? WHERE workflow_id = ?",
                (*(("cancelled", self.now()) if at_once else ("cancelling", None)), workflow_id),
            )
            return _one(connection, workflow_id)

    def remove(self, workflow_id: str, user: str) -> None:
        """Forget a workflow. Raises UnknownJobError, WrongStateError where it is queued or running."""
        with self._open(write=True) as connection:
            found = _one(connection, workflow_id)
            if found.user_id != user:
                raise UnknownJobError(f"no workflow {workflow_id!r}")
            if found.status in OPEN:
                raise WrongStateError(f"workflow {workflow_id} is {found.status}: cancel it first")
            connection.execute("DELETE FROM workflows WHERE workflow_id = ?", (workflow_id,))

    def drop_drafts(self, before: str) -> None:
        """Forget workflows that were created before this time and never submitted."""
        with self._open(write=True) as connection:
            connection.execute(
                "DELETE FROM workflows WHERE status = 'pending' AND attempt = 0 AND created_at < ?", (before,)
            )

    def _change(self, one: Submission, what: str, condition: str, *values: Any) -> bool:
        """One update of a workflow in the attempt that is known; `values` are those of `what`."""
        with self._open(write=True) as connection:
            done = connection.execute(
                f"UPDATE workflows SET {what} WHERE workflow_id = ? AND attempt = ? AND {condition}",  # noqa: S608 - own
                (*values, one.workflow_id, one.attempt),
            )
            return done.rowcount == 1


def _one(connection: sqlite3.Connection, workflow_id: str) -> Submission:
    row = connection.execute("SELECT * FROM workflows WHERE workflow_id = ?", (workflow_id,)).fetchone()
    if row is None:
        raise UnknownJobError(f"no workflow {workflow_id!r}")
    return Submission(**row)
