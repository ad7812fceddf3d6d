"""What numbers mean, judged from the numbers: is it daily, of these days, in one unit, and can it be a price at all?

Pure functions of arrays. The reader refuses or points out what they find, doctor lists it, the asset checks apply them
to what was stored.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from forecast_platform.forecasting.history import Bools, Dates, Floats
from forecast_platform.sources.steps import Spacing, spacing_of

FEWEST = 12
"""Closes below which nothing is said of a calendar."""
RECENT = 250
"""Sessions, the newest, that decide whether a series is refused: what began as monthly data may be daily since."""
SHUT_SHARE = 0.05
"""Share of closes on shut days above which dates or calendar are wrong; a calendar without holidays has 4 %."""
THIN_SHARE = 0.8
"""Share of sessions with a close below which it is said."""
STANDING = 5
"""Sessions for which a close that stands still is said."""
CUT = 5.0
"""A last close this many times the one before, or the inverse, waits until the next day or a person confirms it."""
LEVEL, STAYS, FARTHER = 1.7, 20, 15.0
"""A change of level: its least factor, for how many closes it must stay, and how far beyond usual moves it must be."""
USUAL = 0.25
"""A move, median of all, that no price makes from session to session."""
YEARLY = 100
"""Closes of a year below which nothing is said of it by itself."""
UNITS = {
    "pounds and kilograms": 2.20462,
    "troy ounces and grams": 31.1035,
    "troy ounces and kilograms": 32.1507,
    "tonnes and bushels of wheat or soybeans": 36.7437,
    "tonnes and bushels of maize": 39.3683,
    "barrels and US gallons": 42.0,
    "barrels and litres": 158.987,
    "barrels and cubic metres": 6.28981,
    "US gallons and litres": 3.78541,
    "tonnes and pounds": 2204.62,
    "hundredweights and tonnes": 22.0462,
    "MMBtu and MWh": 3.41214,
}
"""Units in which the same thing is quoted, and their ratio."""
_TENFOLD = 0.06
"""How far log10 of a ratio may lie from a whole number to be taken for a slip of the point: 15 %."""

_SHIFTS = ((6, "Sundays", 4, "a Friday", "early"), (5, "Saturdays", 0, "a Monday", "late"))
"""Weekday that closes must not fall on, its name, the one that is then without, its name, and how dates are off."""


@dataclass(frozen=True)
class Fit:
    """How closes lie on an exchange's calendar.

    sessions: scheduled from the first close judged to the last; share: of them, those with a close (0 to 1); shut:
    closes on days that are none, datetime64[D] [n_shut], and shut_share of all (0 to 1); spacing: the usual distance of
    closes; verdict: what does not fit, with the mend, or None; refused: whether training on it would be wrong.
    """

    sessions: int
    share: float
    shut: Dates
    shut_share: float
    spacing: Spacing
    verdict: str | None = None
    refused: bool = False


def fit(days: Dates, sessions: Dates, exchange: str) -> Fit:
    """Judge days with a close, ascending, [n], against an exchange's sessions, which cover them."""
    due = sessions[(sessions >= days[0]) & (sessions <= days[-1])] if len(days) else sessions[:0]
    if len(days) < FEWEST or len(due) == 0:
        return Fit(len(due), 1.0, days[:0], 0.0, spacing_of(days))
    shut = days[~np.isin(days, due)]
    share, shut_share = float(np.isin(due, days).mean()), len(shut) / len(days)
    spacing = spacing_of(days)
    verdict, refused = _verdict(days, shut, share, shut_share, spacing, exchange)
    return Fit(len(due), share, shut, shut_share, spacing, verdict, refused)


def recent_fit(days: Dates, sessions: Dates, exchange: str) -> Fit:
    """`fit` of the newest RECENT sessions and what lies among them; days [n] and sessions [m] ascending."""
    if len(days) == 0:
        return fit(days, sessions, exchange)
    before = sessions[sessions <= days[-1]]
    first = before[-RECENT] if len(before) > RECENT else days[0]
    return fit(days[days >= first], sessions, exchange)


