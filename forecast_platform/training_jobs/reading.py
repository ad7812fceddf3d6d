"""A job's table from rows, a CSV or a Parquet file: the columns that its config names, as Arrow, nothing guessed.

A CSV's cells are read as text and turned into numbers and stamps here, so that whatever does not fit is named with its
row. Errors are JobError: the thing, the value and the mend.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.training_jobs.config import JobConfig, JobError

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

_DELIMITERS = (",", ";", "\t", "|")
_FORMULA = re.compile(r"^\s*(=|@|[+-]\s*[A-Za-z(]|[+-](?![\d.]+[eE]).*[-+*/^(|!&'\"])")
"""What a spreadsheet takes for a formula: also -1+cmd|..., but neither -1e-5 nor texts such as -12 EUR or +49 30."""
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
_ORDERS = {"%m/%d/%Y": "month/day/year", "%d/%m/%Y": "day/month/year", "%d.%m.%Y": "day.month.year"}
_FIRST_YEAR, _LAST_YEAR = 1678, 2261


@dataclass(frozen=True)
class Limits:
    """How much a job may bring."""

    rows: int = 5_000_000
    rows_a_series: int = 20_000
    series: int = 10_000
    megabytes: float = 1024
    """Of the columns that are read, uncompressed."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A table as read: stamps [n] datetime64[s], values [n] (nan: missing), ids [n] as text, covariates by name."""

    stamps: NDArray[np.datetime64]
    values: Floats
    ids: NDArray[Any]
    covariates: Mapping[str, Floats]


def read_rows(rows: Sequence[Mapping[str, Any]], config: JobConfig, limits: Limits) -> Columns:
    """Rows of a request. Raises JobError."""
    import pyarrow as pa

    if not rows:
        raise JobError("there are no rows", "data")
    if len(rows) > limits.rows:
        raise JobError(f"{len(rows):,} rows; at most {limits.rows:,}", "data")
    columns = {}
    for name in config.columns:
        cells = [row.get(name) for row in rows]
        if not any(name in row for row in rows):
            raise JobError(f"no row has a column {name!r}; there are {_names(list(rows[0]))}", _field_of(name, config))
        kinds = {type(cell) for cell in cells if cell is not None}
        if kinds & {dict, list, tuple}:
            raise JobError(f"column {name!r} holds lists or mappings: one value a cell", _field_of(name, config))
        if kinds <= {int, float} and kinds:
            columns[name] = pa.array([None if cell is None else _as_float(cell) for cell in cells], pa.float64())
            if name != config.target_col and name not in config.covariates and kinds == {int}:
                columns[name] = pa.array([None if cell is None else str(cell) for cell in cells])
        else:
            columns[name] = pa.array([None if cell is None else str(cell) for cell in cells])
    return _convert(pa.table(columns), config, "row", first=1)


def read_file(path: Path, config: JobConfig, limits: Limits) -> Columns:
    """A CSV or Parquet file, known by its first bytes. Raises JobError."""
    if _is_parquet(path):
        return _convert(_parquet(path, config, limits), config, "row", first=1)
    return _convert(_csv(path, config, limits), config, "line", first=2)


def from_arrow(table: pa.Table, config: JobConfig, limits: Limits) -> Columns:
    """The columns that the config names of a table of the warehouse. Raises JobError for one that is lacking, too many
    rows, and values that cannot be read."""
    _require(table.column_names, config)
    if table.num_rows > limits.rows:
        raise JobError(f"{table.num_rows:,} rows; at most {limits.rows:,}", "table")
    return _convert(table.select(list(config.columns)), config, "row", first=1)


def column_names(path: Path) -> list[str]:
    """Columns of an uploaded file. Raises JobError where it is neither CSV nor Parquet."""
    if _is_parquet(path):
        return list(_opened_parquet(path).schema_arrow.names)
    return _header(path)[1]


def _is_parquet(path: Path) -> bool:
    """By its first bytes, which also tell what is neither that nor a CSV. Raises JobError."""
    with path.open("rb") as stream:
        head = stream.read(4)
    if not head:
        raise JobError("the file is empty", "file")
    for magic, kind in ((b"PK", "a workbook or zip archive"), (b"\x1f\x8b", "compressed"), (b"\xd0\xcf", "a workbook")):
        if head.startswith(magic):
            raise JobError(f"the file is {kind}: save it as CSV (UTF-8) or Parquet", "file")
    return head == b"PAR1"


