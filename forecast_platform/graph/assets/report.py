"""How a step tells Dagster what became of its keys: whole ranges in a batch, partial ones key by key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableSchema,
)
from dagster._core.definitions.metadata.metadata_set import TableMetadataSet
from dagster._core.definitions.partitions.utils.multi import get_tags_from_multi_partition_key
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
    OutputMetadataHandle,
)

from forecast_platform.graph import partitions
from forecast_platform.warehouse.schemas import Table
from forecast_platform.work.results import Outcome, RefusedError, failures_text, ranges_text

Metadata = dict[str, Any]
OwnMetadata = Callable[[str, dt.date], Metadata]
"""What is said of the key of this series and date alone."""

_LINKS = 5
"""Remote runs whose addresses are shown; the step's log names all."""

_TYPES = {"float": "double", "float32": "float"}


def definition_metadata(table: Table) -> Metadata:
    """Table name and column schema, as Dagster's own metadata."""
    schema = TableSchema(
        [
            TableColumn(column.name, _TYPES.get(column.type, column.type), description=column.description)
            for column in table.columns
        ]
    )
    return dict(TableMetadataSet(column_schema=schema, table_name=table.name))


def outcome_metadata(outcomes: Sequence[Outcome], links: Mapping[str, Any]) -> Metadata:
    """Rows, keys and time of a step, with its links: few entries, for they are copied into every partition's event."""
    metadata: Metadata = {
        "rows_written": sum(outcome.rows for outcome in outcomes),
        "keys_written": sum(len(outcome.written) for outcome in outcomes),
        "keys_skipped": sum(len(outcome.skipped) for outcome in outcomes),
        "keys_failed": sum(len(outcome.failed) for outcome in outcomes),
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 3),
        **links,
    }
    notes = [note for outcome in outcomes for note in outcome.notes]
    if notes:
        metadata["notes"] = MetadataValue.md("\n".join(f"- {note}" for note in notes[:20]))
    runs = list(dict.fromkeys(run for outcome in outcomes for run in outcome.runs))
    if runs:
        metadata["databricks_runs"] = len(runs)
        metadata["databricks_urls"] = MetadataValue.md("\n".join(f"- <{run.url}>" for run in runs[:_LINKS]))
        metadata["databricks_cost"] = ", ".join(dict.fromkeys(run.cost for run in runs))
    return metadata


def conclude(
    context: AssetExecutionContext,
    results: Mapping[AssetKey, Metadata],
    outcomes: Sequence[Outcome],
    *,
    row_counts: Mapping[AssetKey, int],
    own: Mapping[AssetKey, OwnMetadata] | None = None,
) -> Iterator[MaterializeResult]:
    """Yield the step's results; or, where keys failed, record the good ones and raise a Failure that names the rest.

    row_counts: rows of each asset's own, not of all that share its table. own: what is said of one key alone, such as
    the link to its chart: of a range each partition shows its own.

    Where the whole range succeeds its events are batched. Where part of it fails, each good key is logged by itself
    (these survive the failure) and nothing is yielded: both would record the good keys twice.
    """
    for outcome in outcomes:
        context.log.info(
            f"{outcome.series} {outcome.model}: {len(outcome.written)} keys written, {len(outcome.skipped)} skipped as "
            f"unchanged, {len(outcome.failed)} failed, {outcome.rows:,} rows, {outcome.seconds:.2f} s"
        )
        for note in outcome.notes:
            context.log.warning(f"{outcome.series} {outcome.model}: {note}")
    failed = [outcome for outcome in outcomes if outcome.failed]
    own = own or {}
    if not failed:
        _say_of_each(context, outcomes, own)
        for asset_key, metadata in results.items():
            counted = dict(TableMetadataSet(row_count=row_counts[asset_key]))
            yield MaterializeResult(asset_key=asset_key, metadata={**metadata, **counted})
        return
    for asset_key, metadata in results.items():
        log_good(context, asset_key, outcomes, metadata, own.get(asset_key))
    details = "\n".join(f"{outcome.series} {outcome.model}: {failures_text(outcome.failed)}" for outcome in failed)
    count = sum(len(outcome.failed) for outcome in failed)
    kept = sum(len(outcome.good) for outcome in outcomes)
    raise Failure(
        description=f"{count} keys failed, {kept} are there.\n{details}",
        metadata={
            "failed": MetadataValue.md(
                "\n".join(f"- **{o.series} {o.model}**: {ranges_text(o.failed)}" for o in failed)
            ),
            "keys_failed": count,
            "keys_there": kept,
            **{key: value for key, value in outcome_metadata(outcomes, {}).items() if key.startswith("databricks_")},
        },
        allow_retries=False,
    )


@contextmanager
def refused_is_failed() -> Iterator[None]:
    """Within this, work that cannot be done at all (RefusedError) ends the step as a Failure; another try would not
    help."""
    try:
        yield
    except RefusedError as error:
        raise Failure(str(error), allow_retries=False) from None


def log_good(
    context: AssetExecutionContext,
    asset_key: AssetKey,
    outcomes: Sequence[Outcome],
    metadata: Metadata,
    own: OwnMetadata | None = None,
) -> None:
    """Record each key that is there, one by one: 5 ms each."""
    for outcome in outcomes:
        for day in sorted(outcome.good):
            more = {} if own is None else own(outcome.series, day)
            log_materialization(context, asset_key, day, outcome.series, {**metadata, **more})


def _say_of_each(
    context: AssetExecutionContext, outcomes: Sequence[Outcome], own: Mapping[AssetKey, OwnMetadata]
) -> None:
    """Add to the events of the range what is said of each key alone.

    `context.add_asset_metadata(..., partition_key=...)` does the same for one key, and at each call lists the range's
    partitions and copies what was added so far: a minute for years of days. This adds all of it at once.
    """
    said: dict[AssetMetadataHandle | OutputMetadataHandle, Mapping[str, Any]] = {
        AssetMetadataHandle(asset_key=key, partition_key=partitions.key(day, outcome.series)): of(outcome.series, day)
        for key, of in own.items()
        for outcome in outcomes
        for day in outcome.good
    }
    step = context._step_execution_context
    known = step._metadata_accumulator.per_output_metadata
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata={**known, **said})


def partition_rows(count: int) -> Metadata:
    """The number of rows of one partition, as Dagster's own metadata; to be made once for all partitions, since events
    that share their metadata but for links are stored in a tenth of the time (`event_text`)."""
    named = dict(TableMetadataSet(partition_row_count=count))
    return {name: MetadataValue.int(value) for name, value in named.items()}


def log_materialization(
    context: AssetExecutionContext, asset_key: AssetKey, day: dt.date, series: str, metadata: Metadata
) -> None:
    """Record one partition by itself, beside or in place of the step's result."""
    partition = partitions.key(day, series)
    tags = get_tags_from_multi_partition_key(partition)
    context.log_event(AssetMaterialization(asset_key, partition=partition, metadata=metadata, tags=tags))


def requested(context: AssetExecutionContext, order: Sequence[str]) -> dict[str, list[dt.date]]:
    """The keys of this run, as dates by series. Raises Failure where there are none: a run that makes nothing is no
    success.

    Raises TypeError for a key of one dimension.
    """
    found = partitions.by_series(context.partition_keys, order)
    if not found:
        chosen = context.partition_key_range
        raise Failure(partitions.nothing_between(chosen.start, chosen.end), allow_retries=False)
    return found
