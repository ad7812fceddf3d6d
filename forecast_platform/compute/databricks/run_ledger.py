"""Which runs of tasks may be going on: one small file each, so that a process that was killed leaves them findable."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forecast_platform.host import process_identity
from forecast_platform.host.files import write_whole
from forecast_platform.work.tasks import TaskRequest

DAY_SECONDS = 86_400.0
GIVEN_UP_SECONDS = 8 * DAY_SECONDS
"""Age at which an entry is forgotten even where nobody looks, or can look, at its run: runs are ended after hours."""


@dataclass(frozen=True)
class LedgerEntry:
    """A run that was, or was about to be, submitted."""

    token: str
    """Its idempotency token: submitting again with it gives the same run."""
    host: str
    owner: str
    folder: str
    """Where its messages are, in the volume."""
    request: TaskRequest
    before: dict[str, str]
    """When those of its keys that were current before were made: one that it makes anew has another time."""
    made: float
    """When the entry was made, in seconds since 1970: its run, if any, was submitted after that."""
    taken: float
    """When its owner took it, in seconds since 1970."""
    asked: int = 0
    """Submissions that were begun and not plainly refused: where there is one, there may be a run."""
    run_id: int | None = None

    @property
    def left(self) -> bool:
        """Whether its process is gone; one on another host, which cannot be known, is taken as gone after a day."""
        if process_identity.here(self.owner):
            return not process_identity.alive(self.owner)
        return time.time() - self.taken > DAY_SECONDS


def made_since(before: Mapping[str, str], now: Mapping[str, dt.datetime]) -> set[str]:
    """The keys that are current now and were not, or were made at another time, before."""
    return {key for key, made in now.items() if before.get(key) != made.isoformat()}


class RunLedger:
    """The entries of one platform."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, host: str, volume: str, request: TaskRequest, before: dict[str, str]) -> tuple[LedgerEntry, bool]:
        """The entry of a run that may be making some of these keys already; else a new one, and True."""
        with self._lock():
            for entry in self._entries():
                asked = entry.request
                same = (entry.host, asked.kind, asked.subject, asked.payload) == (
                    *(host, request.kind, request.subject, request.payload),
                )
                if same and set(asked.keys) & set(request.keys):
                    return entry, False
            # Databricks remembers a token long after its run: each submission has one of its own, kept before the call.
            token = f"forecast-platform-{secrets.token_hex(16)}"
            folder = f"{volume}/{token}"
            now = time.time()
            entry = LedgerEntry(token, host, process_identity.this_process(), folder, request, before, now, now)
            self.keep(entry)
            return entry, True

    def keep(self, entry: LedgerEntry) -> None:
        """Write an entry, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(entry), json.dumps({**asdict(entry), "request": entry.request.to_dict()}))

    def asking(self, entry: LedgerEntry) -> LedgerEntry | None:
        """Keep that a submission is about to be made; the entry as it is now, None where it was forgotten meanwhile."""
        with self._lock():
            return self._asked(entry, 1)

    def refused(self, entry: LedgerEntry) -> LedgerEntry | None:
        """Take back what `asking` kept: the submission was never begun, or could not have been carried out."""
        with self._lock():
            return self._asked(entry, -1)

    def _asked(self, entry: LedgerEntry, more: int) -> LedgerEntry | None:
        kept = self._read(self._path(entry))
        if kept is not None:
            kept = replace(kept, asked=max(0, kept.asked + more))
            self.keep(kept)
        return kept

    def submitted(self, entry: LedgerEntry, run_id: int) -> None:
        """Keep the run's id, where the entry still is there."""
        with self._lock():
            kept = self._read(self._path(entry))
            if kept is not None:
                self.keep(replace(kept, run_id=run_id))

    def withdraw(self, entry: LedgerEntry) -> bool:
        """Forget an entry that nobody has asked for a run of; False where somebody has, or has taken it over."""
        with self._lock():
            kept = self._read(self._path(entry))
            if kept is not None and (kept.asked or kept.owner != entry.owner):
                return False
            self._path(entry).unlink(missing_ok=True)
            return True

    def release(self, entry: LedgerEntry) -> None:
        """Leave an entry to whoever comes next: its run may go on, and this process no longer looks after it."""
        with self._lock():
            kept = self._read(self._path(entry))
            if kept is not None and kept.owner == entry.owner:
                self.keep(replace(kept, owner=process_identity.nobody()))

    def others(self, entry: LedgerEntry) -> bool:
        """Whether another process has taken the entry over meanwhile."""
        kept = self._read(self._path(entry))
        return kept is not None and kept.owner != entry.owner

    def drop(self, entry: LedgerEntry) -> None:
        """Forget an entry: its run is over. Not one that another process has taken over meanwhile."""
        with self._lock():
            if not self.others(entry):
                self._path(entry).unlink(missing_ok=True)

    def adopt(self, entry: LedgerEntry) -> LedgerEntry | None:
        """The entry as it is now, taken over where it was left; None where it was forgotten meanwhile."""
        with self._lock():
            kept = self._read(self._path(entry))
            if kept is None or not kept.left:
                return kept
            mine = replace(kept, owner=process_identity.this_process(), taken=time.time())
            self.keep(mine)
            return mine

    def orphans(self, host: str) -> list[LedgerEntry]:
        """Entries of a workspace that were left."""
        for path in self.folder.glob("*.tmp"):
            with suppress(FileNotFoundError):  # another step has removed it
                if time.time() - path.stat().st_mtime > DAY_SECONDS:
                    path.unlink()
        found = []
        for entry in self._entries():
            if entry.host == host and entry.left:
                found.append(entry)
            elif entry.host != host and time.time() - entry.taken > GIVEN_UP_SECONDS:
                self._path(entry).unlink(missing_ok=True)
        return found

    def _path(self, entry: LedgerEntry) -> Path:
        return self.folder / f"{entry.token}.json"

    def _entries(self) -> Iterator[LedgerEntry]:
        found = map(self._read, sorted(self.folder.glob("*.json")))
        return (entry for entry in found if entry is not None)

    @staticmethod
    def _read(path: Path) -> LedgerEntry | None:
        try:
            written = path.stat().st_mtime
            values: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:  # its run has just ended
            return None
        # Entries of an earlier version do not say when they were made and taken, nor whether a run was asked for.
        known = {"made": written, "taken": written, "asked": 1, **values}
        return LedgerEntry(**{**known, "request": TaskRequest.from_dict(values["request"])})

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.folder / ".lock")):
            yield
