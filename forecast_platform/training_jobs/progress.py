"""How far a job is: units of work that are done, the step at hand, the time that is left, and the wish to cancel."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from forecast_platform.training_jobs.modes.base import CancelledError, OutOfTimeError

Tell = Callable[[int, str], None]
"""Called with percent and step."""

_PAUSE = 0.5
"""Seconds between two tellings at most often."""


_AGAIN = 0.5
"""Seconds after which the end of the time is told again, to what swallowed it."""


class _TimeIsUp(BaseException):
    """The limit is reached in the middle of a fit; not an Exception, which libraries catch and go on."""


class Progress:
    """Counts the work of a job. `total` is in any unit, as long as what is done comes in the same."""

    def __init__(
        self,
        tell: Tell = lambda percent, step: None,
        cancelled: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._cancelled, self._clock = tell, cancelled, clock
        self._total, self._done = 1.0, 0.0
        self._told = float("-inf")
        self._deadline = float("inf")
        self.limited = True
        """Whether the limit holds for what is done now."""
        self.step = ""
        self.percent = 0

    def limit(self, seconds: float) -> None:
        """What is done after so many seconds from now raises OutOfTimeError, while `limited`."""
        self._deadline = self._clock() + seconds

    @property
    def seconds_left(self) -> float:
        """Seconds to the limit; infinite without one."""
        return self._deadline - self._clock()

    @contextlib.contextmanager
    def within_the_limit(self) -> Iterator[None]:
        """What is done within this ends with OutOfTimeError at the limit, also in the middle of one long fit.

        By an alarm, which a process's main thread alone can have, and which code outside of Python hears once it comes
        back; elsewhere the limit is seen when a series is done.
        """
        seconds = self.seconds_left
        there = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
        if not there or not self.limited or seconds == float("inf"):
            yield
            return

        def ring(_number: int, _frame: FrameType | None) -> None:
            raise _TimeIsUp

        before = signal.signal(signal.SIGALRM, ring)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), _AGAIN)
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _TimeIsUp:
            raise OutOfTimeError from None
        finally:
            signal.signal(signal.SIGALRM, before)

    def plan(self, total: float) -> None:
        """All the work of the job from here on."""
        self._total = max(total, 1e-9)

    def begin(self, step: str) -> None:
        """Another step has begun. Raises CancelledError."""
        self.step = step
        self._say(force=True)

    def tell(self, percent: int, step: str) -> None:
        """What another process says of how far it is. Raises CancelledError."""
        self._total, self._done = 100.0, float(percent)
        self.begin(step)

    def skip(self, work: float) -> None:
        """This much will not be done."""
        self._done += work

    def done(self, work: float) -> None:
        """This much more is done. Raises CancelledError and OutOfTimeError."""
        self._done += work
        self._say(force=False)
        if self.limited and self._clock() > self._deadline:
            raise OutOfTimeError

    def _say(self, *, force: bool) -> None:
        now = self._clock()
        # Never 100 before the results are kept, and never back.
        self.percent = max(self.percent, min(99, int(100 * self._done / self._total)))
        if not force and now - self._told < _PAUSE:
            return
        self._told = now
        self._tell(self.percent, self.step)
        if self._cancelled():
            raise CancelledError
