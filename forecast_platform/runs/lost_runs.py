"""Runs whose process ended with an `up` before it could say so: nobody else would end them, and they hold a place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from forecast_platform.host.services import CODE_FOLDER
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

_LAUNCHED_BY = ".dagster/grpc_info"


def close_lost(settings: Settings) -> list[str]:
    """End such runs as failed, so that Dagster tries each again; returns their ids.

    For a new `up` that is the only one of this instance: what an earlier one launched here has no parent now. Raises
    SettingsError where the instance's folder is not to be had.
    """
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

    from forecast_platform.host.home import prepare_home

    prepare_home(settings)
    instance = DagsterInstance.get()
    open_states = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    closed = []
    for run in instance.get_runs(RunsFilter(statuses=open_states)):
        socket = json.loads(run.tags.get(_LAUNCHED_BY, "{}")).get("socket") or ""
        if CODE_FOLDER not in socket or _works(instance, run.run_id):
            continue
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message="Its process ended with the service.")
        else:
            instance.report_run_failed(run, "Its process ended with the service; what it wrote is kept.")
        closed.append(run.run_id)
    return closed


def _works(instance: DagsterInstance, run_id: str) -> bool:
    """Whether the process that the run's log names is there still, and not another one under its number."""
    import psutil
    from dagster import DagsterEventType

    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        try:
            if pid is not None and psutil.Process(int(str(pid.value))).create_time() <= entry.timestamp + 1:
                return True
        except psutil.NoSuchProcess:
            continue
    return False
