"""A run in a shell that an interrupt ends is canceled, at whatever moment it comes; whoever started it is told."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path

import pytest
from dagster import DagsterEventType, DagsterRunStatus, in_process_executor, job, op
from dagster._core.events.log import EventLogEntry

from forecast_platform.runs.launch import Launcher, summarise_events
from forecast_platform.settings import build


@op
def first() -> int:
    return 1


@op
def second(x: int) -> int:
    return x


@job(executor_def=in_process_executor)
def both() -> None:
    second(first())


@pytest.mark.parametrize("after", ["first", "second"])
def test_an_interrupt_that_comes_when_a_step_has_ended_cancels_the_run(tmp_path: Path, after: str) -> None:
    launcher, run_id = Launcher(build(warehouse=tmp_path)), str(uuid.uuid4())

    def interrupt(entry: EventLogEntry, _cursor: str = "") -> None:
        event = entry.dagster_event
        if event is not None and event.event_type == DagsterEventType.STEP_SUCCESS and event.step_key == after:
            signal.raise_signal(signal.SIGINT)

    with launcher.canceled_when_interrupted(run_id):
        launcher.instance.add_event_listener(run_id, interrupt)
        result = both.execute_in_process(instance=launcher.instance, run_id=run_id, raise_on_error=False)
    assert launcher.status_after(run_id, result.all_events) == "CANCELED"
    run = launcher.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == DagsterRunStatus.CANCELED
    messages, _ = summarise_events(result.all_events)
    assert messages
    assert all(message.endswith(": interrupted") for message in messages)
