"""Large weather files of our own layout, read column by column instead of cell by cell."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.sources.base import WEATHER_COLUMNS
from forecast_platform.sources.formats.sheet import RawTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST = 2**20
"""Bytes from which on it is worth it."""

_ODD = (b'"', b"\r", b"\t", b"\0")
"""What takes the reader's care: quotes, lone carriage returns, tabs."""


def plain_weather(content: bytes, file: str) -> RawTable | None:
    """The table of a file whose every cell is as plain as can be, or None: then it is read cell by cell.

    Plain are ISO dates, numbers that Arrow and Python read alike, and lines of one width, which end as on Unix or as on
    Windows, the last one as it likes. The values are those of the other way, which alone finds faults and names their
    rows.
    """
    if len(content) < SMALLEST:
        return None
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    if not content.endswith(b"\n"):
        content += b"\n"
    if any(odd in content for odd in _ODD) or _blank_around(content):
        return None
    names = content[: content.index(b"\n")].decode("latin-1").split(",")
    if len(set(names)) < len(names) or not {"date", "region"} <= set(names) <= {"date", "region", *WEATHER_COLUMNS}:
        return None
    import pyarrow as pa
    from pyarrow import csv

    types = {name: {"date": pa.date32(), "region": pa.string()}.get(name, pa.float64()) for name in names}
    options = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False)
    try:
        table = csv.read_csv(pa.BufferReader(content), convert_options=options)
    except pa.ArrowInvalid:
        return None
    columns: dict[str, NDArray[Any]] = {
        name: table[name].to_numpy().astype("datetime64[D]") if name == "date" else table[name].to_numpy()
        for name in names
    }
    return RawTable(file, columns, np.arange(2, table.num_rows + 2, dtype=np.int64)) if table.num_rows else None


def _blank_around(content: bytes) -> bool:
    """Whether a cell begins or ends with a blank, or a line is blank. The last byte is a line's end."""
    found = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(found == ord("\n"))
    if ends[0] == 0 or bool((np.diff(ends) == 1).any()):
        return True
    blanks = np.flatnonzero(found == ord(" "))
    if len(blanks) == 0:
        return False
    # Before the first byte there is a line's end, too: the last one.
    edges = np.concatenate([found[blanks - 1], found[blanks + 1]])
    return bool(((edges == ord(",")) | (edges == ord("\n"))).any())
