"""The two schedules of a group: training when a window begins, and the start of each day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from forecast_platform.forecasting.windows import FREQUENCIES
from forecast_platform.graph.automation.daily import decide_ingest
from forecast_platform.graph.automation.day_state import Decision
from forecast_platform.graph.automation.observe import Observer, rules_of
from forecast_platform.graph.automation.requests import attempts_of, run_request
from forecast_platform.graph.automation.training import decide_training
from forecast_platform.graph.keys import INGEST, TRAIN, Keys, all_keys
from forecast_platform.settings import Settings
from forecast_platform.settings.groups import SeriesGroup

TRAINING, DAILY = "training", "daily"


def crons(settings: Settings) -> dict[str, tuple[str, str]]:
    """Schedule -> cron expression and zone, of every group."""
    days = FREQUENCIES[settings.train_frequency].cron.split(maxsplit=2)[2]
    own = {
        TRAINING: f"{settings.training_time.minute} {settings.training_time.hour} {days}",
        DAILY: f"{settings.daily_time.minute} {settings.daily_time.hour} * * *",
    }
    return {keys.job(name): (cron, settings.timezone) for keys in all_keys(settings) for name, cron in own.items()}


def build_schedules(
    settings: Settings, observer: Observer, jobs: Mapping[str, Sequence[Any]]
) -> list[ScheduleDefinition]:
    """Both schedules of each group (a schedule of Dagster has one job), switched on where the settings say so."""
    return [
        found
        for group, train, ingest in zip(settings.series_groups, jobs[TRAIN], jobs[INGEST], strict=True)
        for found in (_training(settings, observer, group, train), _daily(settings, observer, group, ingest))
    ]


def _status(settings: Settings) -> DefaultScheduleStatus:
    return DefaultScheduleStatus.RUNNING if settings.automated else DefaultScheduleStatus.STOPPED


def _training(settings: Settings, observer: Observer, group: SeriesGroup, job: Any) -> ScheduleDefinition:
    name = Keys(group.name).job(TRAINING)
    rules = rules_of(settings).part(group)

    @schedule(
        name=name,
        cron_schedule=crons(settings)[name][0],
        execution_timezone=settings.timezone,
        job=job,
        default_status=_status(settings),
        description=(
            "Trains every model and series on the window that begins. Its last session's close is usually not there "
            "yet: then the sensor train_missing_windows trains it as soon as it is."
        ),
    )
    def training(context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        now = settings.now()
        begun = observer.platform.window_start(settings.today())
        windows = [window for window in observer.windows(settings.today()) if window.start == begun]
        decision = decide_training(rules, windows, attempts_of(context.instance, now), now)
        return answer(decision, observer, name)

    return training


def _daily(settings: Settings, observer: Observer, group: SeriesGroup, job: Any) -> ScheduleDefinition:
    name = Keys(group.name).job(DAILY)
    rules = rules_of(settings).part(group)

    @schedule(
        name=name,
        cron_schedule=crons(settings)[name][0],
        execution_timezone=settings.timezone,
        job=job,
        default_status=_status(settings),
        description=(
            "Starts the day: materializes the days of unified_data that the source has. The sensor daily_forecast "
            "then waits for late data, forecasts with all models and series of the group in one run, and scores."
        ),
    )
    def daily(context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        now = settings.now()
        if settings.end_date is not None and settings.today() > settings.end_date + dt.timedelta(days=1):
            return SkipReason(f"the source has ended (end_date {settings.end_date})")
        pending = observer.pending(now).part(rules)
        decision = decide_ingest(rules, pending, attempts_of(context.instance, now), now)
        return answer(decision, observer, name)

    return daily


def answer(decision: Decision, observer: Observer, by: str) -> list[RunRequest] | SkipReason:
    """A decision as the result of a tick of the schedule or sensor `by`, less what another has just requested."""
    settings = observer.settings
    requests, others = observer.claims.take(decision.requests, by, settings.now())
    if not requests:
        return SkipReason("; ".join(others) or decision.reason)
    return [run_request(request, tried, settings.models) for request, tried in requests]
