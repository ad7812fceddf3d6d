"""What a compute is: it fits models and runs `forecast_chunk` anywhere, and says what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forecast_platform.pipeline.inference import Chunk, ChunkResult
    from forecast_platform.pipeline.platform import Platform
    from forecast_platform.pipeline.training import Fit, FitTask


class Compute(Protocol):
    """Runs fits and chunks. Each gets exactly one result, in any order."""

    def fits(self, platform: Platform, tasks: Sequence[FitTask]) -> Iterator[Fit]:
        """Yield each fit as soon as it is done; the caller stores it. The tasks are of one series and model."""
        ...

    def run(self, platform: Platform, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Yield each chunk's result as soon as its rows are in the tables."""
        ...
