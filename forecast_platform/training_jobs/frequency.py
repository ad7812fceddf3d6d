"""A panel's grid: how far apart its stamps are, recognised from the data, with the anchor that the data have.

Libraries take `W` as weeks that end on Sunday and `M` as month ends, whatever the data say, and shift Monday's data by
a day or a week. Here every stamp has a number on its own grid, models see the numbers alone, and a forecast's stamps
come from the same grid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecast_platform.training_jobs.config import JobError

Stamps = NDArray[np.datetime64]
Steps = NDArray[np.int64]
Unit = Literal["seconds", "business", "months"]

DAY = 86_400
_MONTH_END = 32
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_SHARE_MISSING = 0.5
"""Share of a series' grid that may be empty before its stamps are taken as those of another frequency."""

_NAMED = {
    "minutely": ("seconds", 60), "min": ("seconds", 60), "t": ("seconds", 60),
    "hourly": ("seconds", 3600), "h": ("seconds", 3600),
    "s": ("seconds", 1), "secondly": ("seconds", 1),
    "daily": ("seconds", DAY), "d": ("seconds", DAY),
    "weekly": ("seconds", 7 * DAY), "w": ("seconds", 7 * DAY),
    "b": ("business", 1),
    "monthly": ("months", 1), "m": ("months", 1), "ms": ("months", 1), "me": ("months", 1),
    "quarterly": ("months", 3), "q": ("months", 3), "qs": ("months", 3), "qe": ("months", 3),
    "yearly": ("months", 12), "annually": ("months", 12), "y": ("months", 12), "a": ("months", 12),
    "ys": ("months", 12), "ye": ("months", 12), "as": ("months", 12),
}  # fmt: skip
_SEASONS = {
    ("seconds", 1): 60, ("seconds", 60): 60, ("seconds", 900): 96, ("seconds", 1800): 48, ("seconds", 3600): 24,
    ("seconds", DAY): 7, ("seconds", 7 * DAY): 52, ("business", 1): 5, ("months", 1): 12, ("months", 3): 4,
}  # fmt: skip


