"""Barchart, daily price history: `Time,Open,High,Low,Latest,Change,%Change,Volume`, newest first, with a footer.

Seen to May 2026; before: `Last`, `%Chg`, `Open Int`. The last line is one cell, `Downloaded from Barchart.com as of`.
"""

from __future__ import annotations

from forecast_platform.sources.formats.prices import OHLCV, prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "Barchart", "market"


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    start = 1 if names[:1] == ["Symbol"] else 0
    fits = names[start : start + 4] == ["Time", "Open", "High", "Low"] and len(names) > start + 4
    return 0 if fits and names[start + 4] in ("Latest", "Last") else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows."""
    columns = {**OHLCV, "latest": "close", "last": "close"}
    return prices(
        sheet,
        head,
        columns,
        meaning,
        format=NAME,
        date="time",
        # It writes 05/04/2026 as the fourth of May, in every locale.
        proven="month-first",
        footer=lambda cells: cells[0].startswith("Downloaded from Barchart"),
    )
