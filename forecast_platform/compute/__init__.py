"""Where chunks of forecast dates are computed: the one place that knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecast_platform.compute.base import Compute
from forecast_platform.settings import Settings, SettingsError

if TYPE_CHECKING:
    from forecast_platform.compute.databricks.compute import PipesCompute


def compute_for(settings: Settings) -> Compute:
    """The compute that `settings.compute` names."""
    if settings.compute == "local":
        from forecast_platform.compute.local import LocalCompute

        return LocalCompute(settings.workers)
    if settings.compute == "spark":
        from forecast_platform.compute.spark import SparkCompute

        return SparkCompute()
    remote = remote_for(settings)
    if remote is not None:
        return remote
    raise SettingsError(f"compute = {settings.compute!r}: forecasts cannot be made on it")


def remote_for(settings: Settings) -> PipesCompute | None:
    """The compute that models are fitted on too, where it is not this machine."""
    if settings.compute not in ("databricks_serverless", "databricks_classic"):
        return None
    from forecast_platform.compute.databricks.compute import PipesCompute

    return PipesCompute(serverless=settings.compute == "databricks_serverless")