@dataclass(frozen=True)
class Frequency:
    """A grid of stamps: every `step` of `unit`, through `anchor`.

    anchor: seconds since 1970 modulo the step (seconds); day of the month, 32 for its last, and the months since 1970
    modulo the step, as day * 100 + month (months); 0 (business days, Monday to Friday).
    """

    unit: Unit
    step: int
    anchor: int = 0

    def index(self, stamps: Stamps) -> Steps:
        """Each stamp's number on the grid; -1 where it is not on it. Stamps before 1678 or after 2262 are not."""
        if self.unit == "seconds":
            seconds = stamps.astype("datetime64[s]").astype(np.int64) - self.anchor
            return np.where(seconds % self.step == 0, seconds // self.step + _SHIFT, -1)
        days = stamps.astype("datetime64[D]")
        on = stamps.astype("datetime64[s]") == days
        if self.unit == "business":
            on &= np.is_busday(days)
            return np.where(on, np.busday_count(np.datetime64("1678-01-03"), days), -1)
        months = stamps.astype("datetime64[M]").astype(np.int64)
        day, month = divmod(self.anchor, 100)
        on &= days == _days_of(stamps.astype("datetime64[M]"), day)
        on &= (months - month) % self.step == 0
        return np.where(on, (months - month) // self.step + _SHIFT, -1)

    def stamps(self, index: Steps) -> Stamps:
        """The stamps of these numbers, datetime64[s]."""
        index = np.asarray(index, np.int64)
        if self.unit == "seconds":
            return ((index - _SHIFT) * self.step + self.anchor).astype("datetime64[s]")
        if self.unit == "business":
            return np.busday_offset(np.datetime64("1678-01-03"), index).astype("datetime64[s]")
        day, month = divmod(self.anchor, 100)
        months = ((index - _SHIFT) * self.step + month).astype("datetime64[M]")
        return _days_of(months, day).astype("datetime64[s]")

    @property
    def season_length(self) -> int:
        """Steps of the season that is usual for such data; 1 where none is."""
        return _SEASONS.get((self.unit, self.step), 1)

    @property
    def alias(self) -> str:
        """As pandas writes it: W-MON, MS, 15min."""
        if self.unit == "business":
            return "B"
        if self.unit == "months":
            day = self.anchor // 100
            name = {1: "MS", 3: "QS", 12: "YS"}.get(self.step, f"{self.step}MS")
            return name.replace("S", "E") if day == _MONTH_END else name
        if self.step % (7 * DAY) == 0:
            weekday = _WEEKDAYS[(self.anchor // DAY + 3) % 7]
            return f"{'' if self.step == 7 * DAY else self.step // (7 * DAY)}W-{weekday}"
        for seconds, name in ((DAY, "D"), (3600, "h"), (60, "min"), (1, "s")):
            if self.step % seconds == 0:
                return f"{'' if self.step == seconds else self.step // seconds}{name}"
        raise AssertionError(self.step)

    def __str__(self) -> str:
        return self.alias


_SHIFT = 10_000_000_000
"""Added to numbers on a grid, so that none is negative and -1 is free for what is not on it."""


def wanted(text: str) -> tuple[Unit, int]:
    """Unit and step of what a config calls a frequency. Raises JobError where it is none."""
    found = re.fullmatch(r"(\d{0,4})([A-Za-z]+)(?:-[A-Za-z]{3})?", text.strip())
    named = _NAMED.get(found[2].lower()) if found else None
    if found is None or named is None or found[1].startswith("0"):
        raise JobError(
            f"{text!r} is no frequency: daily, weekly, monthly, quarterly, yearly, hourly, an alias such as W, D, B, "
            "MS, QS, 15min, or none at all to have it recognised",
            "frequency",
        )
    return named[0], named[1] * int(found[1] or 1)  # type: ignore[return-value]


def recognise(stamps: Stamps, starts: Sequence[int] | Steps, ids: Sequence[str], asked: str | None) -> Frequency:
    """The grid that these stamps lie on: [n] ascending within each series, which begin at `starts`.

    Raises JobError where there is no such grid, or it is not the one that was asked for.
    """
    seconds = stamps.astype("datetime64[s]").astype(np.int64)
    inner = np.ones(len(stamps), bool)
    inner[np.asarray(starts)] = False
    gaps = np.diff(seconds, prepend=seconds[:1])[inner]
    if asked is not None:
        unit, step = wanted(asked)
        found = _anchored(unit, step, stamps)
        _refuse_off_grid(found, stamps, starts, ids, asked)
        return found
    if not len(gaps):
        raise JobError("no series has two rows: there is nothing to tell a frequency from", "frequency")
    found = _usual(stamps, gaps)
    _refuse_off_grid(found, stamps, starts, ids, None)
    return found


def _usual(stamps: Stamps, gaps: Steps) -> Frequency:
    """The grid of the most usual step between neighbours."""
    days = stamps.astype("datetime64[D]")
    whole_days = bool((stamps.astype("datetime64[s]") == days).all())
    values, counts = np.unique(gaps, return_counts=True)
    usual = int(values[np.argmax(counts)])
    if (whole_days and usual >= 28 * DAY and usual % (7 * DAY)) or usual >= 85 * DAY:
        months = np.unique(np.round(gaps / (30.436875 * DAY)).astype(np.int64), return_counts=True)
        return _anchored("months", max(1, int(months[0][np.argmax(months[1])])), stamps)
    if whole_days and usual == 28 * DAY:
        # February has four weeks: months where each stamp has the same place in its own.
        monthly = _anchored("months", 1, stamps)
        if (monthly.index(stamps) >= 0).all():
            return monthly
    if whole_days and usual == DAY and not np.isin((days.astype(np.int64) + 3) % 7, (5, 6)).any() and len(days) > 5:
        return Frequency("business", 1)
    return _anchored("seconds", usual, stamps)


def _anchored(unit: Unit, step: int, stamps: Stamps) -> Frequency:
    """The grid of that unit and step through the most usual place of the stamps."""
    if unit == "business":
        return Frequency(unit, step)
    if unit == "seconds":
        return Frequency(unit, step, _most(stamps.astype("datetime64[s]").astype(np.int64) % step))
    days, months = stamps.astype("datetime64[D]"), stamps.astype("datetime64[M]")
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    last = days == (months + 1).astype("datetime64[D]") - 1
    place = _MONTH_END if last.mean() > 0.5 else _most(day)
    return Frequency(unit, step, place * 100 + _most(months.astype(np.int64) % step))


def _most(values: Steps) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def _days_of(months: NDArray[np.datetime64], day: int) -> NDArray[np.datetime64]:
    """The day of each month, its last where it has not so many."""
    last = (months + 1).astype("datetime64[D]") - 1
    return np.minimum(months.astype("datetime64[D]") + (min(day, 31) - 1), last)


def _refuse_off_grid(
    found: Frequency, stamps: Stamps, starts: Sequence[int] | Steps, ids: Sequence[str], asked: str | None
) -> None:
    index = found.index(stamps)
    bounds = np.append(np.asarray(starts, np.int64), len(stamps))
    of = np.repeat(np.arange(len(ids)), np.diff(bounds))
    what = f"frequency {asked!r}" if asked is not None else f"the usual step of these data ({found})"
    off = np.flatnonzero(index < 0)
    if len(off):
        raise JobError(
            f"the stamp {stamps[off[0]]} of series {ids[of[off[0]]]!r} (and {len(off) - 1:,} more of {len(stamps):,}) "
            f"does not fit {what}: mixed frequencies; give each series the same step, and sum or average finer rows "
            "first",
            "frequency",
        )
    first, last = index[bounds[:-1]], index[bounds[1:] - 1]
    rows = np.diff(bounds)
    share = 1 - rows / (last - first + 1)
    sparse = np.flatnonzero(share > _SHARE_MISSING)
    if len(sparse):
        worst = sparse[np.argmax(share[sparse])]
        raise JobError(
            f"series {ids[worst]!r} has {rows[worst]:,} of the {last[worst] - first[worst] + 1:,} rows that {what} "
            f"gives it: mixed frequencies, or another one",
            "frequency",
        )
