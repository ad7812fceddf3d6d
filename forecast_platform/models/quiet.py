"""A library's progress and advice kept out of the log, also where several threads are in it at once."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning", "lightning.pytorch", "lightning.fabric")
_lock = threading.Lock()
_within: list[object] = []
_before = contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, and of the trainers' loggers errors alone.

    Both are the process', not a thread's: the first thread in sets them and the last one out sets them back, in
    whichever order they leave.
    """
    me = object()
    with _lock:
        if not _within:
            _before.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for one in map(logging.getLogger, _LOGGERS):
                _before.callback(one.setLevel, one.level)
                one.setLevel(logging.ERROR)
        _within.append(me)
    try:
        yield
    finally:
        with _lock:
            _within.remove(me)
            if not _within:
                _before.close()