def _csv(path: Path, config: JobConfig, limits: Limits) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    delimiter, names = _header(path)
    _require(names, config)
    if path.stat().st_size > limits.megabytes * 1e6:
        raise JobError(f"{path.stat().st_size / 1e6:,.0f} MB; at most {limits.megabytes:,.0f} MB", "file")
    try:
        table = csv.read_csv(
            path,
            csv.ReadOptions(block_size=1 << 24),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            csv.ConvertOptions(
                include_columns=list(config.columns),
                column_types={name: pa.string() for name in config.columns},
                strings_can_be_null=True,
                null_values=list(_MISSING),
            ),
        )
    except pa.ArrowInvalid as error:
        raise JobError(f"no CSV: {str(error).splitlines()[0]}", "file") from None
    if table.num_rows > limits.rows:
        raise JobError(f"{table.num_rows:,} rows; at most {limits.rows:,}", "file")
    return table


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter and the names of a CSV's columns; the whole file is looked at for its encoding."""
    import csv

    line = 1
    with path.open("rb") as stream:
        for block in iter(lambda: stream.readline(1 << 20), b""):
            try:
                text = block.decode("utf-8")
            except UnicodeDecodeError as error:
                raise JobError(
                    f"line {line} is not UTF-8 (byte {block[error.start]:#04x} at column {error.start + 1}): save the "
                    "file as CSV UTF-8",
                    "file",
                ) from None
            if "\x00" in text:
                raise JobError(f"line {line} holds a zero byte: no text file; save it as CSV UTF-8", "file")
            if line == 1:
                first = text.removeprefix("\ufeff").rstrip("\r\n")
            line += block.endswith(b"\n")
    delimiter = max(_DELIMITERS, key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise JobError(f"the header names column {twice[0]!r} twice", "file")
    return delimiter, names


def _opened_parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise JobError(f"no whole Parquet file: {str(error).splitlines()[0]}", "file") from None


def _parquet(path: Path, config: JobConfig, limits: Limits) -> pa.Table:
    import pyarrow as pa

    with _opened_parquet(path) as file:
        about = file.metadata
        declared = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        if declared > limits.megabytes * 1e6:
            raise JobError(
                f"the file says that it holds {declared / 1e6:,.1f} MB uncompressed; at most "
                f"{limits.megabytes:,.1f} MB: leave out columns and rows that the job does not read",
                "file",
            )
        if about.num_rows > limits.rows:
            raise JobError(f"{about.num_rows:,} rows; at most {limits.rows:,}", "file")
        _require(file.schema_arrow.names, config)
        batches, size = [], 0
        try:
            for batch in file.iter_batches(columns=list(config.columns)):
                size += batch.nbytes
                if size > limits.megabytes * 1e6:  # whatever it declared
                    raise JobError(f"over {limits.megabytes:,.1f} MB uncompressed", "file")
                batches.append(batch)
        except (pa.ArrowInvalid, OSError) as error:
            raise JobError(f"the file is damaged: {str(error).splitlines()[0]}", "file") from None
    if not batches:
        raise JobError("there are no rows", "file")
    return pa.Table.from_batches(batches)


def _require(names: Sequence[str], config: JobConfig) -> None:
    for name in config.columns:
        if name not in names:
            raise JobError(f"the data have no column {name!r}; there are {_names(names)}", _field_of(name, config))


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _field_of(name: str, config: JobConfig) -> str:
    fields = ("time_col", "target_col", "id_col")
    return next((field for field in fields if getattr(config, field) == name), "covariates")


def _convert(table: pa.Table, config: JobConfig, unit: str, first: int) -> Columns:
    """first: the number of the first row, as `unit` counts them."""
    if table.num_rows == 0:
        raise JobError("there are no rows", "data")

    def place(row: int, name: str) -> str:
        return f"{unit} {row + first}, column {name!r}"

    ids = np.zeros(table.num_rows, "U1")
    if config.id_col is None and _FORMULA.match(config.target_col):
        # It names the series, in files that people open in a spreadsheet.
        raise JobError(f"{config.target_col!r} is a formula: rename the column", "target_col")
    if config.id_col is not None:
        ids = _texts(table[config.id_col], config.id_col, place)
    return Columns(
        stamps=_stamps(table[config.time_col], config.time_col, place),
        values=_numbers(table[config.target_col], config.target_col, "target_col", place),
        ids=ids,
        covariates={name: _numbers(table[name], name, "covariates", place) for name in config.covariates},
    )


def _texts(column: Any, name: str, place: Any) -> NDArray[Any]:
    import pyarrow as pa

    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise JobError(f"{place(row, name)}: the name of the series is missing", "id_col")
    texts = column.cast(pa.string()).to_numpy(zero_copy_only=False)
    for text in np.unique(texts.astype("U")).tolist():
        if _FORMULA.match(text):
            raise JobError(f"column {name!r}: {text!r} is a formula: save the file with values", "id_col")
        if len(text) > 200 or not text.strip():
            raise JobError(f"column {name!r}: {text[:60]!r} is no name: 1 to 200 characters", "id_col")
    return np.asarray(texts.astype("U"))


def _numbers(column: Any, name: str, field: str, place: Any) -> Floats:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = column.to_numpy(zero_copy_only=False)
        missing = np.array([text is None or text.strip() in _MISSING for text in texts])
        try:
            values = np.full(len(texts), np.nan)
            values[~missing] = texts[~missing].astype(np.float64)
        except ValueError:
            row, text = next((k, text) for k, text in enumerate(texts) if not missing[k] and not _is_number(text))
            what = "is a formula: save the file with values" if _FORMULA.match(text) else "is no number"
            raise JobError(f"{place(row, name)}: {text[:60]!r} {what}", field) from None
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        raise JobError(f"column {name!r} is of type {kind}: numbers are needed", field)
    if np.isinf(values).any():
        raise JobError(f"{place(int(np.flatnonzero(np.isinf(values))[0]), name)}: infinite", field)
    return values


def _as_float(cell: float) -> float:
    """A number of a request; one beyond what a float holds is infinite, which is refused with its row."""
    try:
        return float(cell)
    except OverflowError:
        return float("inf")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _stamps(column: Any, name: str, place: Any) -> NDArray[np.datetime64]:
    import pyarrow as pa

    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise JobError(f"{place(row, name)}: the stamp is missing", "time_col")
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        unit = "us" if pa.types.is_timestamp(kind) else None
        plain = column.cast(pa.timestamp("us", kind.tz)).cast(pa.timestamp("us")) if unit else column
        found = plain.to_numpy(zero_copy_only=False)
        seconds = found.astype("datetime64[s]")
        if unit and not (found == seconds).all():
            row = int(np.flatnonzero(found != seconds)[0])
            raise JobError(f"{place(row, name)}: {found[row]}: stamps are whole seconds at the finest", "time_col")
        return _in_range(seconds, name, place)
    if pa.types.is_floating(kind):
        raise JobError(f"column {name!r} holds numbers with fractions: write stamps such as 2024-01-31", "time_col")
    texts = column.cast(pa.string()).to_numpy(zero_copy_only=False).astype("U")
    return _in_range(_parsed(np.char.strip(texts), name, place), name, place)


def _in_range(found: NDArray[np.datetime64], name: str, place: Any) -> NDArray[np.datetime64]:
    years = found.astype("datetime64[Y]").astype(np.int64) + 1970
    off = np.flatnonzero((years < _FIRST_YEAR) | (years > _LAST_YEAR))
    if len(off):
        raise JobError(f"{place(int(off[0]), name)}: {found[off[0]]} is not a stamp of these centuries", "time_col")
    return found


def _parsed(texts: NDArray[Any], name: str, place: Any) -> NDArray[np.datetime64]:
    """Texts as stamps: ISO 8601, years, or days whose order is plain from the data."""
    import pandas as pd

    if np.char.isdigit(texts).all():
        shape = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}.get(int(np.char.str_len(texts).max()))
        if shape is None:
            raise JobError(f"column {name!r}: {str(texts[0])!r} is no stamp: write 2024-01-31", "time_col")
        found = pd.to_datetime(pd.Series(texts), format=shape, errors="coerce")
    else:
        found = pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    bad = np.flatnonzero(found.isna().to_numpy())
    if len(bad):
        orders = {
            order: parsed
            for order in _ORDERS
            if not (parsed := pd.to_datetime(pd.Series(texts), format=order, errors="coerce")).isna().any()
        }
        if len(orders) > 1:
            raise JobError(
                f"column {name!r}: {str(texts[0])!r} may be {' or '.join(_ORDERS[order] for order in orders)}: write "
                "2024-01-31",
                "time_col",
            )
        if not orders:
            row = int(bad[0])
            what = "is a formula: save the file with values" if _FORMULA.match(texts[row]) else "is no stamp"
            raise JobError(f"{place(row, name)}: {str(texts[row])[:60]!r} {what}; write 2024-01-31", "time_col")
        [found] = orders.values()
    return np.asarray(found.to_numpy().astype("datetime64[s]"))
