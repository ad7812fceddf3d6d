"""Runs that users asked for through the API: the newest of an attempt, whether it goes on, and how a wish to cancel
reaches it. Training jobs and workflows are both such."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from forecast_platform.host.admission import ENDED
from forecast_platform.host.admission_table import AdmissionTable, Requested, Row

if TYPE_CHECKING:
    from dagster import AssetExecutionContext

USER_TAG = "forecast_platform/training_user"
KIND_TAG = "forecast_platform/kind"
KIND = "training_job"
"""Value of KIND_TAG: what the queue's limit of such runs goes by."""
_WORKING = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
WAITING = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED)

_WILL_RETRY_TAG = "dagster/will_retry"
_DID_RETRY_TAG = "dagster/auto_retry_run_id"
_UNDECIDED_SECONDS = 15.0
"""Seconds after a failure within which Dagster says whether it tries again."""
_LOST_SECONDS = 120.0
"""Seconds after which one that runs or was cancelled, and whose run Dagster does not know, is taken as ended."""
NO_RECORD = (
    "Dagster has no record of its run: that was deleted, or the records are older than the request, as after a "
    "restore; what was finished is kept: ask for it again"
)
"""Why one has failed that nobody will ever tell the end of."""
_LOOK_SECONDS = 0.5
_LAST_SECONDS = 30.0
"""Seconds after which a process that no interrupt reaches (in native code) is ended."""
_CANCELLED = "Cancelled by its user."


def newest_run(instance: DagsterInstance, tags: Mapping[str, str]) -> DagsterRun | None:
    """The newest run with these tags; None before there is one."""
    found = instance.get_runs(RunsFilter(tags=dict(tags)), limit=1)
    return found[0] if found else None


def settle(
    instance: DagsterInstance,
    store: AdmissionTable[Row],
    one: Row,
    tags: Mapping[str, str],
    *,
    succeeded: Callable[[DagsterRun], object],
    working: Callable[[DagsterRun], object] = lambda run: None,
) -> Row:
    """The row, brought in line with the newest run that has these tags: ended where that has, cancelled where that can
    be done by now. Whoever looks, at any time, comes to the same.

    succeeded, working: called with the run where it has succeeded, or works and the row says still that it waits.
    """
    if one.status in ENDED or one.status == "pending":
        return one
    if _nothing_new(instance, one):
        return one
    run = newest_run(instance, tags)
    if run is None:
        return one
    if run.status in WAITING and one.cancel:
        cancel_waiting(instance, run)
        store.ended(one, "cancelled", run.run_id)
    elif run.status == DagsterRunStatus.CANCELED:
        store.ended(one, "cancelled", run.run_id)
    elif run.status == DagsterRunStatus.SUCCESS:
        succeeded(run)
    elif run.status == DagsterRunStatus.FAILURE and not goes_on(instance, run):
        store.ended(one, "failed", run.run_id, why_it_failed(run))
    elif run.status in _WORKING and one.status == "submitting":
        working(run)
    else:
        return one
    return store.get(store.key_of(one))


def _nothing_new(instance: DagsterInstance, one: Requested) -> bool:
    """Whether a look at what is known already says that the row is as it was: finding a run by its tags takes longer
    than all else that a status needs, and there are many who ask."""
    if one.status == "submitting":
        return one.requested_at is None
    if one.status != "running" or one.run_id is None:
        return False
    known = instance.get_run_by_id(one.run_id)
    return known is not None and not known.is_finished


def cancel_waiting(instance: DagsterInstance, run: DagsterRun) -> None:
    """Take a run out of the queue; one that begins at this moment sees the wish by itself."""
    current = instance.get_run_by_id(run.run_id)
    if current is not None and current.status in WAITING:
        instance.report_run_canceling(current, message=_CANCELLED)
        instance.report_run_canceled(current)


def goes_on(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether Dagster tries a failed run again, or has not said yet: it writes the failure first, then whether."""
    told = run.tags.get(_WILL_RETRY_TAG)
    if told is None and instance.run_retries_enabled:
        record = instance.get_run_record_by_id(run.run_id)
        ended = record.end_time if record is not None else None
        return ended is not None and abs(time.time() - ended) < _UNDECIDED_SECONDS
    return told == "true" and _DID_RETRY_TAG not in run.tags


def why_it_failed(run: DagsterRun) -> str:
    """What is known of a run that failed without a word of what it worked on."""
    return (
        f"the run {run.run_id[:8]} failed without a word from the job: its process was killed or crashed, or ran "
        "longer than it may; see its log in the Dagster UI"
    )


def report_canceling(context: AssetExecutionContext) -> DagsterRun | None:
    """This step's run is about to end as cancelled; returns it."""
    run = context.instance.get_run_by_id(context.run_id)
    if run is not None:
        context.instance.report_run_canceling(run, message=_CANCELLED)
    return run


def is_lost(one: Requested, now: dt.datetime) -> bool:
    """Whether a run of it that was asked for would have come to be by now; also where it was asked for later than
    now, before the clock was set back."""
    asked = dt.datetime.fromisoformat(one.requested_at or one.submitted_at or one.created_at)
    return abs((now - asked).total_seconds()) > _LOST_SECONDS


class CancelWatch:
    """Passes the wish to cancel on to a step: kindly (`wish`), then by an interrupt, at last by its process's end."""

    def __init__(
        self,
        context: AssetExecutionContext,
        wanted: Callable[[], bool],
        grace: float = 0.0,
        at_the_end: Callable[[], object] = lambda: None,
    ) -> None:
        """wanted: whether it is to end. grace: seconds that it has to end by itself once it knows. at_the_end: called
        before the process is ended."""
        self.wish = threading.Event()
        self._context, self._wanted, self._grace, self._at_the_end = context, wanted, grace, at_the_end
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CancelWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._wanted():
                self.wish.set()
                break
        if not self.wish.is_set() or self._ended.wait(self._grace):
            return
        run = report_canceling(self._context)
        os.kill(os.getpid(), signal.SIGINT)
        if self._ended.wait(_LAST_SECONDS):
            return
        if run is not None:
            self._context.instance.report_run_canceled(run, message="Its process did not end by itself and was ended.")
        self._at_the_end()
        os._exit(1)
