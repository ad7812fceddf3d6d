"""Anybody's rows as a table of the warehouse: names and types that every engine takes, and nothing lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from forecast_platform.warehouse.schemas import Column, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def usable_names(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Names of columns as Delta takes them: without its special characters, and none twice in small letters, which it
    compares; later ones get a number. taken: names that are kept for other columns."""
    used, found = {one.casefold() for one in taken}, []
    for name in names:
        plain = numbered(re.sub(r"[ ,;{}()\n\t=]", "_", str(name)), lambda one: one.casefold() in used)
        used.add(plain.casefold())
        found.append(plain)
    return found


def numbered(name: str, is_taken: Callable[[str], bool]) -> str:
    """The name, or with the least number from 2 on with which it is free."""
    found, number = name, 1
    while is_taken(found):
        number += 1
        found = f"{name}_{number}"
    return found


def plain_table(name: str, description: str, rows: pd.DataFrame, more: dict[str, Any]) -> tuple[Table, pa.Table]:
    """The table for some rows, and these as it has them. more: further columns, whose names go before the rows' own.

    Numbers, truth values, dates and times stay what they are; lists and records are JSON, bytes hexadecimal, and what
    has several kinds of values is text.
    """
    import pyarrow as pa

    names = usable_names(list(rows.columns), list(more))
    arrays = [_array(rows.iloc[:, place]) for place in range(rows.shape[1])] + [pa.array(one) for one in more.values()]
    columns = tuple(Column(one, _kind(array.type), "") for one, array in zip([*names, *more], arrays, strict=True))
    table = Table(name, description, columns, (), (), whole=True)
    schema = table.arrow_schema()
    made = [_cast(array, field.type) for array, field in zip(arrays, schema, strict=True)]
    return table, pa.Table.from_arrays(made, schema=schema)


def _array(values: pd.Series) -> Any:
    import pyarrow as pa

    try:
        found = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Several kinds of values in one column, such as a file's 1 and "a".
        found = pa.array([None if missing else str(one) for one, missing in zip(values, values.isna(), strict=True)])
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if pa.types.is_nested(found.type):
        return _texts(found, lambda one: json.dumps(one, default=str))
    if any(fits(found.type) for fits in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)):
        return _texts(found, bytes.hex)
    return found


def _texts(values: Any, text: Callable[[Any], str]) -> Any:
    import pyarrow as pa

    return pa.array([None if one is None else text(one) for one in values.to_pylist()], pa.string())


def _kind(kind: Any) -> str:
    import pyarrow as pa

    types = pa.types
    if types.is_boolean(kind):
        return "bool"
    if types.is_int32(kind) or types.is_int16(kind) or types.is_int8(kind) or types.is_uint8(kind):
        return "int"
    if types.is_integer(kind) and not types.is_uint64(kind):
        return "long"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "float"
    if types.is_date(kind):
        return "date"
    return "timestamp" if types.is_timestamp(kind) else "string"


def _cast(array: Any, kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        # A time without a zone is one of UTC; finer than a microsecond is nothing that a table holds.
        if array.type.tz is None:
            array = array.cast(pa.timestamp("us"), safe=False)
        return array.cast(kind, safe=False)
    if pa.types.is_decimal(array.type):
        return array.cast(kind, safe=False)
    return array.cast(kind)
