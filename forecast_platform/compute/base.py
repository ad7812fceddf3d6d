"""What a compute is: it runs tasks, anywhere, and says what became of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forecast_platform.work.chunks import Chunk, ChunkResult
    from forecast_platform.work.fitting import Fit, FitTask
    from forecast_platform.work.platform import Platform
    from forecast_platform.work.tasks import TaskRequest, TaskResult


Current = Callable[[Sequence[str]], Mapping[str, dt.datetime]]
"""Of these keys, those that the tables hold as they should be now, with when they were made."""


class Compute(Protocol):
    """Runs chunks and tasks of every plain kind. Each gets exactly one result, in any order."""

    def run(self, platform: Platform, chunks: Sequence[Chunk], current: Current) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as its rows are in the tables; closed, it ends what goes on still.

        The chunks are of one series, model and version; `current` tells what the tables hold of its dates meanwhile.
        """
        ...

    def perform(self, platform: Platform, requests: Sequence[TaskRequest]) -> Generator[TaskResult, None, None]:
        """Yield what became of each task of a plain kind, in any order; closed, it ends what goes on still."""
        ...


class Engine(Compute, Protocol):
    """A compute that hands back what it fits, for the caller to store."""

    def fits(self, platform: Platform, tasks: Sequence[FitTask]) -> Iterator[Fit]:
        """Yield each fit as soon as it is done. The tasks are of one series and model; each gets one fit."""
        ...
