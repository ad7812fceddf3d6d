"""How far a run is: told by its task in a small file of the volume, read by whoever watches the run from elsewhere.

A run's output is shown by Databricks' API only once the run is over.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from forecast_platform.host.progress import Progress

PARAMETER = "progress"
"""The task's parameter that names the file."""
_WRITE_SECONDS = 5.0
_KEPT_SECONDS = 8 * 86_400.0
"""A file of this age is of a run that was killed."""
_TRIES = 3
"""After so many failures in a row nothing more is written."""


def progress_path(volume: str, token: str) -> str:
    """Where the run of an idempotency token tells how far it is."""
    return f"{volume}/progress/{token}.json"


def is_progress_path(path: str) -> bool:
    """Whether a run's parameter names such a file: a job of somebody else may have one of the same name."""
    return re.fullmatch(r"/.+/progress/forecast-platform-\w+\.json", path) is not None


@dataclass(frozen=True)
class KeysDone:
    """How far an action is."""

    what: str
    """The series and model that it is at."""
    done: int
    total: int
    """Keys (dates, or windows) over all series and models."""
    left_seconds: float | None
    """What the keys that are left take at the pace of those made so far; those that are unchanged take less."""

    @classmethod
    def of(cls, content: bytes | None) -> KeysDone | None:
        """What a file says; None where there is none, it is being written, or another version's task has written it."""
        try:
            values = json.loads(content or b"")
            left = values["left_seconds"]
            left = None if left is None else float(left)
            if left is not None and not math.isfinite(left):
                return None
            return cls(str(values["what"]), int(values["done"]), int(values["total"]), left)
        except (ValueError, TypeError, KeyError, OverflowError):
            return None


class ProgressFile:
    """Counts the keys of an action's steps, and writes now and then how far it is. Without a path it only counts."""

    def __init__(self, path: str | None, say: Callable[[str], None]) -> None:
        self._path = Path(path) if path else None
        self._say = say
        self._written = 0.0
        self._failed = 0
        self._ready = False
        self._before = self._total = self._keys = 0
        self._seconds = 0.0

    def begin(self, total: int) -> None:
        """Begin a phase (training, forecasts) of so many keys."""
        self._total, self._before, self._keys, self._seconds = total, 0, 0, 0.0

    @contextmanager
    def step(self, what: str, keys: int) -> Iterator[Progress]:
        """The Progress of one of the phase's steps, which has so many keys."""
        first: tuple[int, float] | None = None
        made, seconds = self._keys, self._seconds

        def report(done: int, total: int, _: str) -> None:
            nonlocal first
            now = time.monotonic()
            # The first report counts what was unchanged too, which took no time.
            first = first or (done, now)
            self._keys, self._seconds = made + done - first[0], seconds + now - first[1]
            self._write(what, self._before + done)

        yield report
        self._before += keys

    def _write(self, what: str, done: int) -> None:
        if self._path is None or self._failed == _TRIES or time.monotonic() - self._written < _WRITE_SECONDS:
            return
        left = (self._total - done) * self._seconds / self._keys if self._keys else None
        try:
            if not self._ready:
                self._make_room(self._path.parent)
                self._ready = True
            # At once and not renamed: what is a volume's file lies in an object store.
            self._path.write_text(json.dumps(asdict(KeysDone(what, done, self._total, left))))
            self._failed = 0
        except OSError as error:
            self._failed += 1
            if self._failed == _TRIES:
                self._say(f"how far this run is cannot be told to those who watch it: {error}")
        self._written = time.monotonic()

    @staticmethod
    def _make_room(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.json"):
            with suppress(FileNotFoundError):  # its run has just ended
                if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    path.unlink()

    def close(self) -> None:
        """Remove the file: what came of the action is in the run's output."""
        try:
            if self._path is not None and self._path.exists():
                self._path.unlink(missing_ok=True)
        except OSError as error:
            self._say(f"{self._path} stays: {error}")
