"""Spark jobs side by side: each is tried again where it is lost, and all end where the caller stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from forecast_platform.clients.spark_session import SparkUnavailableError, cancel
from forecast_platform.compute.spark_pieces import SparkJobError, reason_of

log = logging.getLogger(__name__)

TaskType = TypeVar("TaskType")
ResultType = TypeVar("ResultType")


@dataclass(frozen=True)
class Jobs(Generic[TaskType, ResultType]):
    """How a job's tasks are done.

    do: what a session gives for a job's tasks, in their order. lost: what a job that is lost for good comes to, and
    why. about: what people are told a job is.
    """

    do: Callable[[Any, Sequence[TaskType]], list[ResultType]]
    lost: Callable[[Sequence[TaskType], str], list[ResultType]]
    about: Callable[[Sequence[TaskType]], str]
    attempts: int

    def run(self, session: Callable[[], Any], jobs: Sequence[Sequence[TaskType]], slots: int) -> Iterator[ResultType]:
        """Yield the results as jobs end, at most `slots` jobs at once. Each try asks for the session, which may be
        what was lost. Raises SparkUnavailableError where none can be had."""
        if not jobs:
            return
        stopped = threading.Event()
        latest = _Latest(session, stopped)
        # Each job is waited for by a thread; the session takes them side by side, and the cluster's slots are filled.
        with ThreadPoolExecutor(min(slots, len(jobs)), thread_name_prefix="spark-jobs") as pool:
            waiting = [pool.submit(self._attempts, latest, job, stopped) for job in jobs]
            try:
                for future in as_completed(waiting):
                    yield from future.result()
            except BaseException:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                if latest.session is not None:
                    cancel(latest.session)
                raise

    def _attempts(
        self, session: Callable[[], Any], job: Sequence[TaskType], stopped: threading.Event
    ) -> list[ResultType]:
        reason = ""
        for attempt in range(1, self.attempts + 1):
            try:
                return self.do(session(), job)
            except SparkUnavailableError:
                raise
            except Exception as error:
                # The cancelled job's error may be here before the interrupt that cancelled it.
                if stopped.wait(0.5 * attempt):
                    raise
                log.exception("Spark: %s were lost (%s of %s tries)", self.about(job), attempt, self.attempts)
                reason = reason_of(error)
        return self.lost(job, reason)


class _Latest:
    """Asks for the session, one thread at a time, and keeps it: to cancel what it does, it must not be asked anew."""

    def __init__(self, ask: Callable[[], Any], stopped: threading.Event) -> None:
        self._ask, self._stopped = ask, stopped
        self._lock = threading.Lock()
        self.session: Any = None

    def __call__(self) -> Any:
        """The session. Raises SparkJobError where the work was stopped, also while a session was waited for."""
        with self._lock:
            session = None if self._stopped.is_set() else self._ask()
            if self._stopped.is_set():
                raise SparkJobError("the work was stopped")
            self.session = session
            return session
