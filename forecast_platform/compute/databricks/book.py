"""Which runs of chunks may be going on: one small file each, so that a process that was killed leaves them findable."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forecast_platform import owner
from forecast_platform.compute.databricks.chunk_task import ChunkRequest

DAY_SECONDS = 86_400.0
KEPT_SECONDS = 8 * DAY_SECONDS
"""Runs are ended after hours; a file of this age belongs to one that nobody asked for again."""


@dataclass(frozen=True)
class Entry:
    """A run that was, or was about to be, submitted."""

    token: str
    """Its idempotency token: submitting again with it gives the same run."""
    host: str
    owner: str
    folder: str
    """Where its messages are, in the volume."""
    request: ChunkRequest
    before: dict[str, str]
    """When those of its keys that were current before were made: one that it makes anew has another time."""
    run_id: int | None = None


def made_since(before: Mapping[str, str], now: Mapping[dt.date, dt.datetime]) -> set[dt.date]:
    """The keys that are current now and were not, or were made at another time, before."""
    return {day for day, made in now.items() if before.get(day.isoformat()) != made.isoformat()}


class Book:
    """The entries of one platform."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, host: str, volume: str, request: ChunkRequest, before: dict[str, str]) -> tuple[Entry, bool]:
        """The entry of a run that may be making some of these keys already; else a new one, and True."""
        with self._lock():
            for entry in self._entries():
                asked = entry.request
                same = (entry.host, asked.action, asked.series, asked.model, asked.version) == (
                    *(host, request.action, request.series, request.model, request.version),
                )
                if same and set(asked.dates) & set(request.dates):
                    return entry, False
            # Databricks remembers a token long after its run: each submission has one of its own, kept before the call.
            token = f"forecast-platform-{secrets.token_hex(16)}"
            folder = f"{volume}/{token}"
            entry = Entry(token, host, owner.this_process(), folder, request, before)
            self.keep(entry)
            return entry, True

    def keep(self, entry: Entry) -> None:
        """Write an entry, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f"{entry.token}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps({**asdict(entry), "request": entry.request.to_dict()}))
        temporary.replace(self.folder / f"{entry.token}.json")

    def drop(self, entry: Entry) -> None:
        """Forget an entry: its run is over."""
        (self.folder / f"{entry.token}.json").unlink(missing_ok=True)

    def adopt(self, entry: Entry) -> Entry:
        """Take over an entry whose process is gone; another's stays its own."""
        with self._lock():
            # As it is now: another step may have taken it over since it was read.
            entry = next((kept for kept in self._entries() if kept.token == entry.token), entry)
            if owner.alive(entry.owner):
                return entry
            mine = replace(entry, owner=owner.this_process())
            self.keep(mine)
            return mine

    def orphans(self, host: str) -> list[Entry]:
        """Entries whose process is gone, or must be: whether one on another host is cannot be known."""
        return [
            entry
            for entry in self._entries()
            if entry.host == host and (not owner.alive(entry.owner) or time.time() - self.touched(entry) > DAY_SECONDS)
        ]

    def touched(self, entry: Entry) -> float:
        """When an entry was written last, in seconds since 1970; now where it is not there any more."""
        try:
            return (self.folder / f"{entry.token}.json").stat().st_mtime
        except FileNotFoundError:
            return time.time()

    def _entries(self) -> Iterator[Entry]:
        for path in sorted(self.folder.glob("*.json")):
            with suppress(FileNotFoundError):  # its run has just ended
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()
                    continue
                values: dict[str, Any] = json.loads(path.read_text())
                yield Entry(**{**values, "request": ChunkRequest.from_dict(values["request"])})

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.folder / ".lock")):
            yield
