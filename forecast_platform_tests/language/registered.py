"""Models in a registry of a test's own."""

from __future__ import annotations

from typing import Any

from forecast_platform.pipeline.tracking import Tracker
from forecast_platform.settings import Settings


def register(settings: Settings, *models: tuple[Any, ...]) -> Settings:
    """Registers models: name, metrics, and where given alias and description."""
    tracker = Tracker(settings)
    client = tracker.client
    for name, metrics, *more in models:
        alias, description = (*more, None, None)[:2]
        run = client.create_run(tracker.experiment_id, tags={"series": name.split("-")[0]})
        for metric, value in metrics.items():
            client.log_metric(run.info.run_id, metric, value)
        client.log_param(run.info.run_id, "depth", 4)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description=description)
        made = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
        if alias:
            client.set_registered_model_alias(name, alias, made.version)
    return settings
