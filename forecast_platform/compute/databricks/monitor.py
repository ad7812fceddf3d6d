"""Watching a run, telling what went wrong in it, ending it."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forecast_platform.compute.databricks.connection import Connection, DatabricksError
from forecast_platform.compute.databricks.mends import suggest

if TYPE_CHECKING:
    from databricks.sdk.service.compute import ClusterDetails
    from databricks.sdk.service.jobs import BaseRun, Run, RunTask

ENDED = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
WAITING = ("PENDING", "QUEUED", "WAITING_FOR_RETRY")
UPSTREAM = ("UPSTREAM_FAILED", "UPSTREAM_CANCELED", "EXCLUDED")
_TRACE_LINES = 25
_CANCEL_SECONDS = 600
"""How long a cancelled run may take to end."""


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    run_id: int
    result: str
    message: str
    url: str

    @property
    def success(self) -> bool:
        """Whether every task succeeded."""
        return self.result == "SUCCESS"


@dataclass(frozen=True)
class TaskError:
    """Why one task of a run did not succeed."""

    task: str
    run_id: int
    life: str
    state: str
    error: str
    trace: str
    log: str
    mend: str
    url: str


def life_of(run: BaseRun | Run | RunTask) -> str:
    """PENDING, RUNNING, ... as text."""
    state = run.state
    return state.life_cycle_state.value if state and state.life_cycle_state else "UNKNOWN"


def result_of(run: BaseRun | Run | RunTask) -> str:
    """SUCCESS, FAILED, ...; the life cycle's state where there is no result."""
    state = run.state
    return state.result_state.value if state and state.result_state else life_of(run)


def tasks_of(run: Run) -> list[RunTask]:
    """Each task's newest attempt: a job's tasks may be retried, and the earlier attempts stay in the list."""
    attempts = sorted(run.tasks or [], key=lambda task: task.attempt_number or 0)
    newest = {task.task_key: task for task in attempts}
    return [newest[key] for key in dict.fromkeys(task.task_key for task in run.tasks or [])]


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

    def look(self) -> Ended | None:
        """Ask for the run's state once; how it ended, where it has. Raises DatabricksError."""
        connection, run_id = self.connection, self.run_id
        run = connection.call(f"looking at run {run_id}", lambda: connection.client.jobs.get_run(run_id))
        if not self.url:
            self.url = run.run_page_url or ""
            self._estimate = usual_seconds(connection, run, self._alike)
            about = "no earlier run of this name tells how long it takes"
            if self._estimate:
                about = f"usually {_span(self._estimate)}"
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
                eta = f", about {_span(left)} left" if left > 0 else ", longer than usual"
            self.say(f"{_clock()} {key}: {state} after {_span(time.monotonic() - self._began)}{eta}")
        # A task that waits in a queue has no start yet.
        waited = time.time() - task.start_time / 1000 if task.start_time else time.monotonic() - self._began
        patience = self.connection.options.pending_warning_seconds
        if state in WAITING and waited > patience and key not in self._warned:
            self._warned.add(key)
            self.warn(f"{_clock()} {key}: {state} for {_span(waited)}: {_why_waiting(self.connection, run, task)}")


def watch(connection: Connection, run_id: int, say: Callable[[str], None]) -> Ended:
    """Say each task's changes of state until the run is over. An interrupt leaves the run alone."""
    watched = Watch(connection, run_id, say)
    while (ended := watched.look()) is None:
        time.sleep(connection.options.poll_seconds)
    return ended


def ended_of(connection: Connection, run_id: int, run: Run) -> Ended:
    """How a run that is over ended."""
    message = (run.state.state_message if run.state else None) or ""
    return Ended(run_id, result_of(run), connection.redact(message), run.run_page_url or "")


def usual_seconds(connection: Connection, run: Run, alike: str | None = None) -> float | None:
    """The median of the last successful runs of this name, or of names that begin so; None where there is none."""
    import itertools

    def earlier() -> list[float]:
        found = itertools.islice(connection.client.jobs.list_runs(completed_only=True), 100)
        return [
            (other.end_time - other.start_time) / 1000
            for other in found
            if (other.run_name == run.run_name or (alike and (other.run_name or "").startswith(alike)))
            and result_of(other) == "SUCCESS"
            and other.end_time
            and other.start_time
        ]

    try:
        known = connection.call("listing earlier runs", earlier)
    except DatabricksError:  # an estimate is not worth the watch
        return None
    return statistics.median(known[:9]) if known else None


def errors(connection: Connection, run_id: int) -> list[TaskError]:
    """Why each task that did not succeed did not; those that only waited for another are left out.

    The traceback is in the output of the *task's* run, never in the parent's.
    """
    run = connection.call(f"looking at run {run_id}", lambda: connection.client.jobs.get_run(run_id))
    found = []
    for task in tasks_of(run):
        state = result_of(task)
        if life_of(task) not in ENDED or state == "SUCCESS" or state in UPSTREAM:
            continue
        found.append(_task_error(connection, task, state))
    if not found and life_of(run) in ENDED and result_of(run) != "SUCCESS":
        message = connection.redact((run.state.state_message if run.state else None) or "")
        found.append(
            TaskError(
                *("(run)", run_id, life_of(run), result_of(run), message, "", ""),
                mend=suggest(f"{result_of(run)}\n{message}"),
                url=run.run_page_url or "",
            )
        )
    return found


