"""Durations with their unit: `15 minutes`, `90 s`, `1.5 h`."""

from __future__ import annotations

import re
from decimal import Decimal

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
LONGEST = 7 * 24 * 3600.0


def seconds_of(value: object) -> float:
    """Seconds of a duration. Raises ValueError: no unit, an unknown one, nothing, or over a week."""
    if isinstance(value, bool) or not isinstance(value, str):
        hint = "90 is also what YAML makes of 1:30: " if value == 90 else ""
        raise ValueError(f"{value!r} has no unit: {hint}write it as `{value} seconds`, `minutes` or `hours`")
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]+)\s*", value)
    if found is None:
        raise ValueError(f"{value!r} is no duration: write a number and its unit, such as `15 minutes` or `1.5 h`")
    unit = _SECONDS.get(found[2].lower())
    if unit is None:
        raise ValueError(f"{found[2]!r} is no unit of time: s, min or h, such as `15 minutes`")
    seconds = float(found[1]) * unit
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{value!r} is {seconds:g} seconds: more than 0 and at most a week (168 hours)")
    return seconds


def duration_text(seconds: float) -> str:
    """A duration as `seconds_of` reads it, in the largest unit that leaves it whole."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{Decimal(repr(seconds)):f} seconds"
