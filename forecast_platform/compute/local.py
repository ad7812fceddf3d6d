"""The run's own process: slow fits in processes, chunks in threads, so that one is written while the next is made."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forecast_platform.compute.base import Current
    from forecast_platform.work.chunks import Chunk, ChunkResult
    from forecast_platform.work.fitting import Fit, FitTask
    from forecast_platform.work.platform import Platform
    from forecast_platform.work.tasks import TaskRequest, TaskResult


class LocalCompute:
    """numpy and delta-rs release Python's lock, so threads keep the cores busy; at most `workers` chunks are held."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def fits(self, platform: Platform, tasks: Sequence[FitTask]) -> Iterator[Fit]:
        """The fits, as they are done. Slow ones run in processes of their own: their libraries hold Python's lock."""
        from forecast_platform.work.fitting import fit

        if self.workers > 1 and len(tasks) > 1 and tasks[0].instance.tags.slow_fit:
            from concurrent.futures import ProcessPoolExecutor, as_completed
            from multiprocessing import get_context

            # Spawn: delta-rs does not survive a fork.
            with ProcessPoolExecutor(min(self.workers, len(tasks)), mp_context=get_context("spawn")) as pool:
                for future in as_completed([pool.submit(fit, task) for task in tasks]):
                    yield future.result()
        else:
            yield from map(fit, tasks)

    def run(self, platform: Platform, chunks: Sequence[Chunk], current: Current) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as its rows are in the tables; stops early only on a full disk.

        The chunks may be of several series: small ones with the same dates are written together.
        """
        from forecast_platform.work.chunks import ChunkResult, together
        from forecast_platform.work.forecast_chunk import forecast_chunks

        waiting = list(reversed(together(chunks, platform.settings.n_paths)))
        running: set[Future[list[ChunkResult]]] = set()
        stopped: str | None = None
        with ThreadPoolExecutor(self.workers, thread_name_prefix="chunk") as pool:
            while waiting or running:
                while waiting and len(running) < self.workers and stopped is None:
                    running.add(pool.submit(forecast_chunks, platform, waiting.pop()))
                if stopped is not None and not running:
                    for chunk in waiting.pop():
                        yield ChunkResult(chunk, [], dict.fromkeys(chunk.dates, stopped), fatal=True)
                    continue
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    for result in future.result():
                        if result.fatal:
                            stopped = next(iter(result.failed.values()))
                        yield result

    def perform(self, platform: Platform, requests: Sequence[TaskRequest]) -> Generator[TaskResult, None, None]:
        """Yield each plain task's result, at most `workers` at a time, each in a process of its own: one that is killed
        fails its own keys, and closing this ends what goes on."""
        from multiprocessing import get_context

        from forecast_platform.compute.processes import Running

        waiting, running = list(reversed(requests)), list[Running]()
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    running.append(Running(get_context("spawn"), waiting.pop()))
                for one in Running.ended(running):
                    running.remove(one)
                    yield one.result()
        finally:
            for one in running:
                one.end()
