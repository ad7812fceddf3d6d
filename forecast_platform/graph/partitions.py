"""Partition sets, mappings and the backfill policy: here and nowhere else (both are beta in dagster 1.13).

The dimensions are `date` and `series` on purpose: Dagster sorts dimension names and makes one run per key of the
second, contiguous over the first, so a backfill is one run a series.

The lookback, the years of history before the first window, is one partition of `unified_data`: its last day, the day
before the first forecast date, stands for all of it. Nothing depends on a day of it alone; day by day it made a third
to two thirds of the asset's partitions (docs/scaling.md).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from dagster import (
    BackfillPolicy,
    DailyPartitionsDefinition,
    DimensionPartitionMapping,
    IdentityPartitionMapping,
    MultiPartitionKey,
    MultiPartitionMapping,
    MultiPartitionsDefinition,
    PartitionKeyRange,
    PartitionMapping,
    StaticPartitionsDefinition,
    TimeWindowPartitionMapping,
    TimeWindowPartitionsDefinition,
)

from forecast_platform.forecasting.windows import FREQUENCIES
from forecast_platform.graph.partition_mapping import RangeMultiPartitionMapping
from forecast_platform.settings import Settings
from forecast_platform.settings.groups import SeriesGroup

if TYPE_CHECKING:
    from dagster._core.instance import DynamicPartitionsStore

FORMAT = "%Y-%m-%d"
DATE = "date"
SERIES = "series"


class RememberedPartitions(MultiPartitionsDefinition):
    """Dagster's own, which makes the keys of a range once, not a dozen times a run: some 0.1 s each of five years."""

    _KEPT = 4
    # Of all partition sets together: 13 years of ten series are 20 MB, and each group would keep its own.
    _ranges: ClassVar[tuple[tuple[RememberedPartitions, tuple[str, str], Sequence[str]], ...]] = ()

    # The signature is that of Dagster's MultiPartitionsDefinition, not of the class above it.
    def get_partition_keys_in_range(  # type: ignore[override]
        self,
        partition_key_range: PartitionKeyRange,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> Sequence[str]:
        """The keys from the range's start to its end, over both dimensions; those of the last few ranges are kept."""
        asked = (partition_key_range.start, partition_key_range.end)
        # A new tuple each time: threads of the daemon ask at once.
        kept = RememberedPartitions._ranges
        found = next((keys for owner, known, keys in kept if owner is self and known == asked), None)
        if found is None:
            found = super().get_partition_keys_in_range(partition_key_range, dynamic_partitions_store)
            RememberedPartitions._ranges = (*kept[1 - self._KEPT :], (self, asked, found))
        return list(found)


@dataclass(frozen=True)
class Partitions:
    """The three partition sets of a group of series, each one shared object, and what maps between them."""

    settings: Settings
    group: SeriesGroup

    @cached_property
    def series(self) -> StaticPartitionsDefinition:
        """The group's series."""
        return StaticPartitionsDefinition(list(self.group.series))

    @cached_property
    def history_days(self) -> MultiPartitionsDefinition:
        """History day x series: the whole lookback under its last day, then each day to yesterday."""
        # The exclusive end: history up to the day before the last forecast date.
        return self._over(self._daily(self.settings.lookback_end, self.settings.end_date, offset=0))

    @cached_property
    def days(self) -> MultiPartitionsDefinition:
        """Forecast date x series: from the first window to today."""
        last = self.settings.end_date
        return self._over(self._daily(self.settings.start_date, last and last + dt.timedelta(days=1), offset=1))

    @cached_property
    def windows(self) -> MultiPartitionsDefinition:
        """Training window (its first day of use) x series: up to the one that contains today."""
        last = self.settings.end_date
        frequency = FREQUENCIES[self.settings.train_frequency]
        return self._over(
            TimeWindowPartitionsDefinition(
                start=self.settings.start_date.isoformat(),
                end=None if last is None else frequency.next_start(last).isoformat(),
                fmt=FORMAT,
                cron_schedule=frequency.cron,
                timezone=self.settings.timezone,
                end_offset=0 if last is not None else 1,
            )
        )

    def _daily(self, start: dt.date, end: dt.date | None, offset: int) -> DailyPartitionsDefinition:
        return DailyPartitionsDefinition(
            start_date=start.isoformat(),
            end_date=None if end is None else end.isoformat(),
            timezone=self.settings.timezone,
            end_offset=0 if end is not None else offset,
        )

    def _over(self, dates: TimeWindowPartitionsDefinition) -> MultiPartitionsDefinition:
        return RememberedPartitions({DATE: dates, SERIES: self.series})

    @property
    def lookback(self) -> PartitionMapping:
        """trained_models on unified_data: the lookback's days, ending the day before the window. Those before the
        first window are in one partition, so a window that reaches there has no partition for each day."""
        return _by_date(
            TimeWindowPartitionMapping(
                start_offset=-self.settings.lookback_windows,
                end_offset=-1,
                allow_nonexistent_upstream_partitions=True,
            )
        )

    @property
    def day_before(self) -> PartitionMapping:
        """distributions on unified_data: the day before, the newest data a forecast may know."""
        return _by_date(TimeWindowPartitionMapping(start_offset=-1, end_offset=-1))

    @property
    def containing(self) -> PartitionMapping:
        """distributions on trained_models: the window that contains the day; metadata on its window's days."""
        return _by_date(TimeWindowPartitionMapping())


def _by_date(mapping: TimeWindowPartitionMapping) -> MultiPartitionMapping:
    return RangeMultiPartitionMapping(
        {
            DATE: DimensionPartitionMapping(DATE, mapping),
            SERIES: DimensionPartitionMapping(SERIES, IdentityPartitionMapping()),
        }
    )


def backfill_policy() -> BackfillPolicy:
    """One run a series, over all its dates: chunking happens inside the step, aligned with training windows."""
    return BackfillPolicy.single_run()


def key(date: dt.date | str, series: str) -> MultiPartitionKey:
    """The partition key of a date and a series."""
    return MultiPartitionKey({DATE: str(date), SERIES: series})


def by_series(keys: Iterable[str], order: Sequence[str]) -> dict[str, list[dt.date]]:
    """Partition keys as dates by series, in the configured order of series.

    Raises TypeError for a key of one dimension.
    """
    found: dict[str, list[dt.date]] = {}
    for item in keys:
        if not isinstance(item, MultiPartitionKey):
            raise TypeError(f"partition key {item!r} is not a date and a series")
        dimensions = item.keys_by_dimension
        found.setdefault(dimensions[SERIES], []).append(dt.date.fromisoformat(dimensions[DATE]))
    return {series: sorted(found[series]) for series in order if series in found}


def nothing_between(start: object, end: object) -> str:
    """Why a run over a range made nothing, and the mend."""
    return (
        f"no partition lies between {start} and {end}: the start of a range comes before its end, by date and in the "
        "configured order of series; launch it again the other way round"
    )


def range_tags(first: dt.date, last: dt.date, series: Sequence[str]) -> dict[str, str]:
    """Run tags that select first..last of `series`, which must be contiguous in the configured order.

    Raises ValueError where the range would hold nothing.
    """
    if not series or last < first:
        raise ValueError(f"a run over {first} to {last} of {list(series)} holds no partition")
    return {
        "dagster/asset_partition_range_start": str(key(first, series[0])),
        "dagster/asset_partition_range_end": str(key(last, series[-1])),
    }
