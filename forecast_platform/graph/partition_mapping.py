"""Dagster's mapping between two-dimensional partitions, a range at a time instead of a key at a time.

Dagster maps each key of a range by itself through the cron schedule, once for every upstream asset when a step begins:
a third of a five-year backfill's processor time (https://github.com/dagster-io/dagster/issues/17429). A mapping of one
dimension takes a whole subset as well, so here each dimension is mapped once for all keys that go together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster import (
    DimensionPartitionMapping,
    MultiPartitionKey,
    MultiPartitionMapping,
    MultiPartitionsDefinition,
    PartitionMapping,
    PartitionsDefinition,
    partition_loading_context,
)
from dagster._core.definitions.partitions.mapping import UpstreamPartitionsResult
from dagster._core.definitions.partitions.subset import AllPartitionsSubset, DefaultPartitionsSubset, PartitionsSubset
from dagster_shared.serdes import NamedTupleSerializer, whitelist_for_serdes

if TYPE_CHECKING:
    from dagster._core.instance import DynamicPartitionsStore


class _StoredAsDagsters(NamedTupleSerializer[Any]):
    """Webserver and daemon, which need not know this package, read the mapping as Dagster's own: its fields are the
    same, and so is what it maps to."""

    def get_storage_name(self) -> str:
        return MultiPartitionMapping.__name__


class _Side(NamedTuple):
    """One dimension of the partitions that are mapped, the one that it is mapped to, and how."""

    name: str
    definition: PartitionsDefinition
    mapped_name: str
    mapped_definition: PartitionsDefinition
    mapping: PartitionMapping


_MapSide = Callable[[_Side, PartitionsSubset], Iterable[str]]


@whitelist_for_serdes(serializer=_StoredAsDagsters)
class RangeMultiPartitionMapping(MultiPartitionMapping):
    """A MultiPartitionMapping with the same results, made in a time that hardly grows with the number of keys.

    Both dimensions must be mapped, and by mappings that treat each key by itself, as all of Dagster's do: what a set of
    keys is mapped to is then the union of what each key is mapped to.
    """

    def get_upstream_mapped_partitions_result_for_partitions(
        self,
        downstream_partitions_subset: PartitionsSubset | None,
        downstream_partitions_def: PartitionsDefinition | None,
        upstream_partitions_def: PartitionsDefinition,
        current_time: dt.datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> UpstreamPartitionsResult:
        """The upstream partitions of a subset, and the upstream keys that it needs and that do not exist.

        Raises TypeError where either side has not two dimensions.
        """
        if downstream_partitions_subset is None or isinstance(downstream_partitions_subset, AllPartitionsSubset):
            return super().get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_subset,
                downstream_partitions_def,
                upstream_partitions_def,
                current_time,
                dynamic_partitions_store,
            )
        lacking: set[str] = set()

        def map_side(side: _Side, keys: PartitionsSubset) -> Iterable[str]:
            found = side.mapping.get_upstream_mapped_partitions_result_for_partitions(
                keys, side.definition, side.mapped_definition
            )
            lacking.update(found.required_but_nonexistent_subset.get_partition_keys())
            return found.partitions_subset.get_partition_keys()

        with partition_loading_context(current_time, dynamic_partitions_store):
            return UpstreamPartitionsResult(
                partitions_subset=_mapped(
                    downstream_partitions_subset,
                    downstream_partitions_def,
                    upstream_partitions_def,
                    [(below.dimension_name, above, below.partition_mapping) for above, below in self._dimensions],
                    map_side,
                ),
                required_but_nonexistent_subset=DefaultPartitionsSubset(lacking),
            )

    def get_downstream_partitions_for_partitions(
        self,
        upstream_partitions_subset: PartitionsSubset,
        upstream_partitions_def: PartitionsDefinition,
        downstream_partitions_def: PartitionsDefinition,
        current_time: dt.datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> PartitionsSubset:
        """The downstream partitions of a subset. Raises TypeError where either side has not two dimensions."""
        if isinstance(upstream_partitions_subset, AllPartitionsSubset):
            return super().get_downstream_partitions_for_partitions(
                upstream_partitions_subset,
                upstream_partitions_def,
                downstream_partitions_def,
                current_time,
                dynamic_partitions_store,
            )

        def map_side(side: _Side, keys: PartitionsSubset) -> Iterable[str]:
            return side.mapping.get_downstream_partitions_for_partitions(
                keys, side.definition, side.mapped_definition
            ).get_partition_keys()

        with partition_loading_context(current_time, dynamic_partitions_store):
            return _mapped(
                upstream_partitions_subset,
                upstream_partitions_def,
                downstream_partitions_def,
                [(above, below.dimension_name, below.partition_mapping) for above, below in self._dimensions],
                map_side,
            )

    @property
    def _dimensions(self) -> Iterable[tuple[str, DimensionPartitionMapping]]:
        return self.downstream_mappings_by_upstream_dimension.items()


def _mapped(
    subset: PartitionsSubset,
    definition: PartitionsDefinition | None,
    mapped_definition: PartitionsDefinition,
    dimensions: Sequence[tuple[str, str, PartitionMapping]],
    map_side: _MapSide,
) -> PartitionsSubset:
    """What `subset` is mapped to: of each block, keys of one dimension that go with the same keys of the other, the
    product of what its two sides are mapped to."""
    if not isinstance(definition, MultiPartitionsDefinition) or not isinstance(
        mapped_definition, MultiPartitionsDefinition
    ):
        raise TypeError(f"{definition} is mapped to {mapped_definition}: both must have two dimensions")
    one, other = (
        _Side(
            name,
            definition.get_partitions_def_for_dimension(name),
            mapped_name,
            mapped_definition.get_partitions_def_for_dimension(mapped_name),
            mapping,
        )
        for name, mapped_name, mapping in dimensions
    )
    found: set[str] = set()
    for block in _blocks(subset, definition, one.name, other.name):
        lefts, rights = (
            list(map_side(side, side.definition.subset_with_partition_keys(keys)))
            for side, keys in zip((one, other), block, strict=True)
        )
        found.update(
            MultiPartitionKey({one.mapped_name: left, other.mapped_name: right})
            for left, right in product(lefts, rights)
        )
    return mapped_definition.subset_with_partition_keys(found)


def _blocks(
    subset: PartitionsSubset, definition: MultiPartitionsDefinition, one: str, other: str
) -> Iterator[tuple[Set[str], Set[str]]]:
    """The subset as products of keys of dimension `one` and keys of dimension `other`."""
    together: dict[str, set[str]] = {}
    for key in subset.get_partition_keys():
        # A subset that was read back holds plain strings.
        whole = key if isinstance(key, MultiPartitionKey) else definition.get_partition_key_from_str(key)
        keys = whole.keys_by_dimension
        together.setdefault(keys[other], set()).add(keys[one])
    blocks: dict[frozenset[str], set[str]] = {}
    for key, of_one in together.items():
        blocks.setdefault(frozenset(of_one), set()).add(key)
    yield from blocks.items()
