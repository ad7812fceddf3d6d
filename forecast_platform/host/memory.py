"""What a process of ours does about memory: Python's collector of cyclic garbage, and the allocators of Arrow and
delta-rs."""

from __future__ import annotations

import ctypes
import gc
import os

_EACH = 50_000

LARGE = 2_000_000
"""Values of a table from which memory is given back as work on it goes on: of smaller ones it costs more than it is
worth."""

_M_ARENA_MAX = -8
"""glibc's name for the number of its arenas, malloc.h."""

_ALLOCATORS = {
    # Arrow's own keeps what each of its threads has freed; the system's is given back by `give_back_memory`.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # delta-rs' (jemalloc) keeps freed pages for ten seconds by default, in which a backfill ends several runs.
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200",
}


def lean_allocators() -> None:
    """Let what is freed be given back: a third of what a backfill of many series would have at its peak.

    Called before Arrow and delta-rs are loaded, which read their allocators from the environment, and before there are
    other threads; what is set in the environment stays.
    """
    for name, value in _ALLOCATORS.items():
        os.environ.setdefault(name, value)
    # A thread takes an arena that is free, of eight a core, and each keeps pages that are free in it; delta-rs and
    # Arrow have dozens of threads, few of which work at a time.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        arenas = max(os.cpu_count() or 1, 2)
        mallopt(_M_ARENA_MAX, arenas)
        os.environ["MALLOC_ARENA_MAX"] = str(arenas)  # for the processes that this one starts


def give_back_memory() -> None:
    """Let Arrow and the C library give their unused memory back to the system: what threads that have ended had of it
    stays with Arrow otherwise, and what lies below anything in use with glibc. A few milliseconds."""
    import pyarrow as pa

    pool = pa.default_memory_pool()
    pool.release_unused()
    # Arrow has asked the C library where that is its own allocator.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None and pool.backend_name != "system":
        trim(0)


def collect_seldom() -> None:
    """Let the collector look once in 50,000 new objects, and never again at what lives by now: modules and definitions.

    By default it looks once in 700, and again and again at every event that a run holds: a second of a backfill of five
    years, and nothing found.
    """
    if gc.get_freeze_count():  # a second time would keep what has become garbage since
        return
    gc.freeze()
    _, second, third = gc.get_threshold()
    gc.set_threshold(_EACH, second, third)
