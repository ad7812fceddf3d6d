"""distributions/<model> and point_forecasts/<model>, out of one step; and distributions/actuals."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    MetadataValue,
    asset,
    multi_asset,
)

from forecast_platform.graph.assets import OWNERS, RETRIES, ingest, train
from forecast_platform.graph.assets.report import (
    conclude,
    definition_metadata,
    log_good,
    log_materialization,
    outcome_metadata,
    refused_is_failed,
    requested,
)
from forecast_platform.graph.launchers.resources import FORECASTS
from forecast_platform.graph.partitions import Partitions, backfill_policy
from forecast_platform.graph.pipes_step import DagsterStep
from forecast_platform.host.progress import reporter
from forecast_platform.models import registry
from forecast_platform.warehouse.schemas import ACTUALS, DISTRIBUTIONS, POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome


def paths_key(model: str) -> AssetKey:
    """The asset of one model's simulated paths."""
    return AssetKey(["distributions", model])


def points_key(model: str) -> AssetKey:
    """The asset of one model's point forecasts."""
    return AssetKey(["point_forecasts", model])


ACTUALS_KEY = paths_key(ACTUALS)


def forecasts_asset(model: str, partitions: Partitions) -> AssetsDefinition:
    """The step of one model over forecast dates and series: the paths are in memory, so their statistics are too."""
    spec_of = partitions.settings.model_spec(model)
    entry = registry.entry(spec_of.type)
    horizon = partitions.settings.horizon
    kinds = {entry.kind, "deltalake"}

    def spec(key: AssetKey, deps: list[AssetDep], metadata: dict[str, Any], description: str) -> AssetSpec:
        return AssetSpec(
            key=key,
            deps=deps,
            skippable=True,
            partitions_def=partitions.days,
            group_name="forecasts",
            owners=OWNERS,
            kinds=kinds,
            metadata=metadata,
            description=description,
        )

    @multi_asset(
        name=f"forecasts_{model}",
        specs=[
            spec(
                paths_key(model),
                [
                    AssetDep(train.key(model), partition_mapping=partitions.containing),
                    AssetDep(ingest.KEY, partition_mapping=partitions.day_before),
                    # The same day and series of what it is made of; those steps run before it.
                    *(AssetDep(paths_key(member)) for member in spec_of.of),
                ],
                definition_metadata(DISTRIBUTIONS.at(horizon)),
                f"{entry.description} Simulated price paths for the {horizon} days from each forecast date, from the "
                "window's fitted model and the data to the day before. Unchanged dates are skipped.",
            ),
            spec(
                points_key(model),
                [AssetDep(paths_key(model))],
                definition_metadata(POINT_FORECASTS.at(horizon)),
                "Mean, median, standard deviation, 80 and 95 % bands of the stored paths.",
            ),
        ],
        backfill_policy=backfill_policy(),
        retry_policy=RETRIES,
        pool=model,
        can_subset=True,
        required_resource_keys={"platform", FORECASTS},
    )
    def forecasts(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.pages.display import fan_chart, index
        from forecast_platform.pipeline.inference import forecast
        from forecast_platform.pipeline.publish import forecast_runs

        platform: Platform = replace(context.resources.platform, step=DagsterStep(context))
        options = platform.options(context.run_tags)
        outcomes: list[Outcome] = []
        for series, dates in requested(context, platform.settings.series_names).items():
            with refused_is_failed():
                outcome = forecast(
                    platform,
                    series,
                    model,
                    dates,
                    version=options.version,
                    overwrite=options.overwrite,
                    progress=reporter(context.log.info),
                )
            outcomes.append(outcome)
        changed = {day for outcome in outcomes for day in outcome.written}
        forecast_runs(platform, sorted(changed))
        links = {}
        for outcome in outcomes:
            chart = fan_chart(platform, outcome.series, model, options.version, max(outcome.good, default=None))
            if chart:
                links[f"fan_chart_{outcome.series}"] = MetadataValue.url(chart)
        if links:
            index(platform)
        metadata = outcome_metadata(outcomes, links)
        counts = {
            paths_key(model): platform.warehouse.rows(DISTRIBUTIONS),
            points_key(model): platform.warehouse.rows(POINT_FORECASTS),
        }
        points = {**metadata, "rows_written": platform.horizon * metadata["keys_written"]}
        both = {paths_key(model): metadata, points_key(model): points}
        chosen = {key: both[key] for key in counts if key in context.selected_asset_keys}
        # The step writes both tables, whichever of the two was asked for.
        for key in counts.keys() - chosen.keys():
            log_good(context, key, outcomes, both[key])
        yield from conclude(context, chosen, outcomes, row_counts=counts)

    return forecasts


def actuals_asset(partitions: Partitions) -> AssetsDefinition:
    """The asset of realised closes over forecast dates and series."""
    horizon = partitions.settings.horizon

    @asset(
        key=ACTUALS_KEY,
        partitions_def=partitions.days,
        backfill_policy=backfill_policy(),
        retry_policy=RETRIES,
        group_name="scores",
        owners=OWNERS,
        kinds={"python", "deltalake"},
        metadata=definition_metadata(DISTRIBUTIONS.at(horizon)),
        description=(
            f"What prices really did over the {horizon} days from each forecast date: one row a date, null while "
            "unknown; earlier rows that have gained days since are completed with them. Reads unified_data outside "
            "the lineage, because it looks ahead of the forecast date."
        ),
        required_resource_keys={"platform"},
        output_required=False,
    )
    def actuals(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.pipeline.scoring import open_before, write_actuals

        platform: Platform = context.resources.platform
        outcomes, completed = [], []
        for series, dates in requested(context, platform.settings.series_names).items():
            earlier = open_before(platform, series, dates[0])
            outcome = write_actuals(platform, series, [*earlier, *dates])
            outcomes.append(outcome)
            completed += [(day, series) for day in earlier if day in outcome.written]
        metadata = outcome_metadata(outcomes, {})
        rows = platform.warehouse.rows(DISTRIBUTIONS)
        yield from conclude(context, {ACTUALS_KEY: metadata}, outcomes, row_counts={ACTUALS_KEY: rows})
        # Their partitions are not this run's, so no result speaks for them.
        for day, series in completed:
            log_materialization(context, ACTUALS_KEY, day, series, metadata)

    return actuals
