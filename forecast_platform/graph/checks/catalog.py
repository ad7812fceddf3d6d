"""Every asset check of a platform, by asset."""

from __future__ import annotations

from dagster import AssetChecksDefinition

from forecast_platform.graph.checks.forecasts import forecasts_checks
from forecast_platform.graph.checks.scores import forecast_metadata_checks
from forecast_platform.graph.checks.trained import trained_models_checks
from forecast_platform.graph.checks.unified import unified_data_checks
from forecast_platform.graph.keys import all_keys
from forecast_platform.settings import Settings


def platform_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """The checks of each group's unified_data and of each model's assets; one step an asset family, run after it in
    its run."""
    checks = []
    for keys in all_keys(settings):
        checks.append(unified_data_checks(keys))
        for model in settings.models:
            checks += [
                trained_models_checks(model, keys),
                forecasts_checks(model, keys, settings.horizon),
                forecast_metadata_checks(model, keys),
            ]
    return checks
