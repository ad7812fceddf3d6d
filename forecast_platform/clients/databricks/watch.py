"""Watching a run: its tasks' changes of state, how far they are, and why they wait."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.monitor import (
    ENDED,
    Ended,
    cluster_of,
    ended_of,
    life_of,
    result_of,
    span_text,
    tasks_of,
)
from forecast_platform.clients.databricks.progress_file import PARAMETER, KeysDone, is_progress_path
from forecast_platform.clients.databricks.volume import Volume
from forecast_platform.host.deferred_interrupts import deferred_interrupts

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run, RunTask

WAITING = ("PENDING", "QUEUED", "WAITING_FOR_RETRY")
_PAUSE_SECONDS = 60.0
"""Until it is looked for again how far a run is, where the volume did not answer."""
_PARTS = 20
"""Of how many parts of the keys each is said when it is done."""


class Watch:
    """A run that is looked at now and then; each task's changes of state are said, and a long wait, with why."""

    def __init__(
        self,
        connection: Connection,
        run_id: int,
        say: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        *,
        alike: str | None = None,
    ) -> None:
        """`alike`: how the names of runs begin that tell how long this one takes; without it, runs of its own name."""
        self.connection, self.run_id, self.say, self.warn = connection, run_id, say, warn or say
        self._alike = alike
        self.url = ""
        self._began = time.monotonic()
        self._shown: dict[str, str] = {}
        self._warned: set[str] = set()
        self._estimate: float | None = None
        self._said: tuple[str, int] | None = None
        self._unread, self._not_before = False, 0.0

    def look(self) -> Ended | None:
        """Ask for the run's state once; how it ended, where it has. Raises DatabricksError."""
        connection, run_id = self.connection, self.run_id
        run = connection.call(f"looking at run {run_id}", lambda: connection.client.jobs.get_run(run_id))
        if not self.url:
            self.url = run.run_page_url or ""
            self._estimate = usual_seconds(connection, run, self._alike)
            about = "no earlier run of this name tells how long it takes"
            if self._estimate:
                about = f"usually {span_text(self._estimate)}"
            self.say(f"{_clock()} run {run_id} {run.run_name}: {run.run_page_url}\n         {about}")
        for task in tasks_of(run):
            self._tell(run, task)
        return ended_of(connection, run_id, run) if life_of(run) in ENDED else None

    def _tell(self, run: Run, task: RunTask) -> None:
        key = task.task_key + (f" (attempt {task.attempt_number + 1})" if task.attempt_number else "")
        state = result_of(task) if life_of(task) in ENDED else life_of(task)
        if self._shown.get(key) != state:
            self._shown[key] = state
            eta = ""
            if state == "RUNNING" and self._estimate:
                left = self._estimate - (time.time() - (run.start_time or 0) / 1000)
                eta = f", about {span_text(left)} left" if left > 0 else ", longer than usual"
            self.say(f"{_clock()} {key}: {state} after {span_text(time.monotonic() - self._began)}{eta}")
        # A task that waits in a queue has no start yet.
        waited = time.time() - task.start_time / 1000 if task.start_time else time.monotonic() - self._began
        patience = self.connection.options.pending_warning_seconds
        if state in WAITING and waited > patience and key not in self._warned:
            self._warned.add(key)
            self.warn(f"{_clock()} {key}: {state} for {span_text(waited)}: {_why_waiting(self.connection, run, task)}")
        if state == "RUNNING":
            self._tell_keys(key, task)

    def _tell_keys(self, key: str, task: RunTask) -> None:
        """How many keys are done, where the task tells it and there is news."""
        wheel, notebook = task.python_wheel_task, task.notebook_task
        given = (wheel.named_parameters if wheel else None) or (notebook.base_parameters if notebook else None) or {}
        path = given.get(PARAMETER, "")
        if self._unread or time.monotonic() < self._not_before or not is_progress_path(path):
            return
        try:
            # The watch does not wait for this: there is a next look.
            found = KeysDone.of(Volume(self.connection, quick=True).read(path))
        except DatabricksError as error:
            # That it is not known is worth a word; the run is watched all the same.
            self._unread, self._not_before = not error.passing, time.monotonic() + _PAUSE_SECONDS
            if self._unread:
                self.say(f"{_clock()} {key}: how far it is cannot be read: {error}")
            return
        if found is None or self._said == (now := (found.what, _PARTS * found.done // max(1, found.total))):
            return
        self._said = now
        left = "" if found.left_seconds is None else f", {span_text(found.left_seconds)} left at this pace"
        self.say(
            f"{_clock()} {key}: {found.done:,} of {found.total:,} keys ({100 * found.done // max(1, found.total)} %), "
            f"{self.connection.redact(found.what)}{left}"
        )


def watch(connection: Connection, run_id: int, say: Callable[[str], None]) -> Ended:
    """Say each task's changes of state until the run is over. An interrupt leaves the run alone."""
    watched = Watch(connection, run_id, say)
    while True:
        with deferred_interrupts():
            ended = watched.look()
            if ended is None:
                time.sleep(connection.options.poll_seconds)
        if ended is not None:
            return ended


def usual_seconds(connection: Connection, run: Run, alike: str | None = None) -> float | None:
    """The median of the last successful runs of this name, or of names that begin so; None where there is none."""
    import itertools

    def earlier() -> list[float]:
        found = itertools.islice(connection.quick.jobs.list_runs(completed_only=True), 100)
        return [
            (other.end_time - other.start_time) / 1000
            for other in found
            if (other.run_name == run.run_name or (alike and (other.run_name or "").startswith(alike)))
            and result_of(other) == "SUCCESS"
            and other.end_time
            and other.start_time
        ]

    try:
        known = connection.call("listing earlier runs", earlier, attempts=1)
    except DatabricksError:  # an estimate is not worth the watch
        return None
    return statistics.median(known[:9]) if known else None


def _why_waiting(connection: Connection, run: Run, task: RunTask) -> str:
    cluster = cluster_of(connection, task)
    if cluster is not None:
        state = cluster.state.value if cluster.state else "unknown"
        text = f"cluster {cluster.cluster_id} is {state}: {cluster.state_message}; a pool, another node_type or "
        text += "existing_cluster_id starts sooner"
    else:
        told = [reason for of in (task.state, run.state) if of for reason in (of.queue_reason, of.state_message)]
        text = next((reason for reason in told if reason), "no reason given")
    return connection.redact(text)


def _clock() -> str:
    return dt.datetime.now().astimezone().strftime("%H:%M:%S")
