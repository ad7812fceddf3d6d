"""The workflows that users submitted: whose, how far, and who wants them cancelled; beside the jobs of the admission
store, and under the same limits."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.host.admission import ENDED, OPEN, WrongStateError, count
from forecast_platform.host.admission_table import AdmissionTable


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


class Submissions(AdmissionTable[Submission]):
    """The submitted workflows of one warehouse; safe from many threads and processes at once."""

    table, key, noun, row = "workflows", "workflow_id", "workflow", Submission
    newest_first = "created_at DESC, workflow_id DESC"
    first_to_run = "submitted_at"

    def create(self, user: str, workflow: Workflow, text: str, upload: str | None) -> Submission:
        """A workflow that waits to be submitted; under a name that the user has already, the newer text of that one.

        upload: the file that its source names. Raises NameTakenError, WrongStateError, LimitReachedError.
        """
        name, slug, now = workflow.context.name, workflow.context.slug, self.now()
        with self._open(write=True) as connection:
            for there in self._select(connection, "slug = ?", slug):
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
                return self._one(connection, there.workflow_id)
            self._file.require_draft(connection, user)
            workflow_id = self._free_id(connection)
            connection.execute(
                "INSERT INTO workflows (workflow_id, user_id, name, slug, text, upload, status, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'pending', ?)",
                (workflow_id, user, name, slug, text, upload, now),
            )
            return self._one(connection, workflow_id)

    def _free_id(self, connection: sqlite3.Connection) -> str:
        """wf_%Y%m%d_%H%M%S, as others name them; with a number where a second has several."""
        stem = f"wf_{self._file.settings.now():%Y%m%d_%H%M%S}"
        found, number = stem, 1
        while count(connection, "workflows", "workflow_id = ?", found):
            number += 1
            found = f"{stem}_{number}"
        return found

    def of_slug(self, slug: str) -> Submission | None:
        """The workflow that makes these assets, whoever submitted it."""
        with self._open() as connection:
            return next(iter(self._select(connection, "slug = ?", slug)), None)

    def uses(self, upload: str, user: str | None = None) -> bool:
        """Whether the source of a workflow (of this user's) is this upload."""
        with self._open() as connection:
            return count(connection, "workflows", "upload = ? AND user_id = coalesce(?, user_id)", upload, user) > 0

    def submit(self, workflow_id: str, user: str) -> Submission:
        """Admit a workflow to the queue, for the first time or again: what is finished is not computed again.

        Raises UnknownJobError, WrongStateError, LimitReachedError.
        """
        return self._admit(workflow_id, user, ("pending", *ENDED))

    def place(self, one: Submission) -> int:
        """How many workflows are before this one in the queue, itself counted."""
        return self._before("submitted_at < ?", one.submitted_at)

    def running(self, one: Submission, run_id: str) -> bool:
        """A run works on it."""
        return self._change_attempt(one, "status = 'running', run_id = ?", "status = 'submitting'", run_id)

    def ended(self, one: Submission, status: str, run_id: str | None, error: str | None = None) -> bool:
        """Nothing works on it any more; a failure of one that is to be cancelled is its cancel."""
        return self._change_attempt(
            one,
            "status = CASE WHEN cancel = 1 AND ? = 'failed' THEN 'cancelled' ELSE ? END, run_id = ?, error = ?, "
            "completed_at = ?",
            f"status IN {OPEN}",
            status, status, run_id, None if error is None else error[:4000], self.now(),
        )  # fmt: skip

    def wants_cancel(self, workflow_id: str, attempt: int) -> bool:
        """Whether somebody wants this attempt to end; also where it is gone or another goes on."""
        with self._open() as connection:
            found = self._select(connection, "workflow_id = ?", workflow_id)
        return not found or bool(found[0].cancel) or found[0].attempt != attempt

    def drop_drafts(self, before: str) -> None:
        """Forget workflows that were created before this time and never submitted."""
        with self._open(write=True) as connection:
            connection.execute(
                "DELETE FROM workflows WHERE status = 'pending' AND attempt = 0 AND created_at < ?", (before,)
            )

    def _change_attempt(self, one: Submission, what: str, condition: str, *values: Any) -> bool:
        """One update of a workflow in the attempt that is known; `values` are those of `what`."""
        return self._change(one.workflow_id, what, f"{condition} AND attempt = ?", *values, one.attempt)
