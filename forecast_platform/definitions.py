"""The one Definitions object. Loading it does no work: no table is opened, no model library imported."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from dagster import BetaWarning, DagsterInstance, Definitions, ResourceDefinition, in_process_executor

from forecast_platform.graph.assets.daily_page import daily_page_asset, daily_page_job, daily_page_sensor
from forecast_platform.graph.assets.forecast import actuals_asset, forecasts_asset
from forecast_platform.graph.assets.ingest import unified_data_asset
from forecast_platform.graph.assets.maintenance import maintenance_job, maintenance_schedule
from forecast_platform.graph.assets.score import forecast_metadata_asset
from forecast_platform.graph.assets.train import trained_models_asset
from forecast_platform.graph.assets.training_jobs import training_job, training_job_assets
from forecast_platform.graph.automation import build_automation
from forecast_platform.graph.automation.training_jobs import training_job_sensor
from forecast_platform.graph.checks.catalog import platform_checks
from forecast_platform.graph.jobs import platform_jobs
from forecast_platform.graph.keys import SCORE
from forecast_platform.graph.launchers.resources import step_launcher_resources
from forecast_platform.graph.partitions import Partitions
from forecast_platform.host.memory import collect_seldom, lean_allocators
from forecast_platform.host.private_files import restrict
from forecast_platform.settings import Settings, load
from forecast_platform.warehouse.base import require_horizon
from forecast_platform.work.platform import Platform


def build_definitions(settings: Settings) -> Definitions:
    """The asset graph of these settings. Raises ValueError for a model that is not registered."""
    # Backfill policies and multi-partition mappings are beta; partitions.py is where that is known and kept.
    warnings.filterwarnings("ignore", category=BetaWarning)
    assets = [daily_page_asset(_health), *training_job_assets(settings)]
    for group in settings.series_groups:
        partitions = Partitions(settings, group)
        assets += [unified_data_asset(partitions), actuals_asset(partitions)]
        for model in settings.models:
            assets += [
                trained_models_asset(model, partitions),
                forecasts_asset(model, partitions),
                forecast_metadata_asset(model, partitions),
            ]
    jobs = platform_jobs(settings)
    schedules, sensors = build_automation(settings, jobs)
    page, maintenance, on_request = daily_page_job(), maintenance_job(_maintain), training_job(settings)
    return Definitions(
        assets=assets,
        asset_checks=platform_checks(settings),
        jobs=[*(job for found in jobs.values() for job in found), page, maintenance, on_request],
        schedules=[*schedules, maintenance_schedule(settings, maintenance)],
        sensors=[
            *sensors,
            daily_page_sensor(settings, page, jobs[SCORE]),
            training_job_sensor(settings, on_request),
        ],
        resources=_resources(settings),
        # Steps of one run share imports and the histories they read: a process each costs five times as much.
        executor=in_process_executor,
    )


def _health(settings: Settings) -> Any:
    from forecast_platform.housekeeping.health import health

    return health(settings)


def _maintain(name: str, platform: Platform, instance: DagsterInstance) -> list[str]:
    from forecast_platform.housekeeping.maintenance import maintain_part

    return maintain_part(name, platform, instance)


def _platform(settings: Settings, spark: Any = None) -> Platform:
    """A run's platform. Raises HorizonError where the folder's tables hold forecasts of another number of days; those
    of Unity Catalog say so when they are read, for no session is made here."""
    collect_seldom()
    lean_allocators()
    restrict(settings)
    platform = Platform.from_settings(settings, spark)
    if settings.tables == "folder":
        require_horizon(platform.warehouse)
    return platform


def _of_run(settings: Settings, spark: Any = None) -> Iterator[Platform]:
    """A run's platform until its end. Dagster's contexts refer to one another and so outlive the run, by many where one
    process runs a hundred series: the platform must hold nothing by then."""
    platform = _platform(settings, spark)
    try:
        yield platform
    finally:
        platform.let_go()


def _resources(settings: Settings) -> dict[str, ResourceDefinition]:
    launchers = step_launcher_resources(settings)
    if settings.compute != "spark":
        return {**launchers, "platform": ResourceDefinition(lambda _: _of_run(settings))}
    from forecast_platform.graph.spark_resource import spark_resource

    return {
        **launchers,
        "spark": spark_resource(settings),
        "platform": ResourceDefinition(
            lambda context: _of_run(settings, context.resources.spark), required_resource_keys={"spark"}
        ),
    }


_LOADED = load()
defs = build_definitions(_LOADED)


def definitions_of(settings: Settings) -> Definitions:
    """The asset graph of these settings: `defs` where they are those that it was made of, for it is made once a
    process. Raises ValueError for a model that is not registered."""
    return defs if settings == _LOADED else build_definitions(settings)
