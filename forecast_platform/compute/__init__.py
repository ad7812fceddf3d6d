"""Where chunks of forecast dates are computed: the one place that knows."""

from __future__ import annotations

from forecast_platform.compute.base import Compute
from forecast_platform.settings import Settings, SettingsError


def compute_for(settings: Settings) -> Compute:
    """The compute that `settings.compute` names."""
    if settings.compute == "local":
        from forecast_platform.compute.local import LocalCompute

        return LocalCompute(settings.workers)
    if settings.compute == "spark":
        from forecast_platform.compute.spark import SparkCompute

        return SparkCompute()
    if settings.compute == "databricks":
        raise SettingsError(
            "compute = 'databricks': steps are shipped by Dagster's step launcher, so materialize the assets (UI, or "
            "`forecast-platform train` and `backfill`); a function called by itself needs 'local' or 'spark'"
        )
    raise SettingsError(f"compute = {settings.compute!r}: 'local' and 'spark' are there")
