"""Schedules, sensors and alerts: what makes the platform run by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import ScheduleDefinition, SensorDefinition

    from forecast_platform.settings import Settings


def build_automation(
    settings: Settings, jobs: Mapping[str, Sequence[Any]]
) -> tuple[list[ScheduleDefinition], list[SensorDefinition]]:
    """Schedules and sensors over every group's jobs (by kind), which share one look at the platform's tables."""
    from forecast_platform.graph.automation.observe import Observer
    from forecast_platform.graph.automation.schedules import build_schedules
    from forecast_platform.graph.automation.sensors import build_sensors

    observer = Observer(settings)
    return build_schedules(settings, observer, jobs), build_sensors(settings, observer, jobs)
