"""Yahoo Finance: the old CSV, `Ticker.history().to_csv()` and the three-row header of yfinance.download (0.2.51 on).

Seen to April 2026. Close is as traded where `Adj Close` stands beside it; adjusted prices, dividends and splits are not
read. Stamps are midnights of the exchange's zone and change their offset with daylight saving: the date shown counts.
"""

from __future__ import annotations

from forecast_platform.sources.formats.prices import OHLCV, prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet, number

NAME, KIND = "Yahoo", "market"
_ONE_LEVEL = ["Date", "Close", "High", "Low", "Open", "Volume"]
"""What yfinance.download(..., multi_level_index=False) writes: no other vendor has the close first."""

_LEVELS = ((["price"], ["Ticker"]), (["ticker"], ["Price"]))


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = [name.lower() for name in sheet.names()]
    if (names[:1], sheet.names(1)[:1]) in _LEVELS and sheet.names(2)[:1] == ["Date"]:
        return 0
    beside = {"adj close", "dividends", "stock splits"} & set(names)
    dated = sheet.names()[:1] == ["Date"] and "close" in names and beside
    return 0 if dated or sheet.names() == _ONE_LEVEL else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows."""
    names, below = sheet.names(head), sheet.names(head + 1)
    first = 3
    if names[0] == "Ticker":  # group_by="ticker"
        names, below = below, names
    elif names[0] != "Price" and below[:1] == [""] and not all(map(_figure, below)):
        # The frame's index was reset before it was saved: its tickers are the row below the header.
        first = 2
    elif names[0] != "Price":
        return prices(sheet, head, OHLCV, meaning, format=NAME)
    tickers = sorted({cell for cell in below[1:] if cell})
    if len(tickers) > 1:
        import numpy as np

        reason = f"prices of several tickers ({', '.join(tickers[:6])}): write one file a series"
        return RawTable(sheet.file, {}, np.empty(0, np.int64), ((sheet.records[head + 1][0], reason),), NAME)
    # Below `Price, Ticker, Date` come the days; the first column is theirs.
    renamed = Sheet(sheet.file, [(sheet.records[head][0], ["Date", *names[1:]]), *sheet.records[head + first :]])
    note = () if not tickers else (f"ticker {tickers[0]}",)
    return prices(renamed, 0, OHLCV, meaning, format=f"{NAME} (yfinance)", notes=note)


def _figure(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True
