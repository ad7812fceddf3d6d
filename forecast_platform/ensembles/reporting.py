"""The end of a task, told to the webhook that the settings name; who asks for its state is told the same."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.store import RUNNING, State, aware
from forecast_platform.host.signed_webhook import PAUSES, deliver

DELIVERED = "delivered"
EVENT = "ensemble.task.ended"


def report_end(
    run: Run,
    task: str,
    *,
    run_id: str,
    workflow_id: str | None,
    cancelled: bool = False,
    fresh: bool = True,
    error: BaseException | None = None,
    since: dt.datetime | None = None,
) -> str | None:
    """Post how a task ended, where the settings name a webhook, and keep whether that was taken in the task's state.

    fresh: whether it was done now, and not found done. error: what it failed of, None where it did not. since: when it
    was begun; a failure leaves the state of before where none could be written (the table is not there). Returns why
    it was not taken; None where it was, or where there is nobody to tell. A receiver that fails never fails the task.
    """
    options = run.platform.settings.training_jobs
    if options.webhook_url is None or options.webhook_secret is None:
        return None
    state = run.states.read().get(task)
    if error is not None and since is not None and state is not None and aware(state.started_at) < since:
        state = None
    payload = {
        "type": EVENT,
        "timestamp": dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds"),
        "data": {
            "workflow": run.workflow.context.name,
            "workflow_id": workflow_id,
            "task": task,
            "run_id": run_id,
            "computed": fresh,
            **_said(state, cancelled, error),
        },
    }
    # Who is cancelled has no time for more than one try.
    pauses = () if cancelled else PAUSES
    why = deliver(options.webhook_url.get_secret_value(), options.webhook_secret.get_secret_value(), payload, pauses)
    if state is not None:
        run.states.write(task, replace(state, report=DELIVERED if why is None else f"not delivered: {why}"))
    return why


def _said(state: State | None, cancelled: bool, error: BaseException | None) -> dict[str, Any]:
    """How a task ended: finished, failed or cancelled, and why."""
    if cancelled:
        return {"state": "cancelled", "error": None, "seconds": None, "attempt": None}
    if state is None:
        said = None if error is None else f"{type(error).__name__}: {error}"
        return {"state": "failed", "error": said, "seconds": None, "attempt": None}
    ended = "failed" if state.state == RUNNING else state.state
    return {"state": ended, "error": state.error, "seconds": state.seconds, "attempt": state.attempts}
