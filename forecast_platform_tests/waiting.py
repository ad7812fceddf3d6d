"""Waiting for what another process or thread does. One patience for all tests: where a test fails for want of time, it
is the machine that was busy, and it may be doing three things at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Seconds. A JVM that comes up beside two others has been seen to need 40.
PATIENCE = 300.0


class Timeout(AssertionError):
    """What was waited for did not come."""


def until(
    look: Callable[[], Found | None],
    what: str = "what this test waits for",
    seconds: float = PATIENCE,
    pause: float = 0.05,
    told: Callable[[], str] = str,
) -> Found:
    """The first true answer of `look`; where there is none in time, `Timeout` with the last of what is `told`."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            raise Timeout(f"{what}: not within {seconds:.0f} s\n{told()[-4000:]}")
        time.sleep(pause)
