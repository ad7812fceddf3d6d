"""One landing file as columns whose cells still know their row: CSV, Parquet or workbook, a vendor's or our layout."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.sources import formats
from forecast_platform.sources.bulk import plain_weather
from forecast_platform.sources.formats import prices
from forecast_platform.sources.formats.sheet import (
    Kind,
    Meaning,
    RawTable,
    Record,
    Sheet,
    ascending,
    body,
    dates,
    twice,
)
from forecast_platform.sources.parquet import as_sheet, read_parquet
from forecast_platform.sources.workbooks import read_workbook

_OLE2 = b"\xd0\xcf\x11\xe0"
_FOREIGN = {
    b"PAR1": "Parquet: name it .parquet",
    b"PK\x03\x04": "a zip archive or a spreadsheet: export it as CSV, or name a spreadsheet .xlsx",
    _OLE2: "an old Excel workbook: export it as CSV, or name it .xls",
    b"\x1f\x8b": "gzip: unpack it",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}
_DECIMAL_COMMA = re.compile(r"-?\d[\d.]*,\d+")
_BROKEN_OFF = 20


class FileProblem(ValueError):
    """A file cannot be read as a table at all. `row` is the line it fails on, where that is known."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.row = row


def read_table(path: Path, file: str, kind: Kind = "market", meaning: Meaning | None = None) -> RawTable:
    """The table in `path`, read as a file of `kind`; `file` is the name to report it by. Raises FileProblem.

    meaning: what the settings say of its columns, dates and places.
    """
    return table_of(content_of(path), path.suffix.lower(), file, kind, meaning)


def content_of(path: Path) -> bytes:
    """The file's bytes, at least one. Raises FileProblem."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileProblem(f"cannot be read: {error.strerror or error}") from error
    if not content:
        raise FileProblem("empty file (0 bytes)")
    return content


def table_of(content: bytes, suffix: str, file: str, kind: Kind = "market", meaning: Meaning | None = None) -> RawTable:
    """The table in a file's bytes, as `read_table` has it. Raises FileProblem."""
    meaning = meaning or Meaning()
    if suffix == ".parquet":
        return _parquet(content, file, kind, meaning)
    if suffix in (".xls", ".xlsx"):
        return _workbook(content, file, kind, meaning)
    return _csv(content, file, kind, meaning)


def _parquet(content: bytes, file: str, kind: Kind, meaning: Meaning) -> RawTable:
    try:
        table = read_parquet(content, file)
    except ValueError as error:
        raise FileProblem(str(error)) from error
    found = formats.recognise(as_sheet(table, 0))
    return _renamed(table, meaning) if found is None else formats.read(*found, as_sheet(table), kind, meaning)


def _workbook(content: bytes, file: str, kind: Kind, meaning: Meaning) -> RawTable:
    try:
        sheets = read_workbook(content, file)
    except ValueError as error:
        raise FileProblem(str(error)) from error
    for sheet in sheets:
        if found := formats.recognise(sheet):
            return formats.read(*found, sheet, kind, meaning)
    if not sheets:
        raise FileProblem("the workbook has no rows")
    return _plain(sheets[0], meaning)


def _csv(content: bytes, file: str, kind: Kind, meaning: Meaning) -> RawTable:
    for magic, what in _FOREIGN.items():
        if content.startswith(magic):
            raise FileProblem(f"not a CSV file, but {what}")
    if kind == "weather" and not meaning.columns and not meaning.dates:
        bulk = plain_weather(content, file)
        if bulk is not None:
            return replace(bulk, notes=_unfinished(_tail(content, bulk), content.endswith(b"\n")))
    unreadable: FileProblem | None = None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        unreadable = FileProblem(f"byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8", row)
        text = content.decode("latin-1")
    if "\0" in text:
        raise FileProblem("not a CSV file: it holds a NUL character", text.count("\n", 0, text.index("\0")) + 1)
    try:
        sheet = _sheet(text, file)
        found = formats.recognise(sheet)
    except FileProblem:
        if unreadable:
            raise unreadable from None
        raise
    if found is None and unreadable:
        raise unreadable
    if found is None and sheet.delimiter == ";":
        raise _semicolons(sheet)
    table = _plain(sheet, meaning) if found is None else formats.read(*found, sheet, kind, meaning)
    broken_off = _unfinished(sheet.records[1:], text.endswith(("\n", "\r")))
    return replace(table, notes=(*table.notes, *broken_off))


