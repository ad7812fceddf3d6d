"""Python's collector of cyclic garbage, and Arrow's memory, as a process of ours needs them."""

from __future__ import annotations

import gc

_EACH = 50_000


def give_back_memory() -> None:
    """Let Arrow give its unused memory back to the system: what threads that have ended had of it stays with Arrow
    otherwise."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


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
