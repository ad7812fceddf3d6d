"""What a step reports: which keys were done, skipped or failed, and why."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field


class RefusedError(RuntimeError):
    """A step cannot do anything at all, and another try would not help; the message says why, and the mend."""


@dataclass(frozen=True)
class RemoteRun:
    """A run in a workspace elsewhere that worked on keys of a step."""

    url: str
    cost: str
    """What its cost is found under: tags, or a budget policy."""


@dataclass
class Outcome:
    """Keys (dates, or windows) of one series and model."""

    series: str
    model: str
    written: set[dt.date] = field(default_factory=set)
    skipped: set[dt.date] = field(default_factory=set)
    failed: dict[dt.date, str] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    runs: list[RemoteRun] = field(default_factory=list)

    @property
    def good(self) -> set[dt.date]:
        """Keys whose rows are in the table now."""
        return self.written | self.skipped

    def add(self, part: Outcome) -> None:
        """Take over what another outcome of the same series and model came to."""
        self.written |= part.written
        self.skipped |= part.skipped
        self.failed |= part.failed
        self.rows += part.rows
        self.notes += part.notes
        self.runs += part.runs


def ranges(days: Iterable[dt.date]) -> list[tuple[dt.date, dt.date]]:
    """The days as closed ranges of consecutive days, ascending."""
    found: list[tuple[dt.date, dt.date]] = []
    for day in sorted(days):
        if found and day - found[-1][1] == dt.timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def ranges_text(days: Iterable[dt.date], most: int = 6) -> str:
    """The days as text: `2018-01-01 to 2018-01-05, 2018-02-03 and 3 more ranges`."""
    found = ranges(days)
    text = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in found[:most])
    return text + (f" and {len(found) - most} more ranges" if len(found) > most else "")


_DAYS = re.compile(r"\b(\d+) days\b")


def failures_text(failed: dict[dt.date, str], most: int = 4) -> str:
    """Failed keys grouped by their reason; reasons that differ in a number of days only are one: `6 to 57 days`."""
    by_reason: dict[str, list[dt.date]] = {}
    for day, reason in failed.items():
        by_reason.setdefault(_DAYS.sub("# days", reason, count=1), []).append(day)
    lines = [
        f"{ranges_text(days)}: {_reason([failed[day] for day in days])}" for days in list(by_reason.values())[:most]
    ]
    if len(by_reason) > most:
        lines.append(f"and {len(by_reason) - most} more reasons (see forecast_metadata.error)")
    return "\n".join(lines)


def _reason(reasons: list[str]) -> str:
    counts = sorted({int(found[1]) for found in map(_DAYS.search, reasons) if found})
    return reasons[0] if len(counts) < 2 else _DAYS.sub(f"{counts[0]} to {counts[-1]} days", reasons[0], count=1)
