"""Training windows: a window's key is its first day of use; it is fitted on the days strictly before it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Literal

Frequency = Literal["daily", "weekly", "semimonthly", "monthly", "quarterly", "semiannually", "annually"]


@dataclass(frozen=True)
class WindowFrequency:
    """Cadence of training windows: the months and days of month (or the weekday) on which one begins."""

    cron: str
    per_year: float
    months: tuple[int, ...] = tuple(range(1, 13))
    days: tuple[int, ...] | None = None
    weekday: int | None = None

    def is_start(self, day: dt.date) -> bool:
        """Whether a window begins on `day`."""
        if self.weekday is not None and day.weekday() != self.weekday:
            return False
        return day.month in self.months and (self.days is None or day.day in self.days)

    def start_of(self, day: dt.date) -> dt.date:
        """First day of the window that contains `day`."""
        if self.weekday is not None:
            return day - dt.timedelta(days=(day.weekday() - self.weekday) % 7)
        if self.days is None:
            return day
        while not (starts := [start for start in self.days if start <= day.day]) or day.month not in self.months:
            day = day.replace(day=1) - dt.timedelta(days=1)
        return day.replace(day=starts[-1])

    def next_start(self, start: dt.date) -> dt.date:
        """First day of the window after the one that begins on `start`."""
        day = start + dt.timedelta(days=1)
        while not self.is_start(day):
            day += dt.timedelta(days=1)
        return day

    def back(self, start: dt.date, windows: int) -> dt.date:
        """First day of the window that lies `windows` before the one that begins on `start`."""
        for _ in range(windows):
            start = self.start_of(start - dt.timedelta(days=1))
        return start

    def starts(self, first: dt.date, last: dt.date) -> list[dt.date]:
        """Starts of all windows that contain a day of first..last."""
        found = [self.start_of(first)]
        while (following := self.next_start(found[-1])) <= last:
            found.append(following)
        return found

    def windows_in_years(self, years: int) -> int:
        """How many windows make up `years` years, rounded up."""
        return math.ceil(years * self.per_year)


FREQUENCIES: dict[str, WindowFrequency] = {
    "daily": WindowFrequency("0 0 * * *", 365.25),
    "weekly": WindowFrequency("0 0 * * 1", 365.25 / 7, weekday=0),
    "semimonthly": WindowFrequency("0 0 1,15 * *", 24, days=(1, 15)),
    "monthly": WindowFrequency("0 0 1 * *", 12, days=(1,)),
    "quarterly": WindowFrequency("0 0 1 1,4,7,10 *", 4, months=(1, 4, 7, 10), days=(1,)),
    "semiannually": WindowFrequency("0 0 1 1,7 *", 2, months=(1, 7), days=(1,)),
    "annually": WindowFrequency("0 0 1 1 *", 1, months=(1,), days=(1,)),
}
