"""One landing file, CSV or Parquet, as columns whose cells still know their row."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".parquet")
_FOREIGN = {
    b"PAR1": "Parquet: name it .parquet",
    b"PK\x03\x04": "a zip archive or a spreadsheet: export it as CSV",
    b"\x1f\x8b": "gzip: unpack it",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}


class FileProblem(ValueError):
    """A file cannot be read as a table at all. `row` is the line it fails on, where that is known."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.row = row


@dataclass(frozen=True)
class RawTable:
    """Cells of a file by column.

    columns: name -> float64 (NaN: missing), datetime64[D] (NaT: missing) or object (str, '': missing), each [n].
    rows: 1-based line of each record, the header being line 1, int64 [n].
    problems: (row, reason) of records that are no records of this table; they are not in `columns`.
    """

    file: str
    columns: dict[str, NDArray[Any]]
    rows: NDArray[np.int64]
    problems: tuple[tuple[int | None, str], ...] = ()


def content_of(path: Path) -> bytes:
    """The file's bytes, at least one. Raises FileProblem."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileProblem(f"cannot be read: {error.strerror or error}") from error
    if not content:
        raise FileProblem("empty file (0 bytes)")
    return content


def table_of(content: bytes, suffix: str, file: str) -> RawTable:
    """The table in a file's bytes; `file` is the name to report it by. Raises FileProblem."""
    return _parquet(content, file) if suffix == ".parquet" else _csv(content, file)


def _csv(content: bytes, file: str) -> RawTable:
    for magic, kind in _FOREIGN.items():
        if content.startswith(magic):
            raise FileProblem(f"not a CSV file, but {kind}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise FileProblem(f"byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8", row) from error
    if "\0" in text:
        raise FileProblem("not a CSV file: it holds a NUL character", text.count("\n", 0, text.index("\0")) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        records = [(reader.line_num, record) for record in reader if record]
    except csv.Error as error:
        raise FileProblem(f"not a CSV file: {error}", reader.line_num) from error
    if not records:
        raise FileProblem("empty file (blank lines only)")
    names = [name.strip() for name in records[0][1]]
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise FileProblem(f"not comma-separated: the header is {names[0]!r}; separate columns with commas", 1)
    _check_header(names)
    problems: list[tuple[int | None, str]] = [
        (row, f"{len(record)} cells where the header has {len(names)}")
        for row, record in records[1:]
        if len(record) != len(names)
    ]
    good = [item for item in records[1:] if len(item[1]) == len(names)]
    if not good and not problems:
        raise FileProblem("no rows below the header")
    columns: dict[str, NDArray[Any]] = {
        name: np.array([record[position].strip() for _, record in good], dtype=object)
        for position, name in enumerate(names)
    }
    return RawTable(file, columns, np.array([row for row, _ in good], np.int64), tuple(problems))


def _check_header(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FileProblem(f"column {', '.join(repr(name) for name in twice)} is there more than once", 1)


def _parquet(content: bytes, file: str) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        _check_header(table.column_names)
        columns = {name: _cells(name, table.column(name)) for name in table.column_names}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileProblem(f"truncated or not a Parquet file: {str(error).splitlines()[0]}") from error
    if table.num_rows == 0:
        raise FileProblem("no rows")
    return RawTable(file, columns, np.arange(2, table.num_rows + 2, dtype=np.int64))


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
