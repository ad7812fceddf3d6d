"""The warehouse interface: explicit reads, and writes that replace exactly the keys they name."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from forecast_platform.warehouse.schemas import Table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Between:
    """A closed range in a predicate."""

    low: Any
    high: Any


Where = Mapping[str, Any]
"""A key predicate: column -> value, collection of values, or Between. All must hold."""


class WarehouseError(RuntimeError):
    """A table could not be read or written; nothing of the write was kept."""


class DamageError(WarehouseError):
    """A table's files are not what was written; the message names one of them, and the command that mends it."""


class LostRaceError(WarehouseError):
    """Rows were changed after they were read for a write that depends on them; nothing of that write was kept."""


class DiskFullError(WarehouseError):
    """Writing would leave less free space than the settings ask for."""


class HorizonError(WarehouseError):
    """The tables hold forecasts of another number of days than the settings ask for; nothing was read or written."""


class Warehouse(Protocol):
    """Tables by key. Implementations: delta (embedded), and Unity Catalog through Spark.

    Calls name a table by its constant; its columns are those of the warehouse's own horizon.
    """

    @property
    def horizon(self) -> int:
        """Days of a forecast that this process works with. A stored table of another horizon raises HorizonError."""
        ...

    def stored_horizon(self) -> tuple[int, str] | None:
        """Days that the stored forecasts cover, and the table that tells; None where there is none yet."""
        ...

    def read(self, table: Table, columns: Sequence[str] | None = None, where: Where | None = None) -> pa.Table:
        """The rows that match `where`, in no promised order; no rows where the table does not exist yet."""
        ...

    def batches(self, table: Table, columns: Sequence[str], where: Where) -> Iterator[pa.RecordBatch]:
        """What `read` gives, a part of it at a time, so that not all is in memory at once. Texts may be
        dictionary-encoded."""
        ...

    def replace(self, table: Table, data: pa.Table, where: Where, since: int | None = None) -> int:
        """Atomically replace exactly the rows that match `where` by `data`; returns the table's new version.

        Every row of `data` must match `where`; the schema must be the table's. `since` is the version at which rows
        that `data` was made of were read: LostRaceError where another writer has changed them after it. Raises
        WarehouseError, having written nothing, where that is not so or another writer kept winning.
        """
        ...

    def create(self, table: Table) -> None:
        """Create the table, empty, where it does not exist yet."""
        ...

    def version(self, table: Table) -> int | None:
        """The table's current version; None where it does not exist yet."""
        ...

    def rows(self, table: Table, where: Where | None = None) -> int:
        """The number of rows of the table, or of those of its partitions that match `where`. Raises ValueError where
        that names a column that the table is not partitioned by."""
        ...

    def let_go(self) -> None:
        """Keep nothing of the tables in memory; whatever is asked for later is opened anew."""
        ...


def require_partition_columns(table: Table, where: Where) -> None:
    """Raise ValueError where `where` names a column that the table is not partitioned by: counting would read rows."""
    for name in where:
        if name not in table.partition_by:
            known = ", ".join(table.partition_by) or "none"
            raise ValueError(f"{table.name} is not partitioned by {name!r}: rows are counted by {known}")


def require_horizon(warehouse: Warehouse) -> None:
    """Raise HorizonError where the stored forecasts cover another number of days than this process works with."""
    found = warehouse.stored_horizon()
    if found is not None and found[0] != warehouse.horizon:
        raise HorizonError(other_horizon_text(found[1], found[0], warehouse.horizon))


def other_horizon_text(table: str, stored: int, wanted: int) -> str:
    """Which horizon the warehouse has, and what to do."""
    return (
        f"horizon is {wanted}, but this warehouse holds forecasts of {stored} days ({table}): set "
        f"FORECAST_PLATFORM_HORIZON={stored} (or horizon: {stored} in the YAML file), or name another warehouse for "
        f"forecasts of {wanted} days"
    )


RACES = 20
"""Times that `revise` reads again after another writer was faster."""


def revise(
    warehouse: Warehouse, table: Table, where: Where, change: Callable[[pa.Table], tuple[pa.Table, Where] | None]
) -> int | None:
    """Read the rows that match `where`, and replace what `change(rows)` says: rows, and the keys that they replace.

    Where another writer changes those keys in between, all is read and changed again. Returns the new version; None
    where `change` returns None, and nothing is written. Raises WarehouseError.
    """
    known = None if table.open_columns else [column.name for column in table.at(warehouse.horizon).columns]
    for attempt in range(RACES):
        since = warehouse.version(table) or 0  # a table that is not there yet begins, empty, with version 0
        changed = change(warehouse.read(table, known, where))
        if changed is None:
            return None
        try:
            return warehouse.replace(table, *changed, since)
        except LostRaceError:
            if attempt == RACES - 1:
                raise
            time.sleep(random.uniform(0.02, 0.1 * (attempt + 1)))  # noqa: S311 - jitter
    raise AssertionError("unreachable")


def months_between(first: dt.date, last: dt.date) -> list[str]:
    """The months YYYY-MM that first..last touches."""
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [
        f"{first.year + (first.month - 1 + i) // 12:04d}-{(first.month - 1 + i) % 12 + 1:02d}" for i in range(count)
    ]


def any_of(values: Sequence[str]) -> str | list[str]:
    """A condition that is one of these values; a single one is compared with, not looked for."""
    return values[0] if len(values) == 1 else list(values)


def keys_of(
    series: str | list[str], model: str | list[str], version: str, dates: Sequence[dt.date], *, by_month: bool
) -> dict[str, Any]:
    """The predicate of forecast dates, of one series and model or of each of several: a range where they are
    contiguous, else the dates one by one."""
    first, last = min(dates), max(dates)
    contiguous = (last - first).days + 1 == len(set(dates))
    where: dict[str, Any] = {"commodity": series, "model_name": model, "model_version": version}
    if by_month:
        where["forecast_month"] = sorted({f"{day:%Y-%m}" for day in dates})
    where["forecast_date"] = Between(first, last) if contiguous else sorted(dates)
    return where
