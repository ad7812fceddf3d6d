"""What a compute is: it runs `forecast_chunk` for each chunk, anywhere, and says what became of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forecast_platform.work.chunks import Chunk, ChunkResult
    from forecast_platform.work.fits import Fit, FitTask
    from forecast_platform.work.platform import Platform


Current = Callable[[Sequence[dt.date]], Mapping[dt.date, dt.datetime]]
"""Of these keys, those that the tables hold as they should be now, with when they were made."""


class Compute(Protocol):
    """Runs chunks. Every chunk gets exactly one result, in any order."""

    def run(self, platform: Platform, chunks: Sequence[Chunk], current: Current) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as its rows are in the tables; closed, it ends what goes on still.

        The chunks are of one series, model and version; `current` tells what the tables hold of its dates meanwhile.
        """
        ...


class Engine(Compute, Protocol):
    """A compute that hands back what it fits, for the caller to store."""

    def fits(self, platform: Platform, tasks: Sequence[FitTask]) -> Iterator[Fit]:
        """Yield each fit as soon as it is done. The tasks are of one series and model; each gets one fit."""
        ...
