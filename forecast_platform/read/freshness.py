"""Whether a forecast has seen what it ought to have: sessions that are due, against the newest close it was made of."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Floats
from forecast_platform.forecasting.validation import other_prices
from forecast_platform.settings import SeriesSettings, Settings

_DAY = dt.timedelta(days=1)


class NoForecastError(LookupError):
    """There is no such forecast; the message says what was asked and what there is."""


class StaleForecastError(NoForecastError):
    """There is a forecast, but it lacks sessions that are due; the message says how many, and what to do."""


class StaleForecastWarning(UserWarning):
    """A forecast that was returned lacks sessions that are due."""


@dataclass(frozen=True)
class Freshness:
    """What a forecast has seen of the sessions that are due."""

    due: dt.date
    """Day on which the newest close that is due is first seen: its session's, later by the publication lag."""
    behind: int
    """Sessions due that the forecast was made without."""


def freshness(
    settings: Settings,
    series: SeriesSettings,
    last_observed: dt.date,
    on: dt.date | None = None,
    moment: dt.datetime | None = None,
) -> Freshness:
    """How a forecast with this newest close stands against a forecast of day `on`; where None, against that due at
    `moment` (now where None): that day's from the time of the daily run on, before it the one of the day before.
    Neither is later than the end_date of the series, or of all.
    """
    from forecast_platform.sources.calendars import sessions

    day = min(on or _due_at(settings, moment or settings.now()), settings.end_of(series.name) or dt.date.max)
    lag = settings.publication_lag_days.market
    # From two weeks before: the newest session due lies within them, whatever the forecast's age.
    start = min(last_observed, day - 14 * _DAY) - lag * _DAY
    seen = sessions(series.calendar, start, day) + np.timedelta64(lag, "D")
    seen = seen[seen < np.datetime64(day, "D")]
    due = seen[-1].item() if len(seen) else last_observed
    return Freshness(due, int((seen > np.datetime64(last_observed, "D")).sum()))


def require_same_prices(
    series: str,
    model: str,
    dates: Sequence[dt.date],
    last_closes: Sequence[float] | Floats,
    paths: NDArray[np.float32],
) -> None:
    """Raise StaleForecastError where a forecast began at another close than unified_data now holds: what is counted
    from that close would mean nothing.

    dates, last_closes: [n_dates]; paths: [n_dates, n_paths, days].
    """
    lows, highs = paths.min(axis=(1, 2)), paths.max(axis=(1, 2))
    other = other_prices(np.asarray(last_closes, np.float64), lows, highs)
    for day, close, low, high, wrong in zip(dates, last_closes, lows, highs, other, strict=True):
        if wrong:
            raise StaleForecastError(
                f"the forecast of {series} by {model} for {day} was made from other prices than those that are known "
                f"now: its paths run from {low:.6g} to {high:.6g}, and the close that they began at is {close:.6g} by "
                f"now; make it anew with `forecast-platform infer --commodity {series} --date {day}`"
            )


def _due_at(settings: Settings, moment: dt.datetime) -> dt.date:
    local = moment.astimezone(ZoneInfo(settings.timezone))
    return local.date() if local.time() >= settings.daily_time else local.date() - _DAY


def require_fresh(
    settings: Settings,
    found: Freshness,
    who: str,
    forecast_date: dt.date,
    last_observed: dt.date,
    *,
    strict: bool,
    max_age: int | None,
) -> None:
    """Raise StaleForecastError, or warn where not `strict`, if more than max_age sessions are lacking; None: never.

    Raises ValueError for a max_age below 0.
    """
    if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0):
        raise ValueError(f"max_age = {max_age!r}: sessions that may be lacking, 0 or more; None for any number")
    if max_age is None or found.behind <= max_age:
        return
    lacking = f"{found.behind} session{'s' if found.behind > 1 else ''}"
    text = (
        f"the newest forecast of {who} is for {forecast_date}, made with the close of {last_observed}: {lacking} "
        f"behind {found.due}, the newest due"
    )
    if not strict:
        warnings.warn(StaleForecastWarning(text), stacklevel=4)
        return
    mend = "make newer ones with `forecast-platform infer` (`forecast-platform health` says what is late)"
    if settings.end_date is None:
        # The day after the newest close: a later end would have sessions before it that the data lack.
        end = last_observed + _DAY
        mend += (
            f"; where its data have ended for good set `end_date: {end}` of the series, or, where those of all have, "
            f"FORECAST_PLATFORM_END_DATE={end}"
        )
    raise StaleForecastError(
        f"{text}; {mend}; to read it all the same, give max_age={found.behind}, or strict=False to be warned alone"
    )
