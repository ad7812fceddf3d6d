"""The two schedules: training when a window begins, and the start of each day."""

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

from forecast_platform.automation.daily import Decision, decide_ingest
from forecast_platform.automation.observe import Observer, rules_of
from forecast_platform.automation.requests import attempts_of, run_request
from forecast_platform.automation.training import decide_training
from forecast_platform.forecasting.windows import FREQUENCIES
from forecast_platform.keys import INGEST, TRAIN
from forecast_platform.settings import Settings

TRAINING, DAILY = "training", "daily"


def crons(settings: Settings) -> dict[str, tuple[str, str]]:
    """Schedule -> cron expression and zone."""
    days = FREQUENCIES[settings.train_frequency].cron.split(maxsplit=2)[2]
    return {
        TRAINING: (f"{settings.training_time.minute} {settings.training_time.hour} {days}", settings.timezone),
        DAILY: (f"{settings.daily_time.minute} {settings.daily_time.hour} * * *", settings.timezone),
    }


def build_schedules(settings: Settings, observer: Observer, jobs: Mapping[str, Sequence[Any]]) -> list[ScheduleDefinition]:
    """Both schedules, switched on where the settings say so."""
    status = DefaultScheduleStatus.RUNNING if settings.automated else DefaultScheduleStatus.STOPPED
    rules = rules_of(settings)
    cron = crons(settings)

    @schedule(
        name=TRAINING,
        cron_schedule=cron[TRAINING][0],
        execution_timezone=settings.timezone,
        jobs=jobs[TRAIN],
        default_status=status,
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
        return answer(decision, settings)

    @schedule(
        name=DAILY,
        cron_schedule=cron[DAILY][0],
        execution_timezone=settings.timezone,
        jobs=jobs[INGEST],
        default_status=status,
        description=(
            "Starts the day: materializes the days of unified_data that the source has. The sensor daily_forecast "
            "then waits for late data, forecasts with all models in one run a group of series, and scores."
        ),
    )
    def daily(context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        now = settings.now()
        if settings.end_date is not None and settings.today() > settings.end_date + dt.timedelta(days=1):
            return SkipReason(f"the source has ended (end_date {settings.end_date})")
        pending = observer.pending(now)
        decision = decide_ingest(rules, pending, attempts_of(context.instance, now), now)
        return answer(decision, settings)

    return [training, daily]


def answer(decision: Decision, settings: Settings) -> list[RunRequest] | SkipReason:
    """A decision as a tick's result."""
    if not decision.requests:
        return SkipReason(decision.reason)
    return [run_request(request, tried, settings.models) for request, tried in decision.requests]
