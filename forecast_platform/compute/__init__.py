"""Where fits and chunks of forecast dates are computed: the one place that knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecast_platform.compute.base import Compute, Engine
from forecast_platform.plugins import registry as plugins
from forecast_platform.settings import Settings, SettingsError

if TYPE_CHECKING:
    from forecast_platform.compute.databricks.compute import PipesCompute


def compute_for(settings: Settings) -> Compute:
    """The compute that `settings.compute` names. Raises SettingsError where a plugin cannot be made."""
    return remote_for(settings) or engine_for(settings)


def engine_for(settings: Settings) -> Engine:
    """The compute that works in this process, or on its Spark session.

    Raises SettingsError where a plugin cannot be made, or for one that is reached by Dagster's step launcher alone.
    """
    if settings.compute == "local":
        from forecast_platform.compute.local import LocalCompute

        return LocalCompute(settings.workers)
    if settings.compute == "spark":
        from forecast_platform.compute.spark import SparkCompute

        return SparkCompute()
    if settings.compute not in plugins.BUILT_IN["compute"]:
        try:
            made: Engine = plugins.make("compute", settings.compute, settings)
        except plugins.PluginError as error:
            raise SettingsError(str(error)) from error
        return made
    raise SettingsError(
        f"compute = {settings.compute!r}: steps are shipped by Dagster's step launcher, so materialize the assets (UI, "
        "or `forecast-platform train` and `backfill`); a function called by itself needs 'local' or 'spark'"
    )


def remote_for(settings: Settings) -> PipesCompute | None:
    """The compute that submits a run for each chunk, where that is what `settings.compute` names."""
    if settings.compute not in ("databricks_serverless", "databricks_classic"):
        return None
    from forecast_platform.compute.databricks.compute import PipesCompute

    return PipesCompute(serverless=settings.compute == "databricks_serverless")
