"""The mapping by ranges is Dagster's mapping: the same partitions, and the same one to webserver and daemon."""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import deserialize_value, serialize_value

from forecast_platform.definitions import build_definitions
from forecast_platform.graph.partition_mapping import RangeMultiPartitionMapping
from forecast_platform.graph.partitions import Partitions, key
from forecast_platform.settings import SeriesSettings, Settings, build

NOW = dt.datetime(2020, 3, 10, 20, 0, tzinfo=dt.timezone.utc)
SPANS = {
    "one day": {"Coffee": ("2019-03-05", 1)},
    "a range": {"Coffee": ("2019-05-20", 70)},
    "a range of two series": {"Coffee": ("2019-12-20", 30), "Sugar": ("2019-12-20", 30)},
    "unlike ranges": {"Coffee": ("2019-01-01", 3), "Sugar": ("2019-06-29", 4), "Wheat": ("2019-01-01", 3)},
    "to the last partition": {"Wheat": ("2020-03-01", 10)},
    "nothing": {},
}


@pytest.fixture(scope="module")
def settings() -> Settings:
    series = tuple(SeriesSettings(name=name) for name in ("Coffee", "Sugar", "Wheat"))
    return build(source="sample", start_date="2019-01-01", end_date=None, series=series, models=("naive",))


def _cases(settings: Settings) -> dict[str, tuple[Any, Any, Any]]:
    """Mapping, downstream and upstream of each kind of dependency."""
    found = Partitions(settings, settings.series_groups[0])
    return {
        "day_before": (found.day_before, found.days, found.history_days),
        "containing": (found.containing, found.days, found.windows),
        "lookback": (found.lookback, found.windows, found.history_days),
        "days_of_a_window": (found.containing, found.windows, found.days),
    }


def _subset(definition: dg.MultiPartitionsDefinition, span: dict[str, tuple[str, int]]) -> PartitionsSubset:
    with dg.partition_loading_context(NOW):
        there = set(definition.get_partition_keys())
        days = {
            key(dt.date.fromisoformat(first) + dt.timedelta(days=number), name)
            for name, (first, count) in span.items()
            for number in range(count)
        }
        return definition.subset_with_partition_keys(days & there)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("case", ["day_before", "containing", "lookback", "days_of_a_window"])
def test_a_range_is_mapped_to_the_partitions_that_dagster_maps_its_keys_to(
    settings: Settings, case: str, span: str
) -> None:
    ours, below, above = _cases(settings)[case]
    dagsters = dg.MultiPartitionMapping(ours.downstream_mappings_by_upstream_dimension)
    for to_upstream in (True, False):
        found = []
        for mapping in (ours, dagsters):
            if to_upstream:
                result = mapping.get_upstream_mapped_partitions_result_for_partitions(
                    _subset(below, SPANS[span]), below, above, NOW
                )
                lacking = set(result.required_but_nonexistent_subset.get_partition_keys())
                found.append((set(result.partitions_subset.get_partition_keys()), lacking))
            else:
                mapped = mapping.get_downstream_partitions_for_partitions(
                    _subset(above, SPANS[span]), above, below, NOW
                )
                found.append((set(mapped.get_partition_keys()), set()))
        assert found[0] == found[1], to_upstream
        assert all(isinstance(item, dg.MultiPartitionKey) for item in found[0][0])


def test_a_subset_that_was_read_back_is_mapped_too(settings: Settings) -> None:
    mapping, below, above = _cases(settings)["containing"]
    subset = _subset(below, SPANS["a range"])
    read_back = deserialize_value(serialize_value(subset), PartitionsSubset)
    results = [
        set(
            mapping.get_upstream_mapped_partitions_result_for_partitions(
                item, below, above, NOW
            ).partitions_subset.get_partition_keys()
        )
        for item in (subset, read_back)
    ]
    assert results[0] == results[1] == {key("2019-01-01", "Coffee"), key("2019-07-01", "Coffee")}


def test_webserver_and_daemon_read_the_mapping_as_dagsters_own(settings: Settings) -> None:
    repository = build_definitions(settings).get_repository_def()
    snapshot = deserialize_value(serialize_value(RepositorySnap.from_def(repository)), RepositorySnap)
    edges = {
        (node.asset_key.path[0], edge.parent_asset_key.path[0]): edge.partition_mapping
        for node in snapshot.asset_nodes
        for edge in node.parent_edges
    }
    for child, parent in (
        ("trained_models", "unified_data"),
        ("distributions", "trained_models"),
        ("distributions", "unified_data"),
    ):
        mapping = edges[child, parent]
        assert type(mapping) is dg.MultiPartitionMapping
        own = repository.asset_graph.get(dg.AssetKey([child, "naive"])).partition_mappings
        assert [found for found in own.values() if tuple(found) == tuple(mapping)]
        assert all(type(found) is RangeMultiPartitionMapping for found in own.values() if found is not None)


def test_dagster_still_maps_a_range_key_by_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this fails, Dagster maps ranges itself (https://github.com/dagster-io/dagster/issues/17429): measure with
    `benchmarks/against.py`, and drop graph/partition_mapping.py if its own mapping is as fast."""
    calls = 0
    one = dg.TimeWindowPartitionMapping.get_upstream_mapped_partitions_result_for_partitions

    def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        return one(*arguments, **more)

    monkeypatch.setattr(dg.TimeWindowPartitionMapping, "get_upstream_mapped_partitions_result_for_partitions", counted)
    ours, below, above = _cases(settings)["containing"]
    subset = _subset(below, SPANS["a range"])
    counts = []
    for mapping in (ours, dg.MultiPartitionMapping(ours.downstream_mappings_by_upstream_dimension)):
        calls = 0
        mapping.get_upstream_mapped_partitions_result_for_partitions(subset, below, above, NOW)
        counts.append(calls)
    assert counts == [1, 70]
