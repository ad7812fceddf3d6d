"""When a nearby series passes to its next contract: rules, and the rules of the common contracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, RollSchedule

MONTH_CODES = "FGHJKMNQUVXZ"
"""Delivery months January to December, as exchanges write them."""

MATCHED_DAYS = 45
"""Calendar days within which a roll that was seen belongs to a scheduled one."""


@dataclass(frozen=True)
class RollRule:
    """The last session on which a contract is quoted as nearby: the `sessions`-th before the day `day` of the month
    that lies `month` months after the delivery month.

    With day 1 and month 1, `sessions` counts from the delivery month's end: 1 is its last session.
    months: delivery months as codes, such as HKNUZ. Raises ValueError where a value is none.
    """

    months: str
    month: int
    day: int
    sessions: int

    def __post_init__(self) -> None:
        wrong = sorted(set(self.months) - set(MONTH_CODES))
        if not self.months or wrong or len(set(self.months)) < len(self.months):
            raise ValueError(f"months {self.months!r}: each of {MONTH_CODES} at most once, at least one")
        for name, value, low, high in (
            ("month", self.month, -3, 3),
            ("day", self.day, 1, 28),
            ("sessions", self.sessions, 1, 60),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} {value}: from {low} to {high}")

    def schedule(self, sessions: Dates) -> RollSchedule:
        """The rolls that `sessions` (datetime64[D] [n], ascending, without holes) can tell: each the session after a
        last one."""
        empty = RollSchedule(np.empty(0, "datetime64[D]"), np.empty(0, np.int64))
        if len(sessions) == 0:
            return empty
        cycle = np.sort([MONTH_CODES.index(code) for code in self.months])
        first, last = (sessions[end].astype("datetime64[M]").astype(np.int64) for end in (0, -1))
        delivery = np.arange(first - 4, last + 5)
        delivery = delivery[np.isin(delivery % 12, cycle)]
        begins = np.roll(delivery, -1)[:-1]
        edge = (delivery[:-1] + self.month).astype("datetime64[M]").astype("datetime64[D]") + (self.day - 1) * ONE_DAY
        place = np.searchsorted(sessions, edge, side="left") - self.sessions
        # Beyond the sessions' end an edge would be counted from too few of them.
        known = (place >= 0) & (edge <= sessions[-1]) & (place + 1 < len(sessions))
        if not known.any():
            return empty
        return RollSchedule(sessions[place[known] + 1], begins[known] % 12 + 1)


CATALOGUE: Mapping[str, RollRule] = MappingProxyType(
    {
        "coffee": RollRule("HKNUZ", month=1, day=1, sessions=9),
        "sugar": RollRule("HKNV", month=0, day=1, sessions=1),
        "cocoa": RollRule("HKNUZ", month=1, day=1, sessions=12),
        "cotton": RollRule("HKNVZ", month=1, day=1, sessions=17),
        "corn": RollRule("HKNUZ", month=0, day=15, sessions=1),
        "wheat": RollRule("HKNUZ", month=0, day=15, sessions=1),
        "soybeans": RollRule("FHKNQUX", month=0, day=15, sessions=1),
        "wti": RollRule("FGHJKMNQUVXZ", month=-1, day=26, sessions=4),
    }
)
"""Rules of continuous nearby series as vendors quote them: ICE coffee C, sugar 11, cocoa and cotton 2; CBOT corn, wheat
and soybeans; NYMEX WTI crude, whose trading ends three sessions before the last one on or before the 25th."""


def nearest(schedule: RollSchedule, days: Dates) -> NDArray[np.intp]:
    """The position in `schedule` of the roll nearest to each of `days`, [n_days]; -1 where none is within MATCHED_DAYS
    calendar days."""
    if len(schedule.dates) == 0:
        return np.full(len(days), -1, np.intp)
    after = np.minimum(np.searchsorted(schedule.dates, days), len(schedule.dates) - 1)
    before = np.maximum(after - 1, 0)
    away = [np.abs((schedule.dates[at] - days) / ONE_DAY) for at in (before, after)]
    found = np.where(away[0] <= away[1], before, after)
    return np.where(np.minimum(*away) <= MATCHED_DAYS, found, -1)


def seen_rolls(schedule: RollSchedule, observed: Dates) -> Bools:
    """Which of the observed sessions (ascending) show a scheduled roll's move: the first close on or after it, [n]."""
    place = np.searchsorted(schedule.dates, observed, side="right")
    return np.diff(place, prepend=place[:1]) > 0
