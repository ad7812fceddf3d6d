"""What a compute is: it runs `forecast_chunk` for each chunk, anywhere, and says what became of each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forecast_platform.pipeline.inference import Chunk, ChunkResult
    from forecast_platform.pipeline.platform import Platform


class Compute(Protocol):
    """Runs chunks. Every chunk gets exactly one result, in any order."""

    def run(self, platform: Platform, chunks: Sequence[Chunk]) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as its rows are in the tables; closed, it ends what goes on still."""
        ...
