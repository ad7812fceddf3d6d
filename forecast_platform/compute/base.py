"""What a compute is: it runs `forecast_chunk` for each chunk, anywhere, and says what became of each."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forecast_platform.pipeline.inference import Chunk, ChunkResult
    from forecast_platform.pipeline.platform import Platform
    from forecast_platform.pipeline.training import Fit, FitTask


class Compute(Protocol):
    """Runs chunks. Every chunk gets exactly one result, in any order."""

    def run(self, platform: Platform, chunks: Sequence[Chunk]) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as its rows are in the tables; closed, it ends what goes on still."""
        ...


class Engine(Compute, Protocol):
    """A compute that hands back what it fits, for the caller to store."""

    def fits(self, platform: Platform, tasks: Sequence[FitTask]) -> Iterator[Fit]:
        """Yield each fit as soon as it is done. The tasks are of one series and model; each gets one fit."""
        ...
