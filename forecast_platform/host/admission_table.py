"""One table of the admission store: what users may do with a row of theirs, whatever it asks for."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from forecast_platform.host.admission import ENDED, OPEN, AdmissionFile, UnknownJobError, WrongStateError, count
from forecast_platform.settings import Settings


class Requested(Protocol):
    """What every row has; times are ISO 8601 in UTC."""

    @property
    def user_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def status(self) -> str:
        """One of STATUSES."""
        ...

    @property
    def created_at(self) -> str:
        """When it was brought."""
        ...

    @property
    def submitted_at(self) -> str | None:
        """When it was admitted to the queue."""
        ...

    @property
    def requested_at(self) -> str | None:
        """When its run was asked for."""
        ...

    @property
    def attempt(self) -> int:
        """How often it was submitted."""
        ...

    @property
    def run_id(self) -> str | None:
        """The run that works, or worked, on it."""
        ...

    @property
    def cancel(self) -> int:
        """1 where its user wants it to end."""
        ...


Row = TypeVar("Row", bound=Requested)


class AdmissionTable(ABC, Generic[Row]):
    """A table of one warehouse's store; safe from many threads and processes at once."""

    table: ClassVar[str]
    key: ClassVar[str]
    """The column that names a row."""
    noun: ClassVar[str]
    """What messages call a row."""
    row: type[Row]
    newest_first: ClassVar[str]
    """The order of lists."""
    first_to_run: ClassVar[str]
    """The order of the outbox."""
    on_submit: ClassVar[str] = ""
    """Assignments of columns that only this table has, of a row that is submitted, or cancelled at once or later."""
    on_cancelled: ClassVar[str] = ""
    on_cancelling: ClassVar[str] = ""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._file = AdmissionFile(settings)
        self._open, self.now = self._file.open, self._file.now

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def exists(self) -> bool:
        """Whether anybody ever used it: who only looks makes no file."""
        return self.path.is_file()

    def key_of(self, one: Row) -> str:
        """What names a row."""
        return str(getattr(one, self.key))

    def get(self, key: str, user: str | None = None) -> Row:
        """A row; of `user` alone where one is given. Raises UnknownJobError."""
        with self._open() as connection:
            return self._one(connection, key, user)

    def listed(self, user: str, status: str | None, limit: int) -> tuple[list[Row], int]:
        """A user's newest rows, at most `limit` (a count), and how many there are in all."""
        condition, values = "user_id = ?", [user]
        if status is not None:
            condition, values = f"{condition} AND status = ?", [*values, status]
        with self._open() as connection:
            found = self._select(connection, f"{condition} ORDER BY {self.newest_first} LIMIT ?", *values, limit)
            return found, count(connection, self.table, condition, *values)

    def outbox(self) -> list[Row]:
        """Open rows, the first to be run first."""
        with self._open() as connection:
            return self._select(connection, f"status IN {OPEN} ORDER BY {self.first_to_run}")

    def requested(self, one: Row) -> bool:
        """Its run is about to be asked for; False where it is cancelled by now."""
        return self._change(
            self.key_of(one),
            "requested_at = coalesce(requested_at, ?)",
            "status = 'submitting' AND cancel = 0 AND attempt = ?",
            self.now(), one.attempt,
        )  # fmt: skip

    @abstractmethod
    def ended(self, one: Row, status: str, run_id: str | None, error: str | None = None) -> bool:
        """Nothing works on it any more; False where another attempt does, or it had ended. A failure of one that is to
        be cancelled is its cancel."""

    def cancel(self, key: str, user: str) -> Row:
        """Keep the wish to cancel it: at once where no run was asked for. Raises UnknownJobError, WrongStateError."""
        with self._open(write=True) as connection:
            found = self._one(connection, key, user)
            if found.status in ENDED:
                raise WrongStateError(f"{self.noun} {key} is {found.status}: there is nothing to cancel")
            at_once = found.status == "pending" or (found.status == "submitting" and found.requested_at is None)
            status, at, more = (
                ("cancelled", self.now(), self.on_cancelled) if at_once else ("cancelling", None, self.on_cancelling)
            )
            self._update(connection, key, f"cancel = 1, status = ?, completed_at = ?{more}", "1", status, at)
            return self._one(connection, key)

    def remove(self, key: str, user: str) -> None:
        """Forget a row. Raises UnknownJobError, WrongStateError where it is queued or running."""
        with self._open(write=True) as connection:
            found = self._one(connection, key, user)
            if found.status in OPEN:
                raise WrongStateError(f"{self.noun} {key} is {found.status}: cancel it first")
            connection.execute(f"DELETE FROM {self.table} WHERE {self.key} = ?", (key,))  # noqa: S608 - own texts

    def _admit(self, key: str, user: str, allowed: Sequence[str]) -> Row:
        """Into the queue, from one of these statuses. Raises UnknownJobError, WrongStateError, LimitReachedError."""
        with self._open(write=True) as connection:
            found = self._one(connection, key, user)
            if found.status not in allowed:
                raise WrongStateError(f"{self.noun} {key} is {found.status}, not {' or '.join(allowed)}")
            self._file.require_room(connection, user)
            self._update(
                connection,
                key,
                "status = 'submitting', submitted_at = ?, requested_at = NULL, run_id = NULL, completed_at = NULL, "
                f"error = NULL, cancel = 0, attempt = attempt + 1{self.on_submit}",
                "1",
                self.now(),
            )
            return self._one(connection, key)

    def _before(self, condition: str, *values: Any) -> int:
        """The place in the queue of a row, itself counted: `condition` says which go first."""
        with self._open() as connection:
            return 1 + count(connection, self.table, f"status = 'submitting' AND ({condition})", *values)

    def _change(self, key: str, what: str, condition: str, *values: Any) -> bool:
        """One update; `values` are those of `what`, then those of `condition`."""
        with self._open(write=True) as connection:
            return self._update(connection, key, what, condition, *values)

    def _update(self, connection: sqlite3.Connection, key: str, what: str, condition: str, *values: Any) -> bool:
        split = what.count("?")
        done = connection.execute(
            f"UPDATE {self.table} SET {what} WHERE {self.key} = ? AND {condition}",  # noqa: S608 - texts of ours
            (*values[:split], key, *values[split:]),
        )
        return done.rowcount == 1

    def _one(self, connection: sqlite3.Connection, key: str, user: str | None = None) -> Row:
        """Raises UnknownJobError, also where it is another's: nobody learns that it is there."""
        for found in self._select(connection, f"{self.key} = ?", key):
            if user is None or found.user_id == user:
                return found
        raise UnknownJobError(f"no {self.noun} {key!r}")

    def _select(self, connection: sqlite3.Connection, condition: str, *values: Any) -> list[Row]:
        rows = connection.execute(f"SELECT * FROM {self.table} WHERE {condition}", values)  # noqa: S608 - own texts
        return [self.row(**row) for row in rows]