def _sheet(text: str, file: str) -> Sheet:
    lead = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = ";" if lead.count(";") > lead.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        records: list[Record] = [(reader.line_num, [cell.strip() for cell in record]) for record in reader if record]
    except csv.Error as error:
        raise FileProblem(f"not a CSV file: {error}", reader.line_num) from error
    if not records:
        raise FileProblem("empty file (blank lines only)")
    return Sheet(file, records, delimiter)


def _semicolons(sheet: Sheet) -> FileProblem:
    if any(_DECIMAL_COMMA.fullmatch(cell) for _, cells in sheet.records[1:20] for cell in cells):
        return FileProblem("separated by ;, with decimal commas: save with commas and points", 1)
    return FileProblem(
        f"not comma-separated: the header is {';'.join(sheet.names())!r}; separate columns with commas", 1
    )


def _tail(content: bytes, table: RawTable) -> list[Record]:
    """The last records below the header of a file that was read by column."""
    lines = content.rsplit(b"\n", _BROKEN_OFF + 1)[1:]
    first = int(table.rows[-1]) - len(lines) + 1
    return [(row, line.decode().rstrip("\r").split(",")) for row, line in enumerate(lines, first)]


def _unfinished(records: Sequence[Record], ended: bool) -> tuple[str, ...]:
    """What looks like an upload that broke off inside the last line: no newline, and shorter than the lines before."""
    before = [sum(map(len, cells)) for _, cells in records[:-1][-_BROKEN_OFF:]]
    if ended or not before:
        return ()
    row, last = records[-1]
    if sum(map(len, last)) >= min(before):
        return ()
    return (f"row {row}: the last line is shorter than those before it and does not end: an upload that broke off?",)


def _plain(sheet: Sheet, meaning: Meaning) -> RawTable:
    """Our own layout: a header of our names, or of names that the settings map to them."""
    names = sheet.names()
    if len(names) == 1 and "\t" in names[0]:
        raise FileProblem(f"not comma-separated: the header is {names[0]!r}; separate columns with commas", 1)
    _check_header(names)
    if {name.lower() for name in meaning.columns} & {name.lower() for name in names}:
        return _mapped(sheet, meaning)
    good, problems, _ = body(sheet, 0)
    if not good and not problems:
        raise FileProblem("no rows below the header")
    columns: dict[str, NDArray[Any]] = {
        name: np.array([cells[position] for _, cells in good], dtype=object) for position, name in enumerate(names)
    }
    rows = [row for row, _ in good]
    if meaning.dates and "date" in columns:
        columns["date"] = dates(columns["date"].tolist(), rows, meaning.dates, problems)
    return RawTable(sheet.file, columns, np.array(rows, np.int64), tuple(problems))


def _mapped(sheet: Sheet, meaning: Meaning) -> RawTable:
    """Columns by the settings' mapping, numbers and dates as vendors write them; other columns are left out."""
    lower = [name.lower() for name in sheet.names()]
    own = {theirs.lower(): ours for theirs, ours in meaning.columns.items()}
    ours_too = {name: name for name in lower if name not in own}
    dated = next((name for name in lower if own.get(name) == "date"), "date")
    if dated not in lower:
        raise FileProblem(f"no date column: map it in `columns: {{<name>: date}}`; the header is {', '.join(lower)}", 1)
    known = {*own, "date", "region"}
    kept = {name: ours for name, ours in ours_too.items() if name in (*prices.OHLCV, *known)}
    table = prices.prices(sheet, 0, kept, meaning, format="landing, by its columns", date=dated, decimal=None)
    if "region" in lower:
        cells = np.array([cells[lower.index("region")] for row, cells in sheet.records[1:]], dtype=object)
        where = {row: at for at, (row, _) in enumerate(sheet.records[1:])}
        table.columns["region"] = cells[[where[int(row)] for row in table.rows]]
        table = ascending(table) if not table.problems else table
    return table


def _renamed(table: RawTable, meaning: Meaning) -> RawTable:
    own = {theirs.lower(): ours for theirs, ours in meaning.columns.items()}
    if not own.keys() & {name.lower() for name in table.columns}:
        return table
    return replace(table, columns={own.get(name.lower(), name): cells for name, cells in table.columns.items()})


def _check_header(names: list[str]) -> None:
    if again := twice(names):
        raise FileProblem(f"column {', '.join(repr(name) for name in again)} is there more than once", 1)
