"""What every implementation demands of rows before it writes them, and of a read before it makes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forecast_platform.forecasting.horizon import of_columns
from forecast_platform.warehouse.base import HorizonError, WarehouseError, Where, other_horizon_text
from forecast_platform.warehouse.predicates import delta_sql, matching
from forecast_platform.warehouse.schemas import Table

if TYPE_CHECKING:
    import pyarrow as pa

ATTEMPTS = 60
"""Tries of a write that conflicts with another writer's: two minutes of them before it is given up."""

_SMALL = 200_000
"""Rows up to which a write is checked for duplicate keys; larger ones are unique by construction (path_id)."""


def checked(table: Table, data: pa.Table, where: Where) -> pa.Table:
    """`data` in the table's column order and types; WarehouseError where a row does not belong there."""
    import pyarrow as pa

    if not where and table.partition_by:
        raise WarehouseError(f"{table.name}: a write must name the keys it replaces")
    check_keys(table, where)
    known = {column.name for column in table.columns}
    extra = tuple(name for name in data.column_names if name not in known)
    missing = known - set(data.column_names)
    if missing or (extra and not table.open_columns):
        raise WarehouseError(
            f"{table.name}: columns do not match the schema (missing {sorted(missing)}, unknown {sorted(extra)})"
        )
    schema = table.arrow_schema(extra)
    for field in schema:
        if not field.nullable and data[field.name].null_count:
            raise WarehouseError(f"{table.name}: column {field.name} must not be null")
    try:
        # delta-rs would cut off what is behind the point of a column of integers (findings/delta-append.sh).
        prepared = data.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise WarehouseError(f"{table.name}: {error}") from error
    prepared = _missing_as_null(table, data, prepared)
    if where and prepared.num_rows:
        outside = prepared.num_rows - matching(prepared, where)
        if outside:
            raise WarehouseError(f"{table.name}: {outside} rows lie outside the keys to replace ({delta_sql(where)})")
    if 1 < prepared.num_rows <= _SMALL and table.key:
        unique = prepared.select(list(table.key)).group_by(list(table.key)).aggregate([]).num_rows
        if unique < prepared.num_rows:
            raise WarehouseError(f"{table.name}: {prepared.num_rows - unique} rows repeat a key {table.key}")
    return prepared


def check_horizon(table: Table, stored: Sequence[str]) -> None:
    """Raise HorizonError where the stored columns are of another horizon than `table`'s."""
    found = None if table.horizon is None else of_columns(stored)
    if found is not None and table.horizon is not None and found != table.horizon:
        raise HorizonError(other_horizon_text(table.name, found, table.horizon))


def check_keys(table: Table, where: Where) -> None:
    """Raise WarehouseError where a write names its rows by a column that may be null or is a float: engines disagree on
    which rows a null or a rounded number matches."""
    fit = {one.name for one in table.columns if not one.nullable and not one.type.startswith("float")}
    wrong = [name for name in where if name not in fit]
    if wrong:
        raise WarehouseError(
            f"{table.name}: a write cannot name its rows by {', '.join(wrong)}: only by columns that are never null "
            "and no floating-point numbers"
        )


def _missing_as_null(table: Table, data: pa.Table, prepared: pa.Table) -> pa.Table:
    """Null for NaN, which engines sort and count otherwise; WarehouseError where a number became infinite, being too
    large for its column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, field in enumerate(prepared.schema):
        if not pa.types.is_floating(field.type):
            continue
        column = prepared[field.name]
        if data.schema.field(field.name).type != field.type:
            given = data[field.name].cast(pa.float64())
            over = pc.sum(pc.and_(pc.is_inf(column), pc.invert(pc.is_inf(given)))).as_py()
            if over:
                raise WarehouseError(f"{table.name}: {over} numbers do not fit column {field.name} ({field.type})")
        # A sum is finite only where no term is missing: one pass, and rows are looked at only where it is not.
        total = pc.sum(column).as_py()
        if total is None or math.isfinite(total):
            continue
        missing = pc.is_nan(column)
        if not pc.any(missing).as_py():
            continue
        if not field.nullable:
            raise WarehouseError(f"{table.name}: column {field.name} must not be missing (NaN)")
        prepared = prepared.set_column(position, field, pc.if_else(missing, pa.scalar(None, field.type), column))
    return prepared


def check_columns(table: Table, stored: Sequence[str], columns: Sequence[str] | None, where: Where) -> None:
    """Raise WarehouseError where a read needs a column that the stored table lacks."""
    unknown = [name for name in [*(columns or ()), *where] if name not in stored]
    lacking = lacking_columns(table, stored)
    if lacking and (columns is None or set(lacking) & set(unknown)):
        raise WarehouseError(
            f"{table.name} has no column {', '.join(lacking)}: it was made by an earlier version of this package; "
            "run `forecast-platform migrate`"
        )
    if unknown:
        raise WarehouseError(f"{table.name} has no column {', '.join(unknown)}; it has {', '.join(stored)}")


def lacking_columns(table: Table, stored: Sequence[str]) -> list[str]:
    """The columns of this version that the stored table lacks."""
    return [column.name for column in table.columns if column.name not in stored]


def in_order(table: Table, stored: Sequence[str]) -> list[str]:
    """The stored columns as every implementation hands them out: the schema's, then further ones as they came.

    delta-rs moves partition columns to the end where a column is added.
    """
    known = [column.name for column in table.columns]
    return [name for name in known if name in stored] + [name for name in stored if name not in known]
