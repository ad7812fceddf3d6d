"""How many runs of a job go on at once: one too many is skipped, or waits for its turn where the job has a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.jobs import Run

ENDED = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")


def queued_by_default(path: str) -> dict[str, Any]:
    """What a job that says nothing of a queue gets: one, since version 2.2 of the API."""
    return {"queue": {"enabled": True}} if path.startswith("/api/2.2/") else {}


class Turn:
    """A run's turn among the runs of its job that were there before it."""

    def __init__(self, run: Run, before: Sequence[Run] = ()) -> None:
        self.run, self.before = run, before
        self.limit = int(run.body.get("max_concurrent_runs", 1))

    @property
    def come(self) -> bool:
        """Whether it may begin."""
        return sum(other.state.life not in ENDED for other in self.before) < self.limit

    @property
    def skipped(self) -> bool:
        """Whether it may not, and does not wait either."""
        return not self.come and not self.run.body.get("queue", {}).get("enabled")

    def skip(self) -> None:
        """End the run before it began."""
        message = f"Skipping this run because the limit of {self.limit} maximum concurrent runs has been reached."
        for task in self.run.tasks:
            task.state.end("SKIPPED", None, message)
            task.done.set()
        self.run.state.end("SKIPPED", None, message)

    def wait(self) -> None:
        """Return when it may begin, or was cancelled."""
        if self.come:
            return
        self.run.state.queue_reason = f"Queued due to reaching maximum concurrent runs of {self.limit}."
        for state in (self.run.state, *(task.state for task in self.run.tasks)):
            state.life = "QUEUED"
        while not self.come and not self.run.cancelled.wait(0.02):
            pass
        for state in (self.run.state, *(task.state for task in self.run.tasks)):
            state.life = "PENDING"