def _task_error(connection: Connection, task: RunTask, state: str) -> TaskError:
    from databricks.sdk.service.jobs import RunOutput

    task_run = task.run_id or 0
    message = (task.state.state_message if task.state else None) or ""
    try:
        output = connection.call(
            f"reading the output of task {task.task_key}", lambda: connection.client.jobs.get_run_output(task_run)
        )
    except DatabricksError as unread:
        # What else is known of the task is told all the same.
        output = RunOutput(error=f"{message}\n{unread}".strip())
    error = output.error or message
    ended = _termination(connection, task)
    everything = "\n".join([error, message, output.error_trace or "", ended])
    return TaskError(
        task=task.task_key,
        run_id=task_run,
        life=life_of(task),
        state=state,
        error=connection.redact(error if not ended or ended in error else f"{error}\n{ended}"),
        trace=connection.redact(output.error_trace or ""),
        log=connection.redact(output.logs or ""),
        mend=suggest(f"{state}\n{everything}"),
        url=task.run_page_url or "",
    )


def _termination(connection: Connection, task: RunTask) -> str:
    """Why the task's cluster ended, where that is no ordinary end."""
    cluster = _cluster_of(connection, task)
    reason = cluster.termination_reason if cluster else None
    if (
        cluster is None
        or reason is None
        or reason.code is None
        or reason.code.value in ("JOB_FINISHED", "INACTIVITY", "USER_REQUEST")
    ):
        return ""
    details = ", ".join(f"{name}: {value}" for name, value in (reason.parameters or {}).items())
    return f"cluster {cluster.cluster_id} ended: {reason.code.value}{' (' + details + ')' if details else ''}"


def _cluster_of(connection: Connection, task: RunTask) -> ClusterDetails | None:
    """The task's cluster; None where it has none, or none that is known or shown (any more)."""
    cluster_id = task.cluster_instance.cluster_id if task.cluster_instance else None
    if not cluster_id:
        return None
    try:
        return connection.call(f"looking at cluster {cluster_id}", lambda: connection.client.clusters.get(cluster_id))
    except DatabricksError:
        return None


def _why_waiting(connection: Connection, run: Run, task: RunTask) -> str:
    cluster = _cluster_of(connection, task)
    if cluster is not None:
        state = cluster.state.value if cluster.state else "unknown"
        text = f"cluster {cluster.cluster_id} is {state}: {cluster.state_message}; a pool, another node_type or "
        text += "existing_cluster_id starts sooner"
    else:
        told = [reason for of in (task.state, run.state) if of for reason in (of.queue_reason, of.state_message)]
        text = next((reason for reason in told if reason), "no reason given")
    return connection.redact(text)


def cancel(connection: Connection, run_id: int) -> Ended:
    """End the run, and wait until it has ended. A run that is over is left as it is.

    Raises DatabricksError where it is refused, or has not ended after `_CANCEL_SECONDS`.
    """
    connection.call(f"cancelling run {run_id}", lambda: connection.client.jobs.cancel_run(run_id))
    began = time.monotonic()
    while True:
        run = connection.call(f"looking at run {run_id}", lambda: connection.client.jobs.get_run(run_id))
        if life_of(run) in ENDED:
            return ended_of(connection, run_id, run)
        if time.monotonic() - began > _CANCEL_SECONDS:
            raise DatabricksError(
                f"run {run_id} was cancelled {_span(_CANCEL_SECONDS)} ago and is still {life_of(run)}: look at "
                f"{run.run_page_url}"
            )
        time.sleep(min(2.0, connection.options.poll_seconds))


def error_text(found: TaskError) -> str:
    """A task's error as it is printed: what, the end of the traceback, the mend, where to look."""
    lines = [f"task {found.task} (run {found.run_id}): {found.state}", f"  {found.error}"]
    lines += [f"    {line}" for line in found.trace.strip().splitlines()[-_TRACE_LINES:]]
    if found.mend:
        lines.append(f"  to mend: {found.mend}")
    lines.append(f"  {found.url}")
    return "\n".join(lines)


def full_log(ended: dict[str, Any], found: list[TaskError]) -> str:
    """Everything known of a run, for the saved log."""
    parts = ["\n".join(f"{name}: {value}" for name, value in ended.items())]
    for error in found:
        parts += [error_text(error), error.trace, error.log]
    return "\n\n".join(part for part in parts if part) + "\n"


def _clock() -> str:
    return dt.datetime.now().astimezone().strftime("%H:%M:%S")


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
