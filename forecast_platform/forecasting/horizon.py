"""How many days a forecast covers, and all that follows from it: spans, names of columns, words for people.

A warehouse has one horizon, H days. Scores run over the spans of 1, 7 and H days, so that the figures of the first
two compare between warehouses: columns `crps_1d`, `crps_7d`, `crps_<H>d`. At H = 7 the last two are one, `crps_7d`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

DEFAULT = 14
"""Days of a warehouse that asks for no other number."""

SHORTEST, LONGEST = 7, 60
"""The week whose span every warehouse scores; and two months, past which a path of daily draws says little."""

_DAY = re.compile(r"^day_(\d+)$")
_SCORE = re.compile(r"^[a-z]+(?:_\d+)?_(\d+)d$")
_WORDS = {7: "Seven", 14: "Fourteen", 21: "Twenty-one", 28: "Twenty-eight", 30: "Thirty", 60: "Sixty"}


def spans(horizon: int) -> tuple[int, ...]:
    """Last target days of the spans that forecasts are scored over, ascending; the last one is the horizon."""
    return tuple(sorted({1, SHORTEST, horizon}))


def suffix(span: int) -> str:
    """The end of the names of a span's score columns: `14d`."""
    return f"{span}d"


def suffixes(horizon: int) -> dict[str, int]:
    """Suffix of each span's columns to its last target day, ascending."""
    return {suffix(span): span for span in spans(horizon)}


def day_column(day: int) -> str:
    """The column of a path's close on the `day`-th target day; day 1 is the forecast date."""
    return f"day_{day}"


def day_columns(horizon: int) -> tuple[str, ...]:
    """The columns of a path's closes, day_1 to day_<horizon>."""
    return tuple(day_column(day) for day in range(1, horizon + 1))


def of_columns(names: Iterable[str]) -> int | None:
    """The horizon that a table with these columns was made for; None where no column tells.

    Told by its day columns, else by the longest span of its score columns.
    """
    known = list(names)
    for pattern in (_DAY, _SCORE):
        found = [int(match[1]) for name in known if (match := pattern.match(name))]
        if found:
            return max(found)
    return None


def sessions(span: int) -> int:
    """Trading sessions that a span of calendar days covers at five a week: how far neighbours' losses overlap."""
    return -(-span * 5 // 7)


def in_words(horizon: int) -> str:
    """`Fourteen days`, for the beginning of a sentence."""
    return f"{_WORDS.get(horizon, horizon)} days"
