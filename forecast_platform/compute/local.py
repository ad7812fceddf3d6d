"""The run's own process: a few threads, so that one chunk is written while the next is simulated."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forecast_platform.pipeline.inference import Chunk, ChunkResult
    from forecast_platform.pipeline.platform import Platform


class LocalCompute:
    """numpy and delta-rs release Python's lock, so threads keep the cores busy; at most `workers` chunks are held."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, platform: Platform, chunks: Sequence[Chunk]) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as its rows are in the tables; stops early only on a full disk."""
        from forecast_platform.pipeline.inference import ChunkResult, forecast_chunk

        waiting = list(reversed(chunks))
        running: set[Future[ChunkResult]] = set()
        stopped: str | None = None
        with ThreadPoolExecutor(self.workers, thread_name_prefix="chunk") as pool:
            while waiting or running:
                while waiting and len(running) < self.workers and stopped is None:
                    running.add(pool.submit(forecast_chunk, platform, waiting.pop()))
                if stopped is not None and not running:
                    chunk = waiting.pop()
                    yield ChunkResult(chunk, [], dict.fromkeys(chunk.dates, stopped), fatal=True)
                    continue
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    result = future.result()
                    if result.fatal:
                        stopped = next(iter(result.failed.values()))
                    yield result
