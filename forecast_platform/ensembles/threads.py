"""How many threads the numerical libraries start: one, where fits run side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within this the numerical libraries start no threads of their own: fits run side by side instead, and threads
    that wait for the next small piece of work cost processor time."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def one_thread_here() -> None:
    """OpenMP has its number of threads a thread: a new one begins with all cores, whatever its maker was limited to."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