def _verdict(
    days: Dates, shut: Dates, share: float, shut_share: float, spacing: Spacing, exchange: str
) -> tuple[str | None, bool]:
    """What does not fit, with its mend, and whether it refuses the series."""
    on_sessions = f"{100 * share:.0f} % of {exchange} sessions"
    if spacing != "daily":
        return f"closes on {on_sessions}: these are {spacing} data; daily closes are needed", True
    weekday = (days.astype("datetime64[D]").astype(int) + 3) % 7
    part = np.bincount(weekday, minlength=7) / len(days)
    if part[5] > 0.08 and part[6] > 0.08:
        weekends = f"{100 * (part[5] + part[6]):.0f} % of closes fall on weekends"
        return f"{weekends}: a market of seven days; set `step: 24/7`", exchange != "24/7"
    if shut_share > SHUT_SHARE:
        for day, name, lost, other, way in _SHIFTS:
            if part[day] > 0.1 and part[lost] < 0.03:
                none = "no close" if part[lost] == 0 else f"{100 * part[lost]:.0f} %"
                return (
                    f"{100 * part[day]:.0f} % of closes fall on {name}, {none} on {other}: dates are one day {way}; "
                    "date each close by the exchange's own day",
                    True,
                )
        return (
            f"{100 * shut_share:.0f} % of closes are of days on which {exchange} was shut, the last {shut[-1]}: dates "
            "or calendar are wrong; set `exchange` to the calendar of the exchange that it trades on",
            True,
        )
    if share < THIN_SHARE:
        return f"closes on only {on_sessions}: many days are missing, or `exchange` is another", False
    return None, False


@dataclass(frozen=True)
class Stretch:
    """Closes first..last (positions, both included) that are `factor` (a ratio) of those around them."""

    first: int
    last: int
    factor: float


def tenfold(closes: Floats) -> list[Stretch]:
    """Stretches of closes [n], in any unit, that are a power of ten off: from an edge where the close is multiplied by
    10^k within 15 % to the edge back, or to the end where the level after it is 10^k of that before. Prices that are
    not above zero make no edge."""
    good = closes > 0
    ratio = np.zeros(max(len(closes) - 1, 0))
    both = good[1:] & good[:-1]
    ratio[both] = np.log10(closes[1:][both] / closes[:-1][both])
    power = np.rint(ratio)
    edges = np.flatnonzero((power != 0) & (np.abs(ratio - power) < _TENFOLD)) + 1
    found, at = [], 0
    while at < len(edges):
        edge = int(edges[at])
        back = next((int(one) for one in edges[at + 1 :] if power[one - 1] == -power[edge - 1]), None)
        if back is not None and back - edge <= len(closes) // 2:
            found.append(Stretch(edge, back - 1, float(10.0 ** power[edge - 1])))
            at = int(np.searchsorted(edges, back)) + 1
            continue
        before, after = np.median(closes[max(0, edge - 20) : edge]), np.median(closes[edge : edge + 20])
        if edge >= 2 and before > 0 and after > 0 and abs(np.log10(after / before) - power[edge - 1]) < _TENFOLD:
            found.append(Stretch(edge, len(closes) - 1, float(10.0 ** power[edge - 1])))
        at += 1
    return found


def standing(closes: Floats) -> list[tuple[int, int]]:
    """Runs of at least STANDING equal closes in a row, of closes [n] in any unit, as first and last position."""
    if len(closes) < STANDING:
        return []
    edges = np.flatnonzero(np.diff(closes) != 0) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(closes)]]) - 1
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if b - a + 1 >= STANDING]


def zeros(closes: Floats) -> Bools:
    """Closes of exactly 0 that stand for missing, bool [n]: where every other one is above a tenth of their median
    size."""
    size = np.abs(closes[(closes != 0) & np.isfinite(closes)])
    if len(size) == 0 or size.min() <= 0.1 * float(np.median(size)):
        return np.zeros(len(closes), bool)
    found: Bools = closes == 0
    return found


def sentinels(closes: Floats) -> Bools:
    """Which closes [n] stand for missing, such as -999, [n]: below zero where every other one is not, or is a fifth of
    that at most."""
    signs = np.isin(closes, [-(10.0**k - 1) - tail for k in (2, 3, 4, 5) for tail in (0.0, 0.9, 0.99)])
    others = closes[~signs & np.isfinite(closes)]
    if not signs.any() or len(others) == 0:
        return np.zeros(len(closes), bool)
    found: Bools = signs & (closes < 5 * min(float(others.min()), 0.0))
    return found


def levels(closes: Floats) -> list[Stretch]:
    """Where the level of closes [n] changes from one to the next by LEVEL times or more and stays, by a factor that is
    no power of ten: first, the last close, and the factor.

    It stays where the median of the STAYS closes from there on is that factor of the STAYS before, within a tenth, and
    the move is FARTHER times the median of the 60 moves before it; prices not above zero are no part of it.
    """
    found = []
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.where((closes[1:] > 0) & (closes[:-1] > 0), np.log(closes[1:] / closes[:-1]), 0.0)
    for at in np.flatnonzero(np.abs(moves) >= np.log(LEVEL)) + 1:
        before, after = closes[max(0, at - STAYS) : at], closes[at : at + STAYS]
        if len(before) < STAYS or len(after) < STAYS or min(before.min(), after.min()) <= 0:
            continue
        factor = float(closes[at] / closes[at - 1])
        stays = float(np.median(after) / np.median(before))
        usual = float(np.median(np.abs(moves[max(0, at - 61) : at - 1])))
        power = np.log10(factor)
        tens = abs(power - np.rint(power)) < _TENFOLD and np.rint(power) != 0
        if abs(np.log(stays / factor)) < 0.1 and abs(moves[at - 1]) > FARTHER * usual and not tens:
            found.append(Stretch(int(at), len(closes) - 1, factor))
    return found


