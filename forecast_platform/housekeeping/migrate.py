"""Schema migration: existing tables get the columns that this version has and they lack; anything else is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.warehouse.base import Warehouse, require_horizon
from forecast_platform.warehouse.damage import open_table
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DELTA_TYPES, TABLES, Column, Table
from forecast_platform.warehouse.unity import UnityWarehouse

if TYPE_CHECKING:
    from deltalake import DeltaTable

DEFAULTS: Mapping[tuple[str, str], Any] = {}
"""(short table name, column) -> value that existing rows get in a new column that must not be null."""


@dataclass
class Migration:
    """What one table needs, and why it cannot be had."""

    table: Table
    add: list[Column] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def plan(
    warehouse: Warehouse,
    tables: Sequence[Table] = TABLES,
    defaults: Mapping[tuple[str, str], Any] = DEFAULTS,
) -> list[Migration]:
    """What each existing table needs; tables that fit, or are not there yet, are left out. Nothing is written.

    Raises HorizonError where the stored forecasts cover another number of days than the settings ask for.
    """
    require_horizon(warehouse)
    found = []
    for table in (one.at(warehouse.horizon) for one in tables):
        one = _needs(warehouse, table, defaults)
        if one is not None and (one.add or one.refused):
            found.append(one)
    return found


def migrate(
    warehouse: Warehouse,
    tables: Sequence[Table] = TABLES,
    defaults: Mapping[tuple[str, str], Any] = DEFAULTS,
    say: Callable[[str], None] = print,
) -> int:
    """Add the missing columns; returns how many. A second call adds none, and so does one after a kill in between.

    Raises HousekeepingError, before any table is touched, where a table differs in a way that cannot be mended here.
    """
    todo = plan(warehouse, tables, defaults)
    refused = [f"{one.table.name}: {text}" for one in todo for text in one.refused]
    if refused:
        raise HousekeepingError("cannot migrate; no table was touched:\n  " + "\n  ".join(refused))
    for one in todo:
        for column in one.add:
            if isinstance(warehouse, UnityWarehouse):
                warehouse.add_columns(one.table, [column])
            else:
                before = warehouse.version(one.table)
                _add(_folder(warehouse), one.table, column, defaults)
                if before is not None:
                    _folder(warehouse).settle(one.table, before + 1)
            say(f"{one.table.name}: added {column.name} ({column.type})")
    return sum(len(one.add) for one in todo)


def _needs(warehouse: Warehouse, table: Table, defaults: Mapping[tuple[str, str], Any]) -> Migration | None:
    """What the stored table needs; None where it is not there yet."""
    if isinstance(warehouse, UnityWarehouse):
        stored = warehouse.stored_types(table)
        # Its layout may be changed by its owner (CLUSTER BY, partitions); nothing here depends on it.
        return None if stored is None else _compare(table, stored, None, defaults)
    opened = open_table(_folder(warehouse), table)
    if opened is None:
        return None
    types = {item.name: _type_name(item.type) for item in opened.schema().fields}
    return _compare(table, types, opened.metadata().partition_columns, defaults)


def _folder(warehouse: Warehouse) -> DeltaWarehouse:
    if not isinstance(warehouse, DeltaWarehouse):
        raise HousekeepingError(f"{type(warehouse).__name__}: its migration is not known here")
    return warehouse


def _compare(
    table: Table,
    there: Mapping[str, str],
    partitioned: Sequence[str] | None,
    defaults: Mapping[tuple[str, str], Any],
) -> Migration:
    """`there`: types of the stored columns; `partitioned`: None where the layout is free. Unity takes no defaults."""
    one = Migration(table)
    if partitioned is not None and list(partitioned) != list(table.partition_by):
        one.refused.append(
            f"its files are partitioned by {', '.join(partitioned) or 'nothing'}, this version wants "
            f"{', '.join(table.partition_by) or 'nothing'}: move the table aside and make it anew (backfill)"
        )
    for column in table.columns:
        default = defaults.get((table.short_name, column.name)) if partitioned is not None else None
        if column.name not in there:
            if column.nullable or default is not None:
                one.add.append(column)
            else:
                declare = ", or declare a default in housekeeping/migrate.py" if partitioned is not None else ""
                one.refused.append(
                    f"column {column.name} must not be null and has no default for the rows that are there: move the "
                    f"table aside and make it anew (backfill){declare}"
                )
            continue
        stored, wanted = there[column.name], DELTA_TYPES[column.type]
        if stored != wanted:
            one.refused.append(f"column {column.name} is {stored}, this version wants {wanted}: a type is not changed")
    known = {column.name for column in table.columns}
    extra = [name for name in there if name not in known]
    if extra and not table.open_columns:
        one.refused.append(
            f"it has the columns {', '.join(extra)}, which this version does not know: it was written by a newer "
            "version of this package; upgrade to that one"
        )
    return one


def _add(warehouse: DeltaWarehouse, table: Table, column: Column, defaults: Mapping[tuple[str, str], Any]) -> None:
    from deltalake.schema import Field, PrimitiveType

    opened = open_table(warehouse, table)
    if opened is None:  # removed since it was looked at
        return
    default = defaults.get((table.short_name, column.name))
    if default is None:
        opened.alter.add_columns([Field(column.name, PrimitiveType(DELTA_TYPES[column.type]), nullable=True)])
    else:
        _add_filled(warehouse, opened, table, column, default)


def _add_filled(warehouse: DeltaWarehouse, opened: DeltaTable, table: Table, column: Column, default: Any) -> None:
    """Every row rewritten with `default` in the new column, in one commit, so that a kill leaves the old table."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import write_deltalake

    schema = pa.schema(opened.schema().to_arrow())
    partitioning = ds.partitioning(pa.schema([schema.field(name) for name in table.partition_by]), flavor="hive")
    dataset = ds.dataset(
        sorted(opened.file_uris()),
        schema=schema,
        format="parquet",
        partitioning=partitioning,
        partition_base_dir=str(warehouse.path(table)),
    )
    wanted = table.arrow_schema().field(column.name)
    target = schema.append(wanted)

    def filled() -> Iterator[pa.RecordBatch]:
        for batch in dataset.to_batches():
            value = pa.repeat(pa.scalar(default, wanted.type), batch.num_rows)
            arrays = [value if item.name == column.name else batch.column(item.name) for item in target]
            yield pa.RecordBatch.from_arrays(arrays, schema=target)

    write_deltalake(
        opened,
        pa.RecordBatchReader.from_batches(target, filled()),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=list(table.partition_by) or None,
        writer_properties=warehouse.writer_properties,
    )


def _type_name(found: Any) -> str:
    return str(getattr(found, "type", found))
