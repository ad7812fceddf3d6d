"""The runs that the UI would launch for a selection of assets and partitions, by Dagster's own planning code."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forecast_platform.graph import partitions
from forecast_platform.graph.keys import ACTUALS, family_of, model_of

if TYPE_CHECKING:
    from dagster import AssetKey, Definitions
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph


@dataclass(frozen=True)
class UiRun:
    """One run of a backfill: its assets, and the first and the last partition."""

    assets: frozenset[str]
    first: str
    last: str

    def __str__(self) -> str:
        families = sorted({family_of(key) for key in self._keys})
        models = ", ".join(self.models)
        return f"{self.first} to {self.last}: {', '.join(families)}" + (f" of {models}" if models else "")

    @property
    def models(self) -> list[str]:
        """The models whose fits, forecasts or scores it makes."""
        return sorted({model_of(key) for key in self._keys} - {"", ACTUALS})

    @property
    def _keys(self) -> list[AssetKey]:
        from dagster import AssetKey

        return [AssetKey.from_user_string(name) for name in self.assets]


def ui_runs(
    definitions: Definitions, assets: Sequence[AssetKey], dates: Sequence[dt.date], series: Sequence[str]
) -> list[UiRun]:
    """What *Materialize* on these assets launches for `dates` x `series`, in order, where every run succeeds.

    The partitions are those of the first assets of the selection; Dagster follows the lineage to the others. How far
    is not the same in every process where it selects across partition sets (docs/backfills.md).
    """
    from dagster import DagsterInstance
    from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests_with_backfill_policies
    from dagster._core.execution.asset_backfill import AssetBackfillData

    graph = definitions.resolve_asset_graph()
    keys = [str(partitions.key(day, name)) for day in dates for name in series]
    with DagsterInstance.ephemeral() as store:
        backfill = AssetBackfillData.from_asset_partitions(
            graph, keys, list(assets), store, time.time(), all_partitions=False
        )
        targets = backfill.target_subset
        found = []
        for level in _levels(graph, targets.asset_keys):
            wanted = [item for item in targets.iterate_asset_partitions() if item.asset_key in level]
            level_runs = []
            for request in build_run_requests_with_backfill_policies(wanted, graph, store):
                selection = frozenset(key.to_user_string() for key in request.asset_selection or ())
                first = request.tags.get("dagster/asset_partition_range_start") or str(request.partition_key)
                last = request.tags.get("dagster/asset_partition_range_end") or str(request.partition_key)
                level_runs.append(UiRun(selection, first, last))
            found += sorted(level_runs, key=lambda run: (run.first, run.last, sorted(run.assets)))
    return found


def _levels(graph: BaseAssetGraph, chosen: Set[AssetKey]) -> Iterator[set[AssetKey]]:
    """The assets by the turn in which a backfill runs them: with their parents where these have the same partitions."""
    level: dict[AssetKey, int] = {}
    for key in graph.toposorted_asset_keys:
        if key in chosen:
            node = graph.get(key)
            level[key] = max(
                (
                    level[parent] + (graph.get(parent).partitions_def != node.partitions_def)
                    for parent in node.parent_keys
                    if parent in level
                ),
                default=0,
            )
    for number in sorted(set(level.values())):
        yield {key for key, place in level.items() if place == number}
