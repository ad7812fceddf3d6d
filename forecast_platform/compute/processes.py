"""A task in a process of its own, which can be ended, and whose death is told."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext

from forecast_platform.work.tasks import TaskRequest, TaskResult, perform, target_of

_END_SECONDS = 5.0
"""How long a process may take to end after it was asked to."""


def _work(request: TaskRequest, target: str, answers: Connection) -> None:
    # Ctrl-C reaches the whole terminal group: the parent decides what becomes of this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = perform(request, target)  # a new process knows only the kinds that every process does
    except BaseException as error:  # noqa: BLE001 - the parent is told of whatever it was
        reason = f"{type(error).__name__}: {error}"
        result = TaskResult(request, failed=dict.fromkeys(request.keys, reason))
    answers.send(result)
    answers.close()


class Running:
    """One task's process."""

    def __init__(self, context: SpawnContext, request: TaskRequest) -> None:
        self.request = request
        self._answers, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(request, target_of(request.kind), theirs), name=f"task {request.about}", daemon=True
        )
        self._process.start()
        theirs.close()

    @staticmethod
    def ended(running: Sequence[Running]) -> list[Running]:
        """Wait until some have answered, or have died; those."""
        ready = wait([one._answers for one in running])
        return [one for one in running if one._answers in ready]

    def result(self) -> TaskResult:
        """What it answered; where it died without, why its keys failed."""
        try:
            found: TaskResult = self._answers.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            died = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            reason = f"the task's process ended with {died} before it answered: is there enough memory?"
            found = TaskResult(self.request, failed=dict.fromkeys(self.request.keys, reason))
        self.end()
        return found

    def end(self) -> None:
        """End the process, and wait until it has."""
        self._answers.close()
        self._process.terminate()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
