"""The files that users keep until a job or a workflow is made of them: whose, how large, how many at once."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

from forecast_platform.host.admission import FOLDER, AdmissionFile, LimitReachedError, UnknownJobError
from forecast_platform.host.process_identity import alive, this_process
from forecast_platform.settings import Settings

FORM_BYTES = 10_000
"""What a declared length may hold beside the file: a form's own lines."""

_SOON = 10
"""Seconds after which to try again where only uploads that come in are in the way."""


@dataclass(frozen=True)
class Upload:
    """A file that a user brought; size in bytes, the time ISO 8601 in UTC."""

    upload_id: str
    user_id: str
    name: str
    size: int
    created_at: str


@dataclass(frozen=True)
class Arrival:
    """A file that comes in: its place, and the bytes that it may have."""

    upload_id: str
    most: int


class UploadStore:
    """The uploads of one warehouse; safe from many threads and processes at once.

    What comes in counts from its first byte, by its declared size: limits hold however many come in at once. It is
    forgotten once the process that took it in has ended.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._file = AdmissionFile(settings)

    def path(self, upload_id: str) -> Path:
        """Where an uploaded file is. Raises UnknownJobError for what is no upload's id."""
        return self.settings.warehouse / FOLDER / "uploads" / plain_id(upload_id)

    def begin(self, user: str, declared: int | None = None) -> Arrival:
        """A place for one more file; declared: bytes of the request's body, where it says so.

        Raises LimitReachedError where the user keeps too many, or too much, to take it.
        """
        limits = self.settings.training_jobs
        room = int(limits.uploads_mb_a_user * 1e6)
        with self._file.open(write=True) as connection:
            for (owner,) in connection.execute("SELECT DISTINCT owner FROM arriving_uploads").fetchall():
                if not alive(owner):
                    connection.execute("DELETE FROM arriving_uploads WHERE owner = ?", (owner,))
            number, kept = _held(connection, user)
            if number >= limits.uploads_a_user:
                raise self._refused(
                    connection, user, f"you keep {number} uploads, the most that a user may (uploads_a_user)"
                )
            left = min(room - kept, int(limits.max_upload_mb * 1e6))
            if left < max(1, (declared or 0) - FORM_BYTES):
                what = "one more" if declared is None else f"{declared / 1e6:,.6g} MB more"
                raise self._refused(
                    connection,
                    user,
                    f"you keep {kept / 1e6:,.6g} MB of uploads, and {what} would pass the {room / 1e6:,.6g} MB that a "
                    "user may keep (uploads_mb_a_user)",
                )
            found = Arrival(str(uuid.uuid4()), left)
            connection.execute(
                "INSERT INTO arriving_uploads VALUES (?, ?, ?, ?, ?)",
                (
                    *(found.upload_id, user, left if declared is None else min(left, declared)),
                    *(this_process(), self._file.now()),
                ),
            )
            return found

    def keep(self, arrival: Arrival, user: str, name: str, size: int) -> Upload:
        """The file is whole and in its place; size in bytes."""
        found = Upload(arrival.upload_id, user, name, size, self._file.now())
        with self._file.open(write=True) as connection:
            connection.execute("DELETE FROM arriving_uploads WHERE upload_id = ?", (arrival.upload_id,))
            connection.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", tuple(vars(found).values()))
        return found

    def give_up(self, arrival: Arrival) -> None:
        """Nothing came of it."""
        with self._file.open(write=True) as connection:
            connection.execute("DELETE FROM arriving_uploads WHERE upload_id = ?", (arrival.upload_id,))

    def grown_too_large(self, user: str) -> LimitReachedError:
        """Why a file that declared no size was cut off where the user's uploads would pass what they may have."""
        most = self.settings.training_jobs.uploads_mb_a_user
        with self._file.open() as connection:
            return self._refused(
                connection,
                user,
                f"with it your uploads pass the {most:,.6g} MB that a user may keep (uploads_mb_a_user)",
            )

    def one(self, upload_id: str, user: str) -> Upload | None:
        """A user's upload; None where it is not there or another's."""
        with self._file.open() as connection:
            row = connection.execute(
                "SELECT * FROM uploads WHERE upload_id = ? AND user_id = ?", (upload_id, user)
            ).fetchone()
        return None if row is None else Upload(**row)

    def listed(self, user: str) -> list[Upload]:
        """A user's uploads, the newest first."""
        with self._file.open() as connection:
            rows = connection.execute("SELECT * FROM uploads WHERE user_id = ? ORDER BY created_at DESC", (user,))
            return [Upload(**row) for row in rows]

    def remove(self, upload_id: str, user: str) -> None:
        """Forget an upload, and remove its file. Raises UnknownJobError."""
        with self._file.open(write=True) as connection:
            done = connection.execute("DELETE FROM uploads WHERE upload_id = ? AND user_id = ?", (upload_id, user))
            if not done.rowcount:
                raise UnknownJobError(f"no upload {upload_id!r}")
        self.path(upload_id).unlink(missing_ok=True)

    def drop(self, before: str) -> None:
        """Forget the uploads of before this time, and remove their files."""
        with self._file.open(write=True) as connection:
            # Of a process on another host it is not known whether it has ended.
            connection.execute("DELETE FROM arriving_uploads WHERE created_at < ?", (before,))
            rows = connection.execute(
                "DELETE FROM uploads WHERE created_at < ? RETURNING upload_id", (before,)
            ).fetchall()
        for row in rows:
            self.path(row["upload_id"]).unlink(missing_ok=True)

    def _refused(self, connection: sqlite3.Connection, user: str, why: str) -> LimitReachedError:
        """With the mend, and when the oldest goes by itself."""
        hours = self.settings.training_jobs.keep_drafts_hours
        oldest = connection.execute("SELECT min(created_at) FROM uploads WHERE user_id = ?", (user,)).fetchone()[0]
        seconds = float(_SOON)
        if oldest is not None:
            goes = dt.datetime.fromisoformat(oldest) + dt.timedelta(hours=hours)
            seconds = max(seconds, (goes - self.settings.now()).total_seconds())
        return LimitReachedError(
            f"file: {why}: DELETE /api/v2/uploads/<file> what you need no more (GET /api/v2/uploads lists them); each "
            f"goes by itself {hours:g} hours after it came",
            round(seconds),
        )


def _held(connection: sqlite3.Connection, user: str) -> tuple[int, int]:
    """How many uploads of a user are there or come in, and their bytes."""
    number, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM (SELECT size FROM uploads WHERE user_id = ? "
        "UNION ALL SELECT size FROM arriving_uploads WHERE user_id = ?)",
        (user, user),
    ).fetchone()
    return int(number), int(size)


def plain_id(name: str) -> str:
    """An id that, as a name of a file, stays in its folder. Raises UnknownJobError."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        raise UnknownJobError(f"no job or upload {name!r}") from None
