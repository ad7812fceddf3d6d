"""The jobs of the admission store: which there are, whose, how far, and who wants them cancelled."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast_platform.host.admission import ENDED, FOLDER, OPEN
from forecast_platform.host.admission_table import AdmissionTable
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.uploads import plain_id

_OWN = "coalesce(run_id = ?, 1) AND attempt = coalesce(?, attempt)"
"""A job that this run works on, or none yet, in this attempt; a value that is None asks for nothing."""
_COMPLETED = (
    "status = 'completed', progress = 100, step = 'completed', error = NULL, run_id = ?, completed_at = ?, summary = ?"
)


@dataclass(frozen=True)
class Job:
    """One job as the store has it; times are ISO 8601 in UTC."""

    job_id: str
    user_id: str
    status: str
    config: str
    progress: int
    step: str
    priority: int
    created_at: str
    submitted_at: str | None
    requested_at: str | None
    completed_at: str | None
    attempt: int
    run_id: str | None
    cancel: int
    error: str | None
    summary: str | None

    @property
    def asked(self) -> JobConfig:
        """Its config; the rows are in its folder."""
        return JobConfig.from_stored(self.config)

    @property
    def day(self) -> str:
        """The day on which it was created, in UTC: the partition of its rows."""
        return self.created_at[:10]

    @property
    def run_key(self) -> str:
        """What its run is asked for by: the same key is never run twice."""
        return self.job_id if self.attempt <= 1 else f"{self.job_id}:{self.attempt}"


class JobStore(AdmissionTable[Job]):
    """The store of one warehouse; safe from many threads and processes at once."""

    table, key, noun, row = "jobs", "job_id", "job", Job
    newest_first = "created_at DESC, job_id"
    first_to_run = "priority DESC, submitted_at"
    on_submit = ", progress = 0, step = 'queued'"
    on_cancelled, on_cancelling = ", step = 'cancelled'", ", step = 'cancelling'"

    @property
    def folder(self) -> Path:
        """Where the data and results of all jobs are."""
        return self.settings.warehouse / FOLDER

    def job_folder(self, job_id: str) -> Path:
        """Where a job's data and results are. Raises UnknownJobError for what is no job's id."""
        return self.folder / "jobs" / plain_id(job_id)

    def create(self, user: str, config: JobConfig, job_id: str | None = None) -> Job:
        """A new job, pending. Raises LimitReachedError where the user has too many that were never submitted."""
        job_id = job_id or str(uuid.uuid4())
        with self._open(write=True) as connection:
            self._file.require_draft(connection, user)
            connection.execute(
                "INSERT INTO jobs (job_id, user_id, status, config, priority, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, user, "pending", config.stored(), config.priority, self.now()),
            )
            return self._one(connection, job_id)

    def submit(self, job_id: str, user: str, *, again: bool = False) -> Job:
        """Admit a job to the queue: pending ones, with `again` failed and cancelled ones.

        Raises UnknownJobError, WrongStateError, LimitReachedError.
        """
        return self._admit(job_id, user, ("failed", "cancelled") if again else ("pending",))

    def note_use(self) -> None:
        """Somebody asks for something now. Where that cannot be noted, a job that is submitted waits some seconds."""
        with contextlib.suppress(OSError):
            self._use.touch()

    def used_within(self, seconds: float) -> bool:
        """Whether somebody asked for something in the last `seconds`."""
        try:
            return abs(time.time() - self._use.stat().st_mtime) < seconds
        except OSError:
            return False

    @property
    def _use(self) -> Path:
        """An empty file that was written when somebody asked last."""
        return self.path.with_name("jobs.used")

    def wait_for_one(self, seconds: float, pause: float) -> bool:
        """Wait, for so long at the most, until a job is to be asked for; whether one is."""
        end = time.monotonic() + seconds
        with self._open() as connection:
            while True:
                row = connection.execute(
                    "SELECT 1 FROM jobs WHERE status = 'submitting' AND requested_at IS NULL LIMIT 1"
                ).fetchone()
                if row is not None or time.monotonic() >= end:
                    return row is not None
                time.sleep(pause)

    def place(self, job: Job) -> int:
        """How many jobs are before this one in the queue, itself counted."""
        return self._before(
            "priority > ? OR (priority = ? AND submitted_at < ?)", job.priority, job.priority, job.submitted_at or ""
        )

    def started(self, job_id: str, run_id: str, attempt: int | None = None) -> bool:
        """A run has begun to work on it; False where it is to end at once: somebody cancelled it, it is gone, or the
        run is of an earlier attempt.

        One that had ended (Dagster tries a crashed run again by itself, and an operator any) gave its place away, and
        takes one as if it was submitted now. Raises LimitReachedError where there is none.
        """
        with self._open(write=True) as connection:
            for found in self._select(connection, "job_id = ? AND status IN ('failed', 'completed')", job_id):
                if found.cancel == 0 and attempt in (None, found.attempt):
                    self._file.require_room(connection, found.user_id)
            return self._update(
                connection,
                job_id,
                "status = 'running', run_id = ?, progress = 0, step = 'starting', error = NULL, completed_at = NULL",
                "cancel = 0 AND status IN ('submitting', 'running', 'failed', 'completed') "
                "AND attempt = coalesce(?, attempt)",
                run_id,
                attempt,
            )

    def tell(self, job_id: str, run_id: str, progress: int, step: str) -> None:
        """How far its run is."""
        self._change(job_id, "progress = ?, step = ?", "run_id = ? AND status = 'running'", progress, step, run_id)

    def wants_cancel(self, job_id: str) -> bool:
        """Whether somebody wants it to end; also where it is gone."""
        with self._open() as connection:
            row = connection.execute("SELECT cancel FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return row is None or bool(row["cancel"])

    def complete(self, job_id: str, run_id: str, summary: dict[str, Any]) -> bool:
        """Its run has kept all results; False where it was cancelled first."""
        return self._change(job_id, _COMPLETED, "run_id = ? AND status = 'running' AND cancel = 0",
                            run_id, self.now(), json.dumps(summary), run_id)  # fmt: skip

    def concluded(self, one: Job, run_id: str, summary: dict[str, Any]) -> bool:
        """A run of this attempt kept all results and ended before it could say so; False where the job ended first, or
        is to be cancelled."""
        return self._change(
            one.job_id, _COMPLETED, "status IN ('submitting', 'running') AND cancel = 0 AND attempt = ?",
            run_id, self.now(), json.dumps(summary), one.attempt,
        )  # fmt: skip

    def ended(self, one: Job, status: str, run_id: str | None, error: str | None = None) -> bool:
        """Its run ended without a word of its own."""
        if status == "cancelled":
            return self.cancelled(one.job_id, attempt=one.attempt)
        return self.fail(one.job_id, error or f"the run {run_id} ended as {status}", attempt=one.attempt)

    def fail(self, job_id: str, error: str, run_id: str | None = None, attempt: int | None = None) -> bool:
        """It ended without results. run_id, attempt: only where they are its own still."""
        return self._change(
            job_id,
            "status = CASE cancel WHEN 1 THEN 'cancelled' ELSE 'failed' END, step = '', error = ?, completed_at = ?",
            f"status IN {OPEN} AND {_OWN}",
            error[:4000], self.now(), run_id, attempt,
        )  # fmt: skip

    def cancelled(self, job_id: str, run_id: str | None = None, attempt: int | None = None) -> bool:
        """Nothing works on it any more. run_id, attempt: only where they are its own still."""
        return self._change(
            job_id,
            "status = 'cancelled', cancel = 1, step = 'cancelled', completed_at = ?",
            f"status IN {OPEN} AND {_OWN}",
            self.now(), run_id, attempt,
        )  # fmt: skip

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove the rows of ended or never submitted jobs."""
        with self._open(write=True) as connection:
            connection.executemany(
                f"DELETE FROM jobs WHERE job_id = ? AND status NOT IN {OPEN}",  # noqa: S608
                [(job_id,) for job_id in job_ids],
            )

    def old(self, ended_before: str, drafts_before: str, most: int) -> list[Job]:
        """At most so many jobs that ended, or were created and never submitted, before these times; oldest first."""
        with self._open() as connection:
            return self._select(
                connection,
                f"(status IN {ENDED} AND completed_at < ?) OR (status = 'pending' AND created_at < ?) "
                "ORDER BY created_at, job_id LIMIT ?",
                ended_before,
                drafts_before,
                most,
            )

    def ids(self) -> frozenset[str]:
        """The ids of all jobs."""
        with self._open() as connection:
            return frozenset(str(row["job_id"]) for row in connection.execute("SELECT job_id FROM jobs"))

    def submitted_on(self, days: Sequence[str] | None = None) -> list[Job]:
        """Jobs that were submitted once, the oldest first: those created on these days (in UTC), or on any."""
        condition = "attempt > 0"
        if days is not None:
            condition += f" AND substr(created_at, 1, 10) IN ({', '.join('?' * len(days))})"
        with self._open() as connection:
            return self._select(connection, f"{condition} ORDER BY created_at, job_id", *(days or ()))

    def forgotten(self) -> list[tuple[str, str]]:
        """Jobs that were submitted once and are gone, whose rows in the tables may still be there: id and day."""
        with self._open() as connection:
            rows = connection.execute("SELECT job_id, job_day FROM forgotten_jobs ORDER BY job_day, job_id")
            return [(str(row["job_id"]), str(row["job_day"])) for row in rows]

    def no_longer_forgotten(self, job_ids: Sequence[str]) -> None:
        """Their rows are gone too."""
        with self._open(write=True) as connection:
            connection.executemany("DELETE FROM forgotten_jobs WHERE job_id = ?", [(one,) for one in job_ids])
