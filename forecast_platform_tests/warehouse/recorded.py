"""What concurrent writers and readers of a warehouse did and saw, and the rules that such a record must keep.

In the manner of Jepsen's checkers: the writers never wait for one another, every value is written once, so each value
that is read names the write that it came from, and a clock that all processes share orders what did not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Step:
    """One finished operation; `kind` is write (of a whole set), see (a read of it), append or list (a read of that)."""

    kind: str
    process: int
    began: float
    ended: float
    value: tuple[str, ...]
    """What was written or appended, or the values that each row of the set, or the list in its order, held."""


def wrong(history: Sequence[Step], rows: int) -> list[str]:
    """How a history of sets of `rows` rows and of a list breaks the rules; empty where it keeps them."""
    return [*half_sets(history, rows), *stale(history), *lost(history)]


def half_sets(history: Sequence[Step], rows: int) -> Iterator[str]:
    """Reads that saw rows of two writes, or not all rows of one, or what nobody wrote."""
    written = {step.value for step in history if step.kind == "write"}
    for step in _of(history, "see"):
        if step.value and (len(step.value) != rows or len(set(step.value)) != 1):
            yield f"half a set: {step}"
        elif step.value and step.value[:1] not in written:
            yield f"a set that nobody wrote: {step}"


def stale(history: Sequence[Step]) -> Iterator[str]:
    """Reads of a set that another write had replaced before they began, or of none after one was written."""
    writes = {step.value: step for step in history if step.kind == "write"}
    for step in _of(history, "see"):
        over = [one for one in writes.values() if one.ended < step.began]
        source = writes.get(step.value[:1])
        if source is None and not step.value and over:
            yield f"no set after {over[0]}: {step}"
        elif source is not None:
            if later := [one for one in over if one.began > source.ended]:
                yield f"a set that {later[0]} had replaced: {step}"
            if source.began > step.ended:
                yield f"a set of the future: {step}"


def lost(history: Sequence[Step]) -> Iterator[str]:
    """Appended values that a list that was read later lacks or has twice, and lists that are no continuation."""
    appends = _of(history, "append")
    lists = sorted(_of(history, "list"), key=lambda step: len(step.value))
    for step in lists:
        if len(set(step.value)) != len(step.value):
            yield f"appended twice: {step}"
        due = {one.value[0] for one in appends if one.ended < step.began}
        if lacking := due - set(step.value):
            yield f"lost: {sorted(lacking)} in {step}"
        if more := set(step.value) - {one.value[0] for one in appends if one.began < step.ended}:
            yield f"never appended: {sorted(more)} in {step}"
    for shorter, longer in pairwise(lists):
        if longer.value[: len(shorter.value)] != shorter.value:
            yield f"two orders: {shorter} and {longer}"


def _of(history: Sequence[Step], kind: str) -> list[Step]:
    return [step for step in history if step.kind == kind]
