"""Nasdaq Data Link (before: Quandl), continuous futures: `Date,Open,High,Low,Last,Change,Settle,Volume,...`.

Newest first. Settle is the close; `Last` is the last trade. Files of ICE contracts have no `Last`, those of CME have
`Previous Day Open Interest`, those of ICE `Prev. Day Open Interest`.
"""

from __future__ import annotations

from forecast_platform.sources.formats.prices import OHLCV, prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "Nasdaq Data Link", "market"


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    return 0 if names[:4] == ["Date", "Open", "High", "Low"] and "Settle" in names else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows."""
    columns = {**{name: ours for name, ours in OHLCV.items() if name != "close"}, "settle": "close"}
    return prices(sheet, head, columns, meaning, format=NAME)
