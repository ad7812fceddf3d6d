"""Stooq, daily history: `Date,Open,High,Low,Close,Volume`, oldest first; the Polish page names the columns in Polish.

Seen to 2026. Volume is missing for rates and indices. The bulk download has a .txt file a ticker:
`<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>`, dates YYYYMMDD, PER D for daily bars.
"""

from __future__ import annotations

import numpy as np

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

_BULK = ["<TICKER>", "<PER>", "<DATE>"]
_BULK_COLUMNS = {
    "<open>": "open",
    "<high>": "high",
    "<low>": "low",
    "<close>": "close",
    "<vol>": "volume",
}


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    english = names[:5] == _ENGLISH and set(names[5:]) <= {"Volume", "OpenInt"}
    polish = names[:5] == _POLISH and set(names[5:]) <= {"Wolumen", "LOP"}
    bulk = [name.upper() for name in names[:3]] == _BULK
    return 0 if english or polish or bulk else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows."""
    first = sheet.names(head)[0].lower()
    if first == "<ticker>":
        return _bulk(sheet, head, meaning)
    return prices(sheet, head, OHLCV | _POLISH_COLUMNS, meaning, format=NAME, date=first)


def _bulk(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    tickers, periods = (
        sorted({cells[at] for _, cells in sheet.records[head + 1 :] if len(cells) > at}) for at in (0, 1)
    )
    reason = ""
    if len(tickers) > 1:
        reason = f"prices of several tickers ({', '.join(tickers[:6])}): write one file a series"
    elif periods not in ([], ["D"]):
        reason = f"bars of the period {', '.join(periods)}: take Stooq's daily bars, whose <PER> is D"
    if reason:
        return RawTable(sheet.file, {}, np.empty(0, np.int64), ((sheet.records[head][0], reason),), NAME)
    notes = tuple(f"ticker {ticker}" for ticker in tickers)
    return prices(sheet, head, _BULK_COLUMNS, meaning, format=f"{NAME} (bulk)", date="<date>", notes=notes)
