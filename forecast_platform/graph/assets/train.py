"""trained_models/<model>: fitted once a window on the days before it, kept, and tracked in MLflow."""

from collections.abc import Iterator
from dataclasses import replace

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from forecast_platform.graph.assets import over_partitions, shown
from forecast_platform.graph.assets.report import (
    conclude,
    outcome_metadata,
    refused_is_failed,
    requested,
)
from forecast_platform.graph.keys import Keys
from forecast_platform.graph.launchers.resources import TRAINING
from forecast_platform.graph.partitions import Partitions
from forecast_platform.graph.pipes_step import DagsterStep
from forecast_platform.host.progress import reporter
from forecast_platform.models import registry
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work.platform import Platform


def trained_models_asset(model: str, partitions: Partitions) -> AssetsDefinition:
    """The asset of one model over training windows and series of a group.

    Raises ValueError for a model that is not registered.
    """
    entry = registry.entry(partitions.settings.model_spec(model).type)
    keys = Keys(partitions.group.name)
    key = keys.trained_models(model)

    @asset(
        key=key,
        deps=[AssetDep(keys.unified_data, partition_mapping=partitions.lookback)],
        partitions_def=partitions.windows,
        pool=model,
        description=(
            f"{entry.description} Fitted once a window, on the lookback's days strictly before the window's first "
            "day. A window whose training data and algorithm are unchanged is skipped."
        ),
        **shown(keys.shown_in("training"), entry.kind, "mlflow", table=TRAINED_MODELS),
        **over_partitions(TRAINING),
        output_required=False,
    )
    def trained_models(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.pipeline.tracking import Tracker, TrackingError
        from forecast_platform.pipeline.training import train
        from forecast_platform.work.fits import latest_run_id

        platform: Platform = replace(context.resources.platform, step=DagsterStep(context))
        options = platform.options(context.run_tags)
        with refused_is_failed():
            outcomes = [
                train(
                    platform,
                    series,
                    model,
                    windows,
                    version=options.version,
                    overwrite=options.overwrite,
                    progress=reporter(context.log.info),
                )
                for series, windows in requested(context, platform.settings.series_names).items()
            ]
        runs = {one.series: latest_run_id(platform, one.series, model, options.version) for one in outcomes}
        links = {}
        try:
            tracker = Tracker(platform.settings)
            links = {
                f"mlflow_{of}": MetadataValue.url(tracker.run_url(run_id)) for of, run_id in runs.items() if run_id
            }
        except TrackingError as error:
            # The models are stored: that nobody can look at their fits now does not undo it.
            context.log.warning(f"no links to the fits: {error}")
        metadata = outcome_metadata(outcomes, links)
        mine = {"model_name": model, "commodity": list(partitions.group.series)}
        rows = platform.warehouse.rows(TRAINED_MODELS, mine)
        yield from conclude(context, {key: metadata}, outcomes, row_counts={key: rows})

    return trained_models
