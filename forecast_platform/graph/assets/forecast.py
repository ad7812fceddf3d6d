"""distributions/<model> and point_forecasts/<model>, out of one step; and distributions/actuals."""

from collections.abc import Iterator
from dataclasses import replace

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

from forecast_platform.graph.assets import over_partitions, shown
from forecast_platform.graph.assets.report import (
    OwnMetadata,
    conclude,
    log_good,
    log_materialization,
    outcome_metadata,
    partition_rows,
    refused_is_failed,
    requested,
)
from forecast_platform.graph.keys import Keys
from forecast_platform.graph.launchers.resources import FORECASTS
from forecast_platform.graph.partitions import Partitions
from forecast_platform.graph.pipes_step import DagsterStep
from forecast_platform.host.progress import reporter
from forecast_platform.models import registry
from forecast_platform.warehouse.schemas import ACTUALS, DISTRIBUTIONS, POINT_FORECASTS, Table
from forecast_platform.work.platform import Platform


def forecasts_asset(model: str, partitions: Partitions) -> AssetsDefinition:
    """The step of one model over forecast dates and series of a group: the paths are in memory, so their statistics are
    too.

    Raises ValueError for a model that is not registered.
    """
    spec_of = partitions.settings.model_spec(model)
    entry = registry.entry(spec_of.type)
    keys = Keys(partitions.group.name)
    paths, points = keys.distributions(model), keys.point_forecasts(model)
    horizon = partitions.settings.horizon

    def spec(key: AssetKey, deps: list[AssetDep], table: Table, description: str) -> AssetSpec:
        return AssetSpec(
            key=key,
            deps=deps,
            skippable=True,
            partitions_def=partitions.days,
            description=description,
            **shown(keys.shown_in("forecasts"), entry.kind, table=table),
        )

    @multi_asset(
        name=keys.step(f"forecasts_{model}"),
        specs=[
            spec(
                paths,
                [
                    AssetDep(keys.trained_models(model), partition_mapping=partitions.containing),
                    AssetDep(keys.unified_data, partition_mapping=partitions.day_before),
                    # The same day and series of what it is made of; those steps run before it.
                    *(AssetDep(keys.distributions(member)) for member in spec_of.of),
                ],
                DISTRIBUTIONS.at(horizon),
                f"{entry.description} Simulated price paths for the {horizon} days from each forecast date, from the "
                "window's fitted model and the data to the day before. Unchanged dates are skipped.",
            ),
            spec(
                points,
                [AssetDep(paths)],
                POINT_FORECASTS.at(horizon),
                "Mean, median, standard deviation, 80 and 95 % bands of the stored paths.",
            ),
        ],
        pool=model,
        can_subset=True,
        **over_partitions(FORECASTS),
    )
    def forecasts(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.pages.display import chart_address, fan_chart, index
        from forecast_platform.pipeline.inference import forecast_each
        from forecast_platform.pipeline.publish import forecast_runs, not_complete

        platform: Platform = replace(context.resources.platform, step=DagsterStep(context))
        options = platform.options(context.run_tags)
        with refused_is_failed():
            outcomes = forecast_each(
                platform,
                requested(context, platform.settings.series_names),
                model,
                version=options.version,
                overwrite=options.overwrite,
                progress=reporter(context.log.info),
            )
        if options.signals:
            written = {day for outcome in outcomes for day in outcome.written}
            # A run that was killed after its writes left no signal of what this one finds there.
            found = {day for outcome in outcomes for day in outcome.good} - written
            forecast_runs(platform, sorted(written | set(not_complete(platform, found) if found else ())))
        charts = [
            fan_chart(platform, outcome.series, model, options.version, max(outcome.good, default=None))
            for outcome in outcomes
        ]
        if any(charts):
            index(platform)
        metadata = outcome_metadata(outcomes, {})
        mine = {"model_name": model, "commodity": list(partitions.group.series)}
        counts = {
            paths: platform.warehouse.rows(DISTRIBUTIONS, mine),
            points: platform.warehouse.rows(POINT_FORECASTS, mine),
        }

        def of_key(rows: int) -> OwnMetadata:
            """Of one day: its own fan chart, which is drawn when it is asked for, and its rows."""
            counted = partition_rows(rows)
            return lambda series, day: {
                "fan_chart": MetadataValue.url(chart_address(platform, series, model, options.version, day)),
                **counted,
            }

        own = {paths: of_key(platform.settings.n_paths), points: of_key(platform.horizon)}
        point_metadata = {**metadata, "rows_written": platform.horizon * metadata["keys_written"]}
        both = {paths: metadata, points: point_metadata}
        chosen = {key: both[key] for key in counts if key in context.selected_asset_keys}
        # The step writes both tables, whichever of the two was asked for.
        for key in counts.keys() - chosen.keys():
            log_good(context, key, outcomes, both[key], own[key])
        chosen_own = {key: of for key, of in own.items() if key in chosen}
        yield from conclude(context, chosen, outcomes, row_counts=counts, own=chosen_own)

    return forecasts


def actuals_asset(partitions: Partitions) -> AssetsDefinition:
    """The asset of realised closes over forecast dates and series of a group."""
    keys = Keys(partitions.group.name)
    horizon = partitions.settings.horizon

    @asset(
        key=keys.actuals,
        partitions_def=partitions.days,
        description=(
            f"What prices really did over the {horizon} days from each forecast date: one row a date, null while "
            "unknown; earlier rows that have gained days since are completed with them. Reads unified_data outside "
            "the lineage, because it looks ahead of the forecast date."
        ),
        **shown(keys.shown_in("scores"), "python", table=DISTRIBUTIONS.at(horizon)),
        **over_partitions(),
        output_required=False,
    )
    def actuals(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.pipeline.actuals import open_before, write_actuals_each

        platform: Platform = context.resources.platform
        asked = requested(context, platform.settings.series_names)
        earlier = {series: open_before(platform, series, dates[0]) for series, dates in asked.items()}
        outcomes = write_actuals_each(platform, {series: [*earlier[series], *dates] for series, dates in asked.items()})
        completed = [(day, one.series) for one in outcomes for day in earlier[one.series] if day in one.written]
        metadata = outcome_metadata(outcomes, {})
        mine = {"model_name": ACTUALS, "commodity": list(partitions.group.series)}
        rows = platform.warehouse.rows(DISTRIBUTIONS, mine)
        yield from conclude(context, {keys.actuals: metadata}, outcomes, row_counts={keys.actuals: rows})
        # Their partitions are not this run's, so no result speaks for them.
        for day, series in completed:
            log_materialization(context, keys.actuals, day, series, metadata)

    return actuals
