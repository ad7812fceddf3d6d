"""Sheets of an Excel workbook (.xls, .xlsx) as text, by python-calamine, which is the extra `excel`."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

from forecast_platform.sources.formats.sheet import Sheet

INSTALL = "install it with `pip install 'forecast-platform[excel]'`, or export the sheet as CSV"


def read_workbook(content: bytes, file: str) -> list[Sheet]:
    """Every sheet that has rows. Raises ValueError where it is no workbook, or the package is missing."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as error:
        raise ValueError(f"a workbook needs the package python-calamine: {INSTALL}") from error
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"truncated or not an Excel workbook: {reason}") from error
    sheets = []
    for found in rows.values():
        records = [(at, [_text(value) for value in cells]) for at, cells in enumerate(found, 1)]
        records = [(at, cells) for at, cells in records if any(cells)]
        if records:
            sheets.append(Sheet(file, records))
    return sheets


def _text(value: Any) -> str:
    """A cell as a CSV file would have it: 123 for 123.0, dates as YYYY-MM-DD.

    A stamp that a formula summed lies a few milliseconds beside the one that Excel shows: one just below midnight would
    be of the day before.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, dt.datetime):
        if value.year < dt.MAXYEAR:
            value = (value + dt.timedelta(seconds=0.5)).replace(microsecond=0)
        return value.date().isoformat() if value.time() == dt.time(0) else value.isoformat(sep=" ")
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value).strip()
