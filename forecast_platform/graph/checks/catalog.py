"""Every asset check of a platform, by asset."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import AssetChecksDefinition

from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.graph.checks.forecasts import forecasts_checks
from forecast_platform.graph.checks.scores import forecast_metadata_checks
from forecast_platform.graph.checks.trained import trained_models_checks
from forecast_platform.graph.checks.unified import unified_data_checks


def platform_checks(models: Sequence[str], horizon: int = DEFAULT) -> list[AssetChecksDefinition]:
    """The checks of unified_data and of each model's assets; one step an asset family, run after it in its run.

    horizon: days that a forecast covers, for the texts.
    """
    checks = [unified_data_checks()]
    for model in models:
        checks += [trained_models_checks(model), forecasts_checks(model, horizon), forecast_metadata_checks(model)]
    return checks
