"""Interrupts that come while a step waits for another machine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def telling(tell: Callable[[int], object]) -> Iterator[None]:
    """Within this, `tell` is called with the signal's number when an interrupt comes, before it goes its way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handler(number: int, frame: FrameType | None) -> None:
        tell(number)
        before[signal.Signals(number)](number, frame)  # type: ignore[operator, misc]

    taken = [number for number, known in before.items() if callable(known)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Within this, an interrupt is raised at the end at the latest, also in place of an error.

    Python prints and forgets what is raised in a finalizer, and the one of a response runs whenever it likes: an
    operator's cancel that came at that moment would be ignored.
    """
    came: list[int] = []
    try:
        with telling(came.append):
            yield
    except Exception:
        _again(came)
        raise
    _again(came)


def _again(came: list[int]) -> None:
    if came:
        signal.raise_signal(came[0])
