"""The step of a series: how often it has a close, declared or recognised, and whether the daily graph forecasts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from forecast_platform.sources import calendars
from forecast_platform.sources.base import RawData, Rejection, SourceError

if TYPE_CHECKING:
    from forecast_platform.forecasting.history import Dates
    from forecast_platform.settings import SeriesSettings

Step = Literal["daily", "24/7", "24/5", "weekly", "monthly", "irregular"]
Spacing = Literal["daily", "weekly", "monthly", "quarterly or rarer"]

MIN_CLOSES = 8
"""Closes below which nothing is recognised."""

RECENT = 60
"""Newest closes that are judged: a source may have changed its step."""

_MIN_SHARE = 0.5
"""Share of sessions that must have a close. Every other one already makes each change one of two sessions."""

_MIN_WEEKEND_DAYS = 6
"""Saturdays and Sundays that must have passed before closes on them say something."""

_NAMES = {"weekly": "weekly data", "monthly": "monthly data"}


def recognise_step(dates: Dates, sessions: Dates) -> Step | None:
    """The step of closes on `dates` (datetime64[D], ascending, distinct); None where they are too few.

    sessions: the exchange's over the same span, which tell `24/5` (closes on its weekday holidays, too) from `daily`.
    `weekly` and `monthly` go by the median of the days between closes, whichever weekday they fall on; `24/7` has
    closes on most Saturdays and Sundays; what fits nothing, or has less than half of the sessions, is `irregular`.
    """
    if len(dates) < MIN_CLOSES:
        return None
    between, spacing = _between(dates), spacing_of(dates)
    if (spacing == "weekly" and 6 <= between <= 8) or (spacing == "monthly" and 27 <= between <= 32):
        return spacing
    if between > 1 or share_of_sessions(dates, sessions) < _MIN_SHARE:
        return "irregular"
    days = np.arange(dates[0], dates[-1] + 1)
    closed = np.isin(days, dates)
    weekday = np.is_busday(days)
    if closed[~weekday].any():
        if (~weekday).sum() < _MIN_WEEKEND_DAYS:
            return None
        if closed[~weekday].mean() > _MIN_SHARE:
            return "24/7"
    holidays = weekday & ~np.isin(days, sessions)
    # One holiday tells nothing; a currency has closes on nearly all of them.
    return "24/5" if holidays.sum() > 2 and closed[holidays].mean() > _MIN_SHARE else "daily"


def spacing_of(days: Dates) -> Spacing:
    """The usual distance of days, datetime64[D] [n] ascending, by its median."""
    gap = _between(days) if len(days) > 1 else 1.0
    return "daily" if gap < 4.5 else "weekly" if gap < 16 else "monthly" if gap < 60 else "quarterly or rarer"


def _between(days: Dates) -> float:
    return float(np.median(np.diff(days).astype(np.int64)))


def share_of_sessions(dates: Dates, sessions: Dates) -> float:
    """Share (0 to 1) of the sessions [m] between the first and the last of `dates` [n], ascending, that have a close;
    nan where there is none."""
    inside = sessions[(sessions >= dates[0]) & (sessions <= dates[-1])]
    return float(np.isin(inside, dates).mean()) if len(inside) else float("nan")


def misfit(series: SeriesSettings, dates: Dates) -> str | None:
    """Why closes on `dates` cannot be forecast with the step of `series`, with the mend; None where they can.

    dates: datetime64[D], ascending, the days with a close. The newest RECENT must have the step: what lies before them
    may have another one, which the reader points out. Raises SourceError for an unknown exchange.
    """
    if series.step in ("weekly", "monthly"):
        return f"{series.name} has step {series.step}: {_unsupported(series.step)}"
    if len(dates) < MIN_CLOSES:
        return None
    sessions = calendars.sessions(series.calendar, dates[0], dates[-1])
    recent = dates[-RECENT:]
    found = recognise_step(recent, sessions)
    return None if found is None or _fits(series, found) else _reason(series, found, recent, sessions)


def refuse_misfits(series: Sequence[SeriesSettings], raw: RawData, name: Callable[[SeriesSettings], str]) -> None:
    """Reject, in `raw`, the series whose closes do not have their step; the others go on. name: of a series' file."""
    for one in series:
        if one.name not in raw.market:
            continue
        frame = raw.market[one.name]
        days = frame["date"].to_numpy().astype("datetime64[D]")[np.isfinite(frame["close"].to_numpy("float64"))]
        try:
            reason = misfit(one, days)
        except SourceError:
            continue  # an unknown exchange: doctor and ingest name it
        if reason is not None:
            raw.rejections.append(Rejection(name(one), None, reason, (one.name,)))
            del raw.market[one.name]


def _fits(series: SeriesSettings, found: Step) -> bool:
    return found == "24/7" if series.calendar == "24/7" else found in ("daily", "24/5")


def _reason(series: SeriesSettings, found: Step, dates: Dates, sessions: Dates) -> str:
    share = f"closes on {100 * share_of_sessions(dates, sessions):.0f} % of {series.calendar} sessions"
    span = f"{dates[0]} to {dates[-1]}"
    if found in ("weekly", "monthly"):
        return f"{share}: these are {_NAMES[found]}; daily closes are needed. {_unsupported(found)}"
    if found == "24/7":
        weekends = np.arange(dates[0], dates[-1] + 1)
        weekends = weekends[~np.is_busday(weekends)]
        return (
            f"closes on {100 * np.isin(weekends, dates).mean():.0f} % of Saturdays and Sundays ({span}), on which "
            f"{series.calendar} is shut: set step: 24/7 of {series.name} if it trades every day, or leave those rows "
            "out"
        )
    if series.calendar == "24/7" and found in ("daily", "24/5"):
        return (
            f"{share} ({span}), none at weekends, but {series.name} has step 24/7: set step: 24/5 (or daily and "
            "its exchange), or give closes of every day"
        )
    return (
        f"{share} ({span}): each change would be taken for one session's; give the close of every session, or set "
        f"exchange or step of {series.name} to what it trades on"
    )


def _unsupported(step: str) -> str:
    return (
        f"A {step} series is not supported in the daily graph, which would take each change for one day's: give daily "
        "closes, drop the series, or forecast it in a training job of its own"
    )
