"""The weekly maintenance job: tables, Dagster's log and MLflow, each part an op that may be killed."""

from collections.abc import Callable
from typing import Any

from dagster import (
    DagsterInstance,
    DefaultScheduleStatus,
    Failure,
    JobDefinition,
    MetadataValue,
    OpDefinition,
    OpExecutionContext,
    ScheduleDefinition,
    graph,
    in_process_executor,
    op,
)

from forecast_platform.settings import Settings
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import RefusedError

Maintain = Callable[[str, Platform, DagsterInstance], list[str]]
"""Does the part that is named; returns what was done, a line each. Raises RefusedError where it cannot begin."""

NAME = "maintenance"
CRON = "0 2 * * 0"
"""Sundays at 02:00 in the platform's zone: no exchange trades, and the daily run is hours away."""

ORDER = ("compact", "vacuum", "verify", "prune", "archive")

_DESCRIPTIONS = {
    "compact": "Merge small files of the tables; a month that is still written is left alone.",
    "vacuum": "Delete files that no version of the last vacuum_hours refers to.",
    "verify": "Compare every file of the tables with the hash that was kept when it was written.",
    "prune": "Delete records of runs older than keep_runs_days that hold no partition's newest materialization, and "
    "rows of training jobs that are gone.",
    "archive": "Move MLflow runs of superseded fits to MLflow's deleted stage.",
}


def _part(name: str, maintain: Maintain) -> OpDefinition:
    @op(
        name=name,
        description=_DESCRIPTIONS[name],
        required_resource_keys={"platform"},
        # One after the other, but none waits for another's success.
        tags={"dagster/priority": str(-ORDER.index(name))},
    )
    def part(context: OpExecutionContext) -> None:
        try:
            lines = maintain(name, context.resources.platform, context.instance)
        except RefusedError as error:
            raise Failure(str(error), allow_retries=False) from error
        for line in lines:
            context.log.info(line)
        context.add_output_metadata({"done": MetadataValue.md("\n".join(f"- {line}" for line in lines))})

    return part


def maintenance_job(maintain: Maintain) -> JobDefinition:
    """The parts one after the other; one that fails keeps none from running."""
    parts: dict[str, Callable[..., Any]] = {name: _part(name, maintain) for name in ORDER}

    @graph(
        name=NAME,
        description="Weekly: compact, vacuum and verify the tables, prune Dagster's log, archive MLflow runs.",
    )
    def weekly() -> None:
        for name in ORDER:
            parts[name]()

    # Hours of compaction in a large warehouse are no hang.
    return weekly.to_job(executor_def=in_process_executor, tags={"dagster/max_runtime": "14400"})


def maintenance_schedule(settings: Settings, job: JobDefinition) -> ScheduleDefinition:
    """The job every Sunday; on from the start where the platform's automation is."""
    return ScheduleDefinition(
        name="weekly_maintenance",
        job=job,
        cron_schedule=CRON,
        execution_timezone=settings.timezone,
        default_status=DefaultScheduleStatus.RUNNING if settings.automated else DefaultScheduleStatus.STOPPED,
        description="Tables, logs and MLflow are kept small; each part may be killed and goes on the next time.",
    )
