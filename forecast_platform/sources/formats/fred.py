"""FRED (St. Louis Fed): `observation_date,SERIES...`, `DATE,SERIES` until 2024; missing is blank or a point.

Seen to August 2026. One series is a close, or a macro column by the mapping `files: {macro: {VIXCLS: vix}}`.
"""

from __future__ import annotations

import re

from forecast_platform.sources.formats.prices import prices
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "FRED", "values"


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = sheet.names()
    dated = names[:1] in (["observation_date"], ["DATE"])
    named = len(names) > 1 and all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in names[1:])
    return 0 if dated and named else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; a single series is called `value` where no mapping names it."""
    names = sheet.names(head)
    single = {names[1].lower(): "value"} if len(names) == 2 else {}
    own = {name.lower(): name for name in names[1:]}
    return prices(
        sheet,
        head,
        own | single,
        meaning,
        format=NAME,
        date=names[0].lower(),
        notes=(f"series {', '.join(names[1:])}",),
    )
