"""What state a run is in, what went wrong in it, and ending it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.error_remedies import suggest

if TYPE_CHECKING:
    from databricks.sdk.service.compute import ClusterDetails
    from databricks.sdk.service.jobs import BaseRun, Run, RunTask

ENDED = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
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


def ended_of(connection: Connection, run_id: int, run: Run) -> Ended:
    """How a run that is over ended."""
    message = (run.state.state_message if run.state else None) or ""
    return Ended(run_id, result_of(run), connection.redact(message), run.run_page_url or "")


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
    cluster = cluster_of(connection, task)
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


def cluster_of(connection: Connection, task: RunTask) -> ClusterDetails | None:
    """The task's cluster; None where it has none, or none that is known or shown (any more)."""
    cluster_id = task.cluster_instance.cluster_id if task.cluster_instance else None
    if not cluster_id:
        return None
    try:
        return connection.call(f"looking at cluster {cluster_id}", lambda: connection.client.clusters.get(cluster_id))
    except DatabricksError:
        return None


def cancel(connection: Connection, run_id: int) -> Ended:
    """End the run, and wait until it has ended. A run that is over is left as it is.

    Raises DatabricksError where it is refused, or has not ended after `_CANCEL_SECONDS`.
    """
    began, asked = time.monotonic(), False
    while True:
        try:
            if not asked:
                connection.call(f"cancelling run {run_id}", lambda: connection.client.jobs.cancel_run(run_id))
                asked = True
            run = connection.call(f"looking at run {run_id}", lambda: connection.client.jobs.get_run(run_id))
        except DatabricksError as error:
            if not error.passing or time.monotonic() - began > _CANCEL_SECONDS:
                raise
            time.sleep(connection.options.poll_seconds)
            continue
        if life_of(run) in ENDED:
            return ended_of(connection, run_id, run)
        if time.monotonic() - began > _CANCEL_SECONDS:
            raise DatabricksError(
                f"run {run_id} was cancelled {span_text(_CANCEL_SECONDS)} ago and is still {life_of(run)}: look at "
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


def span_text(seconds: float) -> str:
    """Seconds as text: `3 min 05 s`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
