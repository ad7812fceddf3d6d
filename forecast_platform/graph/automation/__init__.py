"""Schedules, sensors and alerts: what makes the platform run by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import ScheduleDefinition, SensorDefinition

    from forecast_platform.settings import Settings


def build_automation(
    settings: Settings, jobs: Sequence[Any]
) -> tuple[list[ScheduleDefinition], list[SensorDefinition]]:
    """Schedules and sensors over the platform's jobs, which share one look at its tables."""
    from forecast_platform.graph.automation.observe import Observer
    from forecast_platform.graph.automation.schedules import build_schedules
    from forecast_platform.graph.automation.sensors import build_sensors

    observer = Observer(settings)
    by_name = {job.name: job for job in jobs}
    return build_schedules(settings, observer, by_name), build_sensors(settings, observer, by_name)
