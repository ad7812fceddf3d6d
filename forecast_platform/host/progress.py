"""Progress of long work, from inside a step to the log and to whoever listens in this process."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from typing import Any

Progress = Callable[[int, int, str], None]
"""Called with (keys finished, keys in all, what was just finished)."""


def silent(done: int, total: int, what: str) -> None:
    """A Progress that says nothing."""


def say(text: str) -> None:
    """Print a line with the time of day, UTC, at once: a run's output is read while it goes on."""
    sys.stdout.write(f"{dt.datetime.now(dt.timezone.utc):%H:%M:%S} {text}\n")
    sys.stdout.flush()


_LOG_EVERY = 10.0
"""Seconds between progress lines in the log: an operator sees that it moves, and the log stays short."""

listeners: list[Progress] = []
"""Called with every step's progress: the command line adds its bar here for the length of a run."""


def reporter(info: Callable[[str], Any]) -> Progress:
    """A Progress that writes to a step's log now and then, and tells the listeners each time."""
    last = time.monotonic()

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        for listener in listeners:
            listener(done, total, what)
        if time.monotonic() - last >= _LOG_EVERY:
            last = time.monotonic()
            info(f"{done} of {total} keys done ({what})")

    return report
