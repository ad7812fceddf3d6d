"""Exchange sessions, from the exchange-calendars package."""

from __future__ import annotations

import datetime as dt
import logging
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from forecast_platform.sources import session_cache
from forecast_platform.sources.base import SourceError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

    from forecast_platform.forecasting.history import Dates
    from forecast_platform.sources.session_cache import Times

Day = dt.date | np.datetime64
UNKNOWN = np.datetime64("NaT", "m")
"""The closing of a session that the exchange has not published."""

US_COMMODITIES = "US_COMMODITIES"
"""The platform's own calendar: XNYS, which fits US commodity futures best, and the days on which they settled while the
stock exchange was shut. NYMEX, COMEX, CBOT and ICEUS name calendars with about a hundred sessions too many; XICE is
Iceland's."""

_BASE = {US_COMMODITIES: "XNYS"}
_ADDED = {
    US_COMMODITIES: np.array(
        # Hurricane Sandy (two days), and the days of mourning for George Bush and Jimmy Carter.
        ["2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"],
        "datetime64[D]",
    )
}
_SETTLED = {US_COMMODITIES: (dt.time(14, 30), "America/New_York")}
"""When the last of them has settled (crude oil and gas); coffee, sugar, grains and metals settle before."""

log = logging.getLogger(__name__)


def as_day(day: Day) -> np.datetime64:
    """`day` as datetime64[D]."""
    found: np.datetime64 = np.datetime64(str(day)[:10], "D")
    return found


def sessions(exchange: str, start: Day, end: Day) -> Dates:
    """Scheduled sessions of `exchange` from `start` to `end`, both included, datetime64[D], ascending.

    Some exchanges publish only so far (XBOM, XSES and XSHG one year ahead) or are recorded only since some year.
    Outside those bounds every day of the exchange's week counts as a session: a day wrongly held open costs less
    than a year in which prices never move. Raises SourceError for an unknown exchange.
    """
    first, last = as_day(start), as_day(end)
    if last < first:
        return np.empty(0, "datetime64[D]")
    found, _ = _covering(exchange, int(str(first)[:3]), int(str(last)[:3]))
    return found[(found >= first) & (found <= last)]


def last_session_on_or_before(sessions: Dates, day: Day) -> dt.date:
    """The newest of `sessions`, [n] ascending, that is not after `day`. Raises SourceError where there is none."""
    position = int(sessions.searchsorted(as_day(day), side="right"))
    if position == 0:
        raise SourceError(f"no session on or before {day}: ask for sessions from an earlier start")
    found: dt.date = sessions[position - 1].item()
    return found


def next_session_after(sessions: Dates, day: Day) -> dt.date:
    """The first of `sessions`, [n] ascending, after `day`. Raises SourceError where there is none."""
    position = int(sessions.searchsorted(as_day(day), side="right"))
    if position == len(sessions):
        raise SourceError(f"no session after {day}: ask for sessions to a later end")
    found: dt.date = sessions[position].item()
    return found


def closing(exchange: str, session: Day) -> dt.datetime | None:
    """When a session closes, UTC; None for a day that is no session, or that the exchange's calendar does not reach.

    Raises SourceError for an unknown exchange.
    """
    day = as_day(session)
    decade = int(str(day)[:3])
    days, closes = _covering(exchange, decade, decade)
    position = int(days.searchsorted(day))
    if position == len(days) or days[position] != day:
        return None
    if exchange in _SETTLED:
        time, zone = _SETTLED[exchange]
        return dt.datetime.combine(dt.date.fromisoformat(str(day)), time, ZoneInfo(zone)).astimezone(dt.timezone.utc)
    closed: dt.datetime | None = closes[position].item()
    return None if closed is None else closed.replace(tzinfo=dt.timezone.utc)


_built: dict[str, tuple[int, int, Dates, Times]] = {}
"""By exchange: the first and the last decade whose sessions are known in this process, the sessions, and when each
closes."""


