"""Parquet files: columns with types of their own, and the same as text cells for vendors' readers."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.sources.formats.sheet import RawTable, Record, Sheet, twice

if TYPE_CHECKING:
    import pyarrow as pa

_UNNAMED = "__index_level_0__"


def read_parquet(content: bytes, file: str) -> RawTable:
    """A file's columns, those of pandas' index first; rows are counted from 2, as if a header were line 1.

    Raises ValueError where it cannot be read, has no rows or a column twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        if again := twice(table.column_names):
            raise ValueError(f"column {', '.join(repr(name) for name in again)} is there more than once")
        said = (table.schema.pandas_metadata or {}).get("index_columns", [])
        index = [name for name in table.column_names if name in said]
        named = [*index, *(name for name in table.column_names if name not in index)]
        columns = {"Date" if name == _UNNAMED else name: _cells(name, table.column(name)) for name in named}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"truncated or not a Parquet file: {str(error).splitlines()[0]}") from error
    if table.num_rows == 0:
        raise ValueError("no rows")
    return RawTable(file, columns, np.arange(2, table.num_rows + 2, dtype=np.int64))


def as_sheet(table: RawTable, most: int | None = None) -> Sheet:
    """The table as the same vendor's CSV file would have it, with its first `most` rows (None: all).

    Columns of two levels, which pandas writes as ('Close', 'KC=F'), become the rows Price, Ticker and Date of yfinance.
    """
    names = list(table.columns)
    levels = [_levels(name) for name in names]
    header: list[Record] = [(1, names)]
    if any(levels):
        dated = [name for name, pair in zip(names, levels, strict=True) if pair is None]
        rest = [pair for pair in levels if pair is not None]
        blank = [""] * len(rest)
        header = [
            (1, ["Price", *dated[1:], *(pair[0] for pair in rest)]),
            (1, ["Ticker", *dated[1:], *(pair[1] for pair in rest)]),
            (1, [*dated[:1], *dated[1:], *blank]),
        ]
        names = [*dated, *(name for name, pair in zip(names, levels, strict=True) if pair is not None)]
    columns = [[_text(value) for value in table.columns[name][:most].tolist()] for name in names]
    body = [(int(row), list(cells)) for row, *cells in zip(table.rows[:most], *columns, strict=True)]
    return Sheet(table.file, [*header, *body])


def _levels(name: str) -> tuple[str, str] | None:
    if not (name.startswith("('") and name.endswith("')")):
        return None
    try:
        found = ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return None
    return (str(found[0]), str(found[1])) if isinstance(found, tuple) and len(found) == 2 else None


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _cells(name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    import pyarrow as pa

    kind = column.type
    cells: NDArray[Any]
    if name != "date" and (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        cells = column.cast(pa.float64(), safe=False).to_pandas().to_numpy("float64")
        return cells
    if pa.types.is_date(kind):
        cells = column.cast(pa.date32()).to_numpy().astype("datetime64[D]")
        return cells
    if pa.types.is_timestamp(kind) and kind.tz is None:
        stamps = column.to_numpy()
        cells = stamps.astype("datetime64[D]")
        if np.all((cells == stamps) | np.isnat(stamps)):
            return cells
    # What is left keeps its own spelling: text is judged as in a CSV file, a stamp with its zone as ISO text.
    spelled = [
        "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value).strip()
        for value in column.to_pylist()
    ]
    cells = np.empty(len(spelled), dtype=object)
    cells[:] = spelled
    return cells
