"""The resources under which heavy steps find who runs them: this process, or with compute=databricks a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagster import InitResourceContext, ResourceDefinition
from dagster._core.definitions.no_step_launcher import no_step_launcher

from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from forecast_platform.graph.launchers.step_config import Family

TRAINING = "training_step_launcher"
FORECASTS = "forecast_step_launcher"
"""Two keys, because a step has one launcher and a launcher one cluster: a single node to train, workers to forecast."""


def step_launcher_resources(settings: Settings) -> dict[str, ResourceDefinition]:
    """The launchers that `settings.compute` means."""
    if settings.compute != "databricks":
        return {TRAINING: no_step_launcher, FORECASTS: no_step_launcher}
    return {TRAINING: _databricks(settings, "train"), FORECASTS: _databricks(settings, "backfill")}


def _databricks(settings: Settings, family: Family) -> ResourceDefinition:
    def launcher(_: InitResourceContext) -> Iterator[Any]:
        # The library takes seconds to import, and credentials are not looked for where nothing is run.
        from forecast_platform.graph.launchers.step_launcher import step_launcher

        with step_launcher(settings, family) as made:
            yield made

    return ResourceDefinition(
        launcher, description="Ships steps to a Databricks cluster (databricks_pyspark_step_launcher)."
    )