def _covering(exchange: str, first: int, last: int) -> tuple[Dates, Times]:
    """Sessions of at least the decades first..last, and their closings: of all that were asked for so far, in one
    calendar.

    Building a calendar costs 0.1 s and 10 ms a year more, so one wide calendar serves requests as slices; the decade
    before is nearly always asked for next, and so is today's. What it gives is kept for later processes.
    """
    known = _built.get(exchange)
    if known is not None:
        if known[0] <= first and last <= known[1]:
            return known[2], known[3]
        first, last = min(first, known[0]), max(last, known[1])
    last = max(last, dt.date.today().year // 10)
    first = min(first, last - 1)
    start, end = np.datetime64(f"{first}0-01-01"), np.datetime64(f"{last}9-12-31")
    base = _BASE.get(exchange, exchange)
    kept = session_cache.read(base, start, end)
    if kept is None:
        kept = _span(base, start, end)
        session_cache.keep(base, start, end, *kept)
    days, closes = kept
    if exchange in _ADDED:
        added = _ADDED[exchange]
        added = np.setdiff1d(added[(added >= start) & (added <= end)], days)
        place = days.searchsorted(added)
        days, closes = np.insert(days, place, added), np.insert(closes, place, UNKNOWN)
    for values in (days, closes):
        values.setflags(write=False)
    _built[exchange] = (first, last, days, closes)
    return days, closes


def _span(exchange: str, start: np.datetime64, end: np.datetime64) -> tuple[Dates, Times]:
    try:
        return _sessions_of(_calendar(exchange, start=str(start), end=str(end)))
    except ValueError as refused:
        low, high = _bounds(exchange)
        if low <= start and end <= high:
            raise
        log.debug("%s has no calendar of %s to %s (%s): its week is continued", exchange, start, end, refused)
    inner_start, inner_end = max(start, low), min(end, high)
    if inner_end < inner_start:
        inner_start, inner_end = (low, low + 366) if end < low else (high - 366, high)
    calendar = _calendar(exchange, start=str(inner_start), end=str(inner_end))
    inside, closes = _sessions_of(calendar)
    before = np.arange(start, min(inner_start, end + 1), dtype="datetime64[D]")
    after = np.arange(max(inner_end + 1, start), end + 1, dtype="datetime64[D]")
    week = calendar.weekmask
    before, after = (days[np.is_busday(days, weekmask=week)] for days in (before, after))
    asked = (inside >= start) & (inside <= end)
    return (
        np.concatenate([before, inside[asked], after]),
        np.concatenate([np.full(len(before), UNKNOWN), closes[asked], np.full(len(after), UNKNOWN)]),
    )


def _sessions_of(calendar: ExchangeCalendar) -> tuple[Dates, Times]:
    days: Dates = calendar.sessions.to_numpy().astype("datetime64[D]")
    closes: Times = calendar.closes_nanos.astype("datetime64[ns]").astype("datetime64[m]")
    return days, closes


@lru_cache(maxsize=64)
def _bounds(exchange: str) -> tuple[np.datetime64, np.datetime64]:
    """First and last day that the exchange's calendar covers."""
    calendar = _calendar(exchange, start="2024-01-01", end="2024-03-31")
    low, high = calendar.bound_min(), calendar.bound_max()
    return (
        np.datetime64("1900-01-01") if low is None else np.datetime64(low.to_datetime64(), "D"),
        np.datetime64("2200-12-31") if high is None else np.datetime64(high.to_datetime64(), "D"),
    )


def _calendar(exchange: str, start: str, end: str) -> ExchangeCalendar:
    from exchange_calendars import get_calendar, get_calendar_names
    from exchange_calendars.errors import InvalidCalendarName

    try:
        return get_calendar(exchange, start=start, end=end)
    except InvalidCalendarName as error:
        known = [US_COMMODITIES, *get_calendar_names(include_aliases=True)]
        near = get_close_matches(exchange.upper(), known, n=4, cutoff=0.5)
        hint = f"close matches: {', '.join(near)}" if near else "for example XNYS, CMES, XLON or 24/7"
        raise SourceError(f"exchange {exchange!r} is no calendar of exchange-calendars; {hint}") from error
