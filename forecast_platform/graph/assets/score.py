"""forecast_metadata/<model>: how good every forecast of a window was, on the trading targets known so far."""

from collections.abc import Iterator

from dagster import AssetDep, AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from forecast_platform.graph.assets import over_partitions, shown
from forecast_platform.graph.assets.report import conclude, outcome_metadata, requested
from forecast_platform.graph.keys import Keys, family_of, model_of
from forecast_platform.graph.partitions import Partitions
from forecast_platform.host.progress import reporter
from forecast_platform.models import registry
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform.work.platform import Platform


def forecast_metadata_asset(model: str, partitions: Partitions) -> AssetsDefinition:
    """The asset of one model's scores over windows and series of a group."""
    keys = Keys(partitions.group.name)
    key = keys.forecast_metadata(model)
    kind = registry.entry(partitions.settings.model_spec(model).type).kind

    @asset(
        key=key,
        deps=[
            AssetDep(keys.distributions(model), partition_mapping=partitions.containing),
            AssetDep(keys.point_forecasts(model), partition_mapping=partitions.containing),
        ],
        partitions_def=partitions.windows,
        description=(
            "CRPS, hit rates, sharpness, errors, direction and PIT of each forecast of the window, over the trading "
            "targets known so far; only forecasts whose paths or actuals changed are scored again. Links the report."
        ),
        **shown(keys.shown_in("scores"), kind, table=FORECAST_METADATA.at(partitions.settings.horizon)),
        **over_partitions(),
        output_required=False,
    )
    def forecast_metadata(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.pages.display import history_address, index, report, report_address
        from forecast_platform.pages.panel import over_all
        from forecast_platform.pipeline.champions import review
        from forecast_platform.pipeline.scoring import score_each

        platform: Platform = context.resources.platform
        options = platform.options(context.run_tags)
        outcomes = score_each(
            platform,
            requested(context, platform.settings.series_names),
            model,
            version=options.version,
            progress=reporter(context.log.info),
        )
        # A report and a champion are of all models, and a report takes a second or two: the run's last step (they go by
        # name) sees to both.
        marked = context.run.asset_selection or ()
        selected = [model_of(item) for item in marked if family_of(item) == family_of(key)]
        last = max(selected or platform.settings.models)
        links = {}
        together = over_all(platform, partitions.group) if model == last else None
        for outcome in outcomes if model == last else ():
            for chosen in review(platform, outcome.series):
                context.log.warning(f"{outcome.series}: champion is now {chosen.model} {chosen.version}: {chosen.why}")
        for outcome in outcomes:
            name = outcome.series
            address = report(platform, name, together) if model == last else report_address(platform, name)
            day_by_day = history_address(platform, name, model, options.version)
            links[name] = {"day_by_day": MetadataValue.url(day_by_day)}
            if address:
                links[name]["report"] = MetadataValue.url(address)
        if links and model == last:
            index(platform)
        rows = platform.warehouse.rows(
            FORECAST_METADATA, {"model_name": model, "commodity": list(partitions.group.series)}
        )
        yield from conclude(
            context,
            {key: outcome_metadata(outcomes, {})},
            outcomes,
            row_counts={key: rows},
            own={key: lambda series, _: links[series]},
        )

    return forecast_metadata
