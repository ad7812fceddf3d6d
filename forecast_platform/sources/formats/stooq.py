"""Stooq, daily history: `Date,Open,High,Low,Close,Volume`, oldest first; the Polish page names the columns in Polish.

Seen to 2026. Volume is missing for rates and indices.
"""

from __future__ import annotations

from forecast_platform.sources.formats.prices import OHLCV, prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "Stooq", "market"
_ENGLISH = ["Date", "Open", "High", "Low", "Close"]
_POLISH = ["Data", "Otwarcie", "Najwyzszy", "Najnizszy", "Zamkniecie"]
_POLISH_COLUMNS = {
    "otwarcie": "open",
    "najwyzszy": "high",
    "najnizszy": "low",
    "zamkniecie": "close",
    "wolumen": "volume",
}


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    english = names[:5] == _ENGLISH and set(names[5:]) <= {"Volume", "OpenInt"}
    polish = names[:5] == _POLISH and set(names[5:]) <= {"Wolumen", "LOP"}
    return 0 if english or polish else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows."""
    first = sheet.names(head)[0].lower()
    return prices(sheet, head, OHLCV | _POLISH_COLUMNS, meaning, format=NAME, date=first)
