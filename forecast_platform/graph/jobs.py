"""The four jobs: a job holds assets of one partition set only, so a day is three runs (ingest, forecast, score) and not
one; train runs when a window begins."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import AssetKey, AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forecast_platform.graph.assets import forecast, ingest, score, train

INGEST, TRAIN, FORECAST, SCORE = "ingest", "train", "forecast", "score"


def platform_jobs(models: Sequence[str]) -> list[UnresolvedAssetJobDefinition]:
    """Ingest, train, forecast (with actuals) and score, each over every configured model."""
    forecasts: list[AssetKey] = [key(model) for model in models for key in (forecast.paths_key, forecast.points_key)]
    return [
        define_asset_job(INGEST, AssetSelection.assets(ingest.KEY), description="Source to unified_data."),
        define_asset_job(
            TRAIN, AssetSelection.assets(*map(train.key, models)), description="Fit every model on training windows."
        ),
        define_asset_job(
            FORECAST,
            AssetSelection.assets(*forecasts, forecast.ACTUALS_KEY),
            description="Paths, point forecasts and actuals of forecast dates.",
        ),
        define_asset_job(
            SCORE, AssetSelection.assets(*map(score.key, models)), description="Score the forecasts of windows."
        ),
    ]
