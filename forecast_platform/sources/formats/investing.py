"""investing.com, "Historical Data" of a future, rate or index: newest first, Price is the settlement.

Seen to January 2026: `"Date","Price","Open","High","Low","Vol.","Change %"`, MM/DD/YYYY or `Apr 09, 2020`, DD/MM/YYYY
from its pages in other languages; FX has no `Vol.`; `14.59K`, `-` where unknown. At most 5,000 rows a file.
"""

from __future__ import annotations

import numpy as np

from forecast_platform.sources.formats.prices import prices, without
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "investing.com", "market"


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    return 0 if names[:5] == ["Date", "Price", "Open", "High", "Low"] and names[-1:] == ["Change %"] else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; today's is a running bar where it has no volume yet."""
    columns = {"price": "close", "open": "open", "high": "high", "low": "low", "vol.": "volume"}
    table = prices(sheet, head, columns, meaning, format=NAME)
    if table.problems or "volume" not in table.columns or meaning.today is None:
        return table
    running = (table.columns["date"] >= np.datetime64(meaning.today, "D")) & np.isnan(table.columns["volume"])
    return without(table, running, "today's bar, still running: it has no volume yet")
