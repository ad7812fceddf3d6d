"""Does a series' roll rule fit its file: its contracts, or how much prices move on the days that the rule names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from forecast_platform.forecasting.filters import linear_filter
from forecast_platform.forecasting.rolls import CATALOGUE, RollRule, seen_rolls
from forecast_platform.host.finding import Finding

if TYPE_CHECKING:
    from forecast_platform.forecasting.history import Dates, Floats
    from forecast_platform.settings import SeriesSettings
    from forecast_platform.sources.base import RawData

FEWEST = 10
"""Rolls from which on moves tell anything."""

LARGER, SURE = 1.2, 0.05
"""How many times an ordinary day's the moves on roll days must be, and how surely, for a rule to fit. Real ones are 1.3
times (WTI, coffee) to 2.8 (sugar)."""

SURE_OF_ANY = 0.001
"""How surely a rule must fit a series whose name does not call for it, over all rules that are tried."""

AGREEMENT = 0.8
"""Share of the file's own contract changes that a rule must name."""

NEARBY = 5
"""Sessions around the rule's days in which a better day is looked for."""


class Moves(NamedTuple):
    """Moves on some days against those on others."""

    rolls: int
    ratio: float
    p_value: float

    @property
    def fits(self) -> bool:
        """Whether the moves are larger beyond doubt."""
        return self.ratio >= LARGER and self.p_value < SURE


def rolls(raw: RawData, series: SeriesSettings) -> Iterator[Finding]:
    """One series' rule against its file; and a rule of the catalogue that fits a series that has none."""
    from forecast_platform.sources.calendars import sessions

    frame = raw.market[series.name].dropna(subset=["close"])
    days = frame["date"].to_numpy().astype("datetime64[D]")
    if len(days) < 2:
        return
    calendar = sessions(series.calendar, days[0] - 240, days[-1] + 240)
    close, name = frame["close"].to_numpy("float64"), series.name
    if series.rule is None:
        if not series.roll_dates:
            yield from _lacking(series, calendar, days, close)
        return
    if "contract" in frame.columns and frame["contract"].notna().any():
        yield _against_contracts(series.rule, calendar, days, frame["contract"].to_numpy("float64"), name)
        return
    moves = moves_on(series.rule, calendar, days, close)
    found = f"{name}: prices move {moves.ratio:.1f} times as much on its rule's {moves.rolls} days as on others"
    if moves.rolls < FEWEST:
        yield Finding("rolls", "good", f"{name}: {moves.rolls} rolls by its rule, too few to compare")
    elif moves.fits:
        yield Finding("rolls", "good", found)
    else:
        shifted = {by: moves_on(series.rule, calendar, days, close, by) for by in range(-NEARBY, NEARBY + 1) if by}
        best = max(shifted, key=lambda by: shifted[by].ratio)
        hint = ""
        if shifted[best].fits:
            where = f"{abs(best)} session{'s' if abs(best) > 1 else ''} {'after' if best > 0 else 'before'}"
            hint = f"; on the days {where} them {shifted[best].ratio:.1f} times"
        mend = (
            f"set roll_rule of {name} to the days on which its vendor rolls, bring a column `contract`, or drop the "
            "rule where the series is adjusted for rolls"
        )
        yield Finding("rolls", "warning", f"{found}: the rule does not fit{hint}", mend)


def _lacking(series: SeriesSettings, calendar: Dates, days: Dates, close: Floats) -> Iterator[Finding]:
    """The rule of the catalogue that a series without one should have: by its name and moves, or by its moves alone."""
    tried = {key: moves_on(rule, calendar, days, close) for key, rule in CATALOGUE.items()}
    fitting = {key: moves for key, moves in tried.items() if moves.rolls >= FEWEST and moves.fits}
    words = set(re.split(r"[^a-z0-9]+", f"{series.name} {series.stem}".lower()))
    named = [key for key in fitting if key in words]
    sure = [key for key in fitting if fitting[key].p_value < SURE_OF_ANY / len(tried)]
    if not named and not sure:
        return
    best = min(named or sure, key=lambda key: fitting[key].p_value)
    name, found, whose = series.name, fitting[best], "the exchange's schedule" if named else f"the schedule of {best}"
    said = (
        f"{name}: no roll_rule, but on the {found.rolls} days of {whose} prices move {found.ratio:.1f} times as much "
        "as on others: a nearby series that is not adjusted"
    )
    mend = f"set `roll_rule: {best}` of {name}: forecasts gain from it"
    if not named:
        said += "?"
        mend = (
            f"look up when its contracts roll: `roll_rule: {best}` of {name} where it is that schedule, else a rule of "
            "its own; nothing where it is a spot price or adjusted for rolls"
        )
    yield Finding("rolls", "warning", said, mend)


def moves_on(rule: RollRule, calendar: Dates, days: Dates, close: Floats, shift: int = 0) -> Moves:
    """Moves on the rule's days (or `shift` sessions after them) against all others, each in units of the average
    absolute move before it.

    calendar: the exchange's sessions, [m]; days, close: observed sessions and their closes, [n], ascending. The test is
    Mann and Whitney's (1947).
    """
    from forecast_platform.forecasting.metrics import mann_whitney_greater
    from forecast_platform.forecasting.roll_moves import FIRST_SESSION, HALF_LIFE

    moves = np.abs(np.diff(np.arcsinh(close / (0.5 * float(np.median(np.abs(close)) or 1.0))), prepend=np.nan))
    moves[0] = 0.0
    decay = 0.5 ** (1.0 / HALF_LIFE)
    sizes = linear_filter([1.0 - decay], [1.0, -decay], moves)
    flagged = np.flatnonzero(seen_rolls(rule.schedule(calendar), days)) + shift
    known = np.arange(len(days)) > FIRST_SESSION
    known[1:] &= sizes[:-1] > 0.0
    relative = np.divide(moves, np.concatenate([[1.0], sizes[:-1]]), out=np.zeros(len(days)), where=known)
    on = np.zeros(len(days), bool)
    on[flagged[(flagged >= 0) & (flagged < len(days))]] = True
    at, others = relative[on & known], relative[~on & known]
    if len(at) == 0 or len(others) == 0 or not others.mean() > 0:
        return Moves(len(at), float("nan"), float("nan"))
    return Moves(len(at), float(at.mean() / others.mean()), mann_whitney_greater(at, others))


def _against_contracts(rule: RollRule, calendar: Dates, days: Dates, contracts: Floats, name: str) -> Finding:
    told = np.isfinite(contracts[1:]) & np.isfinite(contracts[:-1])
    changed = np.flatnonzero(told & (contracts[1:] != contracts[:-1])) + 1
    due = np.flatnonzero(seen_rolls(rule.schedule(calendar), days))
    same = int(np.isin(changed, due).sum())
    found = f"{name}: its rule names {same} of the {len(changed)} days on which the file's contract changes"
    if same >= AGREEMENT * len(changed):
        return Finding("rolls", "good", found)
    mend = f"set roll_rule of {name} to the schedule that the file follows: the rolls ahead are expected by the rule"
    return Finding("rolls", "warning", found, mend)
