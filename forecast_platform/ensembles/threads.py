"""How many threads the numerical libraries start: one, where fits run side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within this the numerical libraries start no threads of their own: fits run side by side instead, and threads
    that wait for the next small piece of work cost processor time."""
    with _libraries(len(sys.modules)).limit(limits=1):
        yield


def one_thread_here() -> None:
    """OpenMP has its number of threads a thread: a new one begins with all cores, whatever its maker was limited to."""
    _libraries(len(sys.modules)).limit(limits=1)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """The libraries that are loaded, looked for among all of the process' own where modules were loaded since: that
    takes as long as keeping several fits."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
