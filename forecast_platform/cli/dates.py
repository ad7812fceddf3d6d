"""Which forecast dates there are: printed with their gaps, and what damage takes away from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from forecast_platform.runs.operations import Operations
from forecast_platform.work.results import ranges_text


def undamaged(operations: Operations) -> Iterator[bool]:
    """Say which files of the tables are damaged: what they hold is covered on paper alone."""
    from forecast_platform.warehouse.damage import examine
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import TABLES

    warehouse = operations.platform.warehouse
    if isinstance(warehouse, DeltaWarehouse):
        for table in TABLES:
            for one in examine(warehouse, table):
                operations.say(f"DAMAGED {one}; run `forecast-platform repair`")
                yield False


MANY = 10
"""Series from which on only those are printed that have gaps."""


def print_coverage(
    operations: Operations, series: Sequence[str], models: Sequence[str], *, in_use: bool = False
) -> bool:
    """Print each series' dates and gaps, of many series those with gaps; False where there are any.

    Raises NoDataError where a series has no data.
    """
    from forecast_platform.work.coverage import coverage
    from forecast_platform.work.newest_close import unconfirmed_jump

    whole = []
    for name in series:
        found = coverage(operations.platform, name, models, operations.version, in_use=in_use)
        if not any(one.gaps for one in found):
            whole.append(name)
            if len(series) > MANY:
                continue
        operations.say(f"\n{name}, {operations.version}\n{'model':<22}{'dates':>7}  {'first':<11} {'last':<11} gaps")
        for one in found:
            missing = [first + dt.timedelta(days=n) for first, last in one.gaps for n in range((last - first).days + 1)]
            gaps = f"{len(missing)} dates: {ranges_text(missing, most=8)}" if missing else "none"
            operations.say(f"{one.model:<22}{one.dates:>7}  {one.first or '-'!s:<11} {one.last or '-'!s:<11} {gaps}")
        if jump := unconfirmed_jump(operations.platform, name):
            operations.say(f"waiting: {jump}")
    if len(series) > MANY:
        operations.say(f"\n{len(whole)} of {len(series)} series have every date of {', '.join(models)}")
    return len(whole) == len(series)
