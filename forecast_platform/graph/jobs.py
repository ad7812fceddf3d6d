"""The four jobs of each group: ingest, train, forecast (with actuals) and score."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forecast_platform.graph.keys import FORECAST, INGEST, JOBS, SCORE, TRAIN, all_keys
from forecast_platform.settings import Settings

_DESCRIPTIONS = {
    INGEST: "Source to unified_data",
    TRAIN: "Fit every model on training windows",
    FORECAST: "Paths, point forecasts and actuals of forecast dates",
    SCORE: "Score the forecasts of windows",
}


def platform_jobs(settings: Settings) -> dict[str, list[UnresolvedAssetJobDefinition]]:
    """Each of JOBS in every group, over every configured model."""
    return {
        job: [
            define_asset_job(
                keys.job(job),
                AssetSelection.assets(*keys.of_job(job, settings.models)),
                description=f"{_DESCRIPTIONS[job]}{f', of {keys.group}' if keys.group else ''}.",
            )
            for keys in all_keys(settings)
        ]
        for job in JOBS
    }
