"""EIA (US Energy Information Administration): the .xls of a series, its CSV from the chart's page, the API's CSV.

Seen to August 2026. Workbook: sheet `Data 1`, rows `Back to Contents`, `Sourcekey`, `Date`. Page: title, address, time
and `Source: ...` above `Day,<title>`. API v2: `period,...,value,units`. `Week of` and `Month` say what they are.
"""

from __future__ import annotations

import re

import numpy as np

from forecast_platform.sources.formats.prices import prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "EIA", "values"
_STEPS = ("day", "week of", "month", "year", "date")


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    if names[:1] == ["period"] and {"value", "units"} <= set(names):
        return 0
    key = sheet.find(lambda cells: cells[:1] == ["Sourcekey"], 6)
    if key is not None and sheet.names(key + 1)[:1] == ["Date"]:
        return key + 1
    source = sheet.find(lambda cells: cells[0].startswith("Source: U.S. Energy Information"), 8)
    if source is not None and sheet.names(source + 1)[:1] and sheet.names(source + 1)[0].lower() in _STEPS:
        return source + 1
    return None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; several series beside each other need a mapping."""
    names = sheet.names(head)
    if names[0] == "period":
        return _api(sheet, head, meaning)
    filled = [name for name in names if name]
    trimmed = [(row, cells[: len(filled)]) for row, cells in sheet.records[head:] if any(cells[: len(filled)])]
    unit = re.search(r"\(?\b((?:Dollars|Cents) per [A-Za-z ]+?)\)?$", filled[-1])
    single = {filled[1].lower(): "value"} if len(filled) == 2 else {}
    own = {name.lower(): name for name in filled[1:]}
    return prices(
        Sheet(sheet.file, trimmed),
        0,
        own | single,
        meaning,
        format=NAME,
        date=filled[0].lower(),
        proven="month-first",
        unit=unit[1].strip() if unit else None,
        notes=tuple(filled[1:]),
    )


def _api(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    names = sheet.names(head)
    series, value, units = (names.index(name) if name in names else None for name in ("series", "value", "units"))
    found = sorted(
        {cells[series] for _, cells in sheet.records[head + 1 :] if series is not None and len(cells) > series}
    )
    if len(found) > 1:
        row = sheet.records[head][0]
        reason = f"several series below each other ({', '.join(found[:6])}): ask the API for one a file"
        return RawTable(sheet.file, {}, np.empty(0, np.int64), ((row, reason),), NAME)
    unit = sheet.names(head + 1)[units] if units is not None and len(sheet.records) > head + 1 else None
    return prices(
        sheet, head, {"value": "value"}, meaning, format=f"{NAME} (API)", date="period", unit=unit, notes=tuple(found)
    )
