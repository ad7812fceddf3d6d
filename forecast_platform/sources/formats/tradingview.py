"""TradingView, "Export chart data": `time,open,high,low,close`, then Volume and whatever is drawn in the chart.

Seen to 2026. `time` is the bar's opening in epoch seconds, or a date or ISO stamp. A futures session opens on the
evening before the day that it is named after: what opens from 17:00 New York on belongs to the next day. Epoch seconds
read as UTC or local dates give Sundays, and no Fridays.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from forecast_platform.sources.formats.prices import OHLCV, prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "TradingView", "market"
_ZONE = ZoneInfo("America/New_York")
_EVENING = dt.timedelta(hours=7)


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    return 0 if names[:5] == ["time", "open", "high", "low", "close"] else None


def session(text: str) -> str:
    """The day of the session that opens at `text`; text that is no stamp is returned as it is."""
    try:
        stamp = (
            dt.datetime.fromtimestamp(int(text), dt.timezone.utc)
            if text.lstrip("-").isdigit() and len(text) > 8
            else dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
        )
    except (ValueError, OverflowError, OSError):
        return text
    if stamp.tzinfo is None:
        return text
    return (stamp.astimezone(_ZONE).replace(tzinfo=None) + _EVENING).date().isoformat()


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; columns of indicators are left out."""
    records = [
        sheet.records[head],
        *((row, [session(cells[0]), *cells[1:]]) for row, cells in sheet.records[head + 1 :]),
    ]
    drawn = [name for name in sheet.names(head)[5:] if name != "Volume"]
    notes = (f"not read: {', '.join(drawn[:8])}",) if drawn else ()
    return prices(Sheet(sheet.file, records), 0, OHLCV, meaning, format=NAME, date="time", notes=notes)
