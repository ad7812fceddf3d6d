"""unified_data: prices, FX, VIX and weather of each series on a gapless calendar, as known on each day."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from forecast_platform.graph.assets import over_partitions, shown
from forecast_platform.graph.assets.report import conclude, outcome_metadata, requested
from forecast_platform.graph.keys import Keys
from forecast_platform.graph.partitions import Partitions
from forecast_platform.pipeline.ingest import ingest_partitions
from forecast_platform.warehouse.schemas import UNIFIED_DATA
from forecast_platform.work.platform import Platform


def unified_data_asset(partitions: Partitions) -> AssetsDefinition:
    """The asset over history days and series of a group."""
    keys = Keys(partitions.group.name)

    @asset(
        key=keys.unified_data,
        partitions_def=partitions.history_days,
        description=(
            "One row a calendar day and series: prices, FX, VIX and weather as known at the end of that day. Closed "
            "days and gaps are filled forward, never backward, and every filled cell is named in filled_columns. "
            "Read from the configured source; a file that is refused fails its series and no other. The first "
            "partition holds the whole lookback, the years of history before the first forecast date."
        ),
        **shown(keys.shown_in("ingest"), "python", table=UNIFIED_DATA),
        **over_partitions(),
        output_required=False,
    )
    def unified_data(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        platform: Platform = context.resources.platform
        asked = requested(context, platform.settings.series_names)
        days = [day for dates in asked.values() for day in dates]
        report = ingest_partitions(platform, list(asked), min(days), max(days))
        for warning in report.warnings:
            context.log.warning(warning)
        for rejection in report.rejections:
            context.log.error(f"refused: {rejection}")
        outcomes = list(report.outcomes.values())
        metadata = outcome_metadata(outcomes, {})
        if report.warnings:
            metadata["source_warnings"] = MetadataValue.md("\n".join(f"- {text}" for text in report.warnings[:20]))
        rows = platform.warehouse.rows(UNIFIED_DATA, {"commodity": list(partitions.group.series)})
        yield from conclude(context, {keys.unified_data: metadata}, outcomes, row_counts={keys.unified_data: rows})

    return unified_data
