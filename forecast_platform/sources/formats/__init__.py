"""Files as vendors export them: one small reader a vendor, recognised by its header, never by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from forecast_platform.sources.base import MARKET_COLUMNS
from forecast_platform.sources.contracts import CHAIN_COLUMNS
from forecast_platform.sources.formats import (
    barchart,
    cftc,
    eia,
    fred,
    ghcn,
    ice,
    inmet,
    investing,
    nasa_power,
    nasdaq_data_link,
    open_meteo,
    stooq,
    tradingview,
    yahoo,
)
from forecast_platform.sources.formats.sheet import Kind, Meaning, RawTable, Sheet


class Reader(Protocol):
    """A vendor's reader, which is a module.

    KIND: `market` (bars of one series), `weather`, or `values` (columns of figures: a close, or macro columns).
    """

    NAME: str
    KIND: str

    def header(self, sheet: Sheet) -> int | None:
        """The position in `sheet.records` of the header that this vendor writes; None where it is another's."""
        ...

    def read(self, sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
        """The sheet in the platform's columns; prices as open, high, low, close, volume, a single figure as value."""
        ...


READERS: tuple[Reader, ...] = (
    investing,
    yahoo,
    stooq,
    fred,
    barchart,
    eia,
    tradingview,
    nasdaq_data_link,
    ice,
    cftc,
    open_meteo,
    nasa_power,
    ghcn,
    inmet,
)
"""Every reader; no two know the same header."""


def recognise(sheet: Sheet) -> tuple[Reader, int] | None:
    """The reader that knows the sheet's header, and the header's position; None where none does."""
    for reader in READERS:
        head = reader.header(sheet)
        if head is not None:
            return reader, head
    return None


def read(reader: Reader, head: int, sheet: Sheet, kind: Kind, meaning: Meaning) -> RawTable:
    """The sheet as a file of `kind`; a problem where its vendor writes no such data."""
    if (reader.KIND == "weather") != (kind == "weather"):
        place = "weather_<region>.csv beside market/" if reader.KIND == "weather" else "market/ or macro_<column>.csv"
        reason = f"this is a file of {reader.NAME}, which is no {kind} data: put it into {place}"
        return _refused(sheet, reader, head, reason)
    if kind == "macro":
        return _macro(reader, head, sheet, meaning)
    table = reader.read(sheet, head, meaning)
    if kind == "weather" or table.problems:
        return table
    if "close" not in table.columns and "value" in table.columns:
        columns = {("close" if name == "value" else name): values for name, values in table.columns.items()}
        return replace(table, columns=columns)
    if "close" not in table.columns:
        known = ", ".join(name for name in sheet.names(head)[1:8] if name)
        reason = f"which column is the close? set `columns: {{<name>: close}}` of the series; there are {known}"
        return _refused(sheet, reader, head, reason)
    kept = ("date", *MARKET_COLUMNS, *CHAIN_COLUMNS)
    return replace(table, columns={name: cells for name, cells in table.columns.items() if name in kept})


def _macro(reader: Reader, head: int, sheet: Sheet, meaning: Meaning) -> RawTable:
    """Columns of figures by the mapping; a single figure, or a close, is called as the file (`macro_<column>.csv`)."""
    table = reader.read(sheet, head, meaning)
    if table.problems:
        return table
    wanted = set(meaning.columns.values())
    single = "value" if "value" in table.columns else "close" if reader.KIND == "market" else None
    columns = {name: values for name, values in table.columns.items() if name == "date" or name in wanted}
    for theirs, ours in meaning.columns.items():
        if theirs in table.columns:
            columns[ours] = table.columns[theirs]
    if len(columns) == 1 and single and meaning.place:
        columns[meaning.place] = table.columns[single]
    if len(columns) == 1:
        named = ", ".join(name for name in sheet.names(head)[1:8] if name)
        mend = f"map {named} in `files: {{macro: {{<its column>: <ours>}}}}`"
        if single:
            mend += ", or call the file macro_<column>.csv"
        return _refused(sheet, reader, head, f"none of its columns is mapped to a macro column: {mend}")
    return replace(table, columns=columns)


def _refused(sheet: Sheet, reader: Reader, head: int, reason: str) -> RawTable:
    row = sheet.records[head][0]
    return RawTable(sheet.file, {}, np.empty(0, np.int64), ((row, reason),), reader.NAME)