def restless(closes: Floats) -> str | None:
    """What says that closes [n], NaN where missing, are no prices: they cross zero at every other step, as returns do,
    or their usual move is USUAL, as that of volumes is; None where nothing does, and of fewer than YEARLY."""
    known = closes[np.isfinite(closes)]
    if len(known) < YEARLY:
        return None
    crossings = float((known[1:] * known[:-1] < 0).mean())
    if crossings > 0.2:
        return f"change their sign at {100 * crossings:.0f} % of steps: returns or changes, not prices?"
    both = (known[1:] > 0) & (known[:-1] > 0)
    usual = float(np.median(np.abs(np.log(known[1:][both] / known[:-1][both])))) if both.any() else 0.0
    return (
        f"move by {100 * usual:.0f} % from one to the next as a rule: volumes, not prices?" if usual > USUAL else None
    )


def level_text(factor: float) -> str:
    """What a change of level looks like, with the units whose ratio it is."""
    for name, ratio in UNITS.items():
        for one in (ratio, 1 / ratio):
            if abs(factor / one - 1) < 0.06:
                return f"closes are {factor:.4g} of those before: {name}?"
    return f"closes are {factor:.4g} of those before: another unit, contract or currency?"


def odd_years(days: Dates, sessions: Dates, exchange: str) -> list[str]:
    """What is wrong with the dates of whole calendar years, one text for years in a row that are wrong alike.

    days: with a close, [n]; sessions: the exchange's, [n_sessions]; both ascending.
    """
    years = days.astype("datetime64[Y]").astype(int) + 1970
    found: list[tuple[int, int, str]] = []
    for year in np.unique(years):
        own = days[years == year]
        judged = fit(own, sessions, exchange) if len(own) >= YEARLY else None
        if judged is None or not judged.refused or judged.spacing != "daily" or judged.verdict is None:
            continue
        if found and found[-1][1] == year - 1:
            found[-1] = (found[-1][0], int(year), found[-1][2])
        else:
            found.append((int(year), int(year), judged.verdict))
    return [f"in {first if first == last else f'{first} to {last}'} {text}" for first, last, text in found]


def cut_short(closes: Floats) -> bool:
    """Whether the last of closes [n] is a fifth or less of the one before, or five times it or more: did a number break
    off?

    One that is back at the level of two or three closes before is not: it was the one between that was odd.
    """
    if len(closes) < 2 or closes[-2] <= 0:
        return False
    before = closes[-4:-1]
    ratio = closes[-1] / before[before > 0]
    return bool(np.all((ratio <= 1 / CUT) | (ratio >= CUT)))


def one_factor(old: Floats, new: Floats) -> float | None:
    """The factor (a ratio) by which nearly all (95 %) of at least five closes were multiplied, within 1 %; None where
    none was.

    old, new: closes of the same days, [n]. Factors within 5 % of 1 are none: a series that is adjusted at each roll
    moves by those.
    """
    both = (old != 0) & (new != 0) & np.isfinite(old) & np.isfinite(new)
    if both.sum() < 5:
        return None
    ratio = new[both] / old[both]
    factor = float(np.median(ratio))
    if factor <= 0 or 0.95 <= factor <= 1.05:
        return None
    return factor if float((np.abs(ratio / factor - 1) <= 0.01).mean()) >= 0.95 else None


def one_weekday(days: Dates) -> str | None:
    """The weekday that all of at least four days, [n], fall on; None where they do not."""
    if len(days) < 4:
        return None
    weekday = (days.astype("datetime64[D]").astype(int) + 3) % 7
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return names[int(weekday[0])] if len(np.unique(weekday)) == 1 else None


def unconfirmed(found: list[Stretch], days: Dates, confirmed: Collection[object]) -> list[Stretch]:
    """Stretches of two closes or more of which no day is `confirmed`; a single one is a glitch. days: the closes'
    dates, [n]."""
    kept = np.array(sorted(str(day) for day in confirmed), "datetime64[D]")
    longer = [one for one in found if one.last > one.first]
    return [one for one in longer if not np.isin(days[one.first : one.last + 1], kept).any()]
