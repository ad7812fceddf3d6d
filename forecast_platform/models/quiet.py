"""A library's progress and advice kept out of the log, also where several threads are in it at once."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning", "lightning.pytorch", "lightning.fabric")
_lock = threading.Lock()
_within: list[object] = []
_before = contextlib.ExitStack()
_mute: set[int] = set()
"""Threads whose prints are dropped."""


class _Others:
    """Standard output of the threads that are not mute."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, or drop, `text`."""
        return len(text) if threading.get_ident() in _mute else int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _open() -> None:
    _before.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    for one in map(logging.getLogger, _LOGGERS):
        _before.callback(one.setLevel, one.level)
        one.setLevel(logging.ERROR)
    others = _Others(sys.stdout)
    sys.stdout = others
    _before.callback(_put_back, others)


def _put_back(others: _Others) -> None:
    if sys.stdout is others:  # else somebody has redirected it since, and puts back what was there
        sys.stdout = others.stream


@contextlib.contextmanager
def quiet(*, prints: bool = True) -> Iterator[None]:
    """No warnings, and of the trainers' loggers errors alone; nothing that this thread prints where not `prints`.

    Warnings and loggers are the process', not a thread's, and so is standard output: the first thread in sets them and
    the last one out sets them back, in whichever order they leave.
    """
    me, thread = object(), threading.get_ident()
    with _lock:
        if not _within:
            _open()
        _within.append(me)
    muted = not prints and thread not in _mute
    if muted:
        _mute.add(thread)
    try:
        yield
    finally:
        if muted:
            _mute.discard(thread)
        with _lock:
            _within.remove(me)
            if not _within:
                _before.close()
