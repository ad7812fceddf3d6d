"""What the numbers of unified_data mean, by the rules that the reader applies to files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.host.finding import Finding
from forecast_platform.host.severity import Severity
from forecast_platform.sources import climate, meaning


def calendar_fits(series: str, days: Dates, sessions: Dates, exchange: str) -> Finding:
    """The newest closes lie on the exchange's sessions. days: with a close, ascending, [n]."""
    found = meaning.recent_fit(days, sessions, exchange)
    older = [] if found.verdict else meaning.odd_years(days, sessions, exchange)
    if older:
        mend = f"mend those years in the source's file of {series}, and materialize unified_data again"
        return Finding(series, "warning", "; ".join(older), mend, {"share_of_sessions": found.share})
    if found.verdict:
        severity: Severity = "error" if found.refused else "warning"
        mend = f"`forecast-platform doctor` compares the data of {series} with calendars that may fit"
        return Finding(series, severity, found.verdict, mend, {"share_of_sessions": found.share})
    return Finding(
        series,
        figures={
            "share_of_sessions": found.share,
            "closes_on_shut_days": len(found.shut),
        },
    )


def closes_plausible(
    series: str,
    days: Dates,
    closes: Floats,
    confirmed: Collection[dt.date],
    since: np.datetime64,
    news: np.datetime64 | None = None,
) -> Finding:
    """No close is a power of ten off, an exact 0 among prices or a sign of missing, in the days from `since`; none
    stands still for sessions and no level changes for good by a factor, in those from `news` (default: `since`).

    days, closes: observed sessions ascending, [n].
    """
    news = since if news is None else news
    tens = [one for one in meaning.unconfirmed(meaning.tenfold(closes), days, confirmed) if days[one.last] >= since]
    zero = np.flatnonzero(meaning.zeros(closes) & (days >= since))
    signs = np.flatnonzero(meaning.sentinels(closes) & (days >= since))
    still = [(begin, end) for begin, end in meaning.standing(closes) if days[end] >= news]
    # A level is known to stay some sessions after it changed.
    levels = [one for one in meaning.levels(closes) if days[min(one.last, one.first + meaning.STAYS)] >= news]
    levels = [one for one in levels if days[one.first].item() not in confirmed]
    problems = [
        f"{days[one.first]} to {days[one.last]} are {one.factor:g} of the closes around them" for one in tens[:4]
    ]
    problems += [f"{days[at]} is an exact 0" for at in zero[:4]]
    problems += [f"{days[at]} is {closes[at]:g}, which stands for missing" for at in signs[:4]]
    problems += [f"from {days[one.first]} on {meaning.level_text(one.factor)}" for one in levels[:4]]
    problems += [f"{closes[end]:g} stands still from {days[begin]} to {days[end]}" for begin, end in still[-4:]]
    if news == since and (text := meaning.restless(closes)):
        problems.append(f"closes {text}")
    figures = {"tenfold": len(tens), "zeros": len(zero), "standing": len(still), "levels": len(levels)}
    if not problems:
        return Finding(series, figures=figures)
    mend = (
        "compare with a second source; mend the source's file and materialize unified_data again; `forecast-platform "
        "doctor` lists file and row"
    )
    return Finding(
        series, "error" if tens or len(zero) or len(signs) else "warning", "; ".join(problems), mend, figures
    )


def weather_possible(series: str, days: Dates, columns: Mapping[str, Floats]) -> Finding:
    """Every weather value can be. columns: means over the series' regions, float64 [n], NaN where unknown."""
    problems = []
    for name, values in columns.items():
        if name not in climate.LIMITS:
            continue
        wrong = np.flatnonzero(climate.beyond(name, values))
        if len(wrong):
            hint = climate.unit_hint(name, values)
            first = f"{name} is {values[wrong[0]]:g} on {days[wrong[0]]}"
            problems.append(f"{first} and beyond the possible on {len(wrong):,} days" + (f" ({hint})" if hint else ""))
        elif climate.too_warm(name, values):
            problems.append(f"{name} is {np.nanmean(values):.1f} in the mean: Fahrenheit?")
    if {"temp_min_c", "temp_max_c"} <= set(columns):
        turned = np.flatnonzero(columns["temp_min_c"] > columns["temp_max_c"])
        if len(turned):
            problems.append(f"temp_min_c is above temp_max_c on {len(turned):,} days, the first {days[turned[0]]}")
    if not problems:
        return Finding(series, figures={"columns": len(columns)})
    mend = "mend the weather file (a blank cell is a missing value) and materialize unified_data again"
    return Finding(series, "error", "; ".join(problems), mend)
