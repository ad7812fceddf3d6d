"""Whether a comma stands before the decimals or between the thousands, told by the numbers of a file themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from forecast_platform.sources.formats.sheet import Problems

if TYPE_CHECKING:
    from forecast_platform.settings.landing import DecimalMark

_SWAP = str.maketrans(",.", ".,")
_BLANKS = re.compile("(?<=\\d)[ \u00a0\u202f'\u2019](?=\\d{3})")
_COMMA = re.compile(
    r"[+-]?(?:\d+,(?:\d{1,2}|\d{4,})|0+,\d+|\d{4,},\d+|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,})[KMBT]?%?"
)
"""A number whose comma, or whose points, can only be read with decimals after a comma."""
_EITHER = re.compile(r"[+-]?\d{1,3},\d{3}[KMBT]?")


def decimal_of(
    columns: Mapping[str, Sequence[str]],
    rows: Sequence[int],
    asked: DecimalMark | None,
    problems: Problems,
    proven: DecimalMark | None = None,
) -> DecimalMark:
    """The mark before the decimals in `columns`, ours -> text cells [n], over all of them: a file has one.

    What a number proves goes first; then `asked`, of the settings; then `proven`, of a vendor's language. Where 1,234
    may be either and nothing says which, or numbers prove both, that becomes a problem with its mend.
    """
    seen: dict[DecimalMark, tuple[int, str]] = {}
    either: tuple[int, str] | None = None
    for name, cells in columns.items():
        for row, text in zip(rows, cells, strict=True):
            if "," not in text and "." not in text:
                continue
            text = _BLANKS.sub("", text)
            if _COMMA.fullmatch(text):
                seen.setdefault("comma", (row, text))
            elif _COMMA.fullmatch(text.translate(_SWAP)):
                seen.setdefault("point", (row, text))
            elif _EITHER.fullmatch(text):
                if name == "volume" and text[-1].isdigit():
                    seen.setdefault("point", (row, text))  # what is traded is counted in whole numbers
                else:
                    either = either or (row, text)
    if len(seen) == 2:
        (first, one), (row, other) = sorted(seen.values())
        problems.append((row, f"numbers are of two kinds: {other!r} here, {one!r} in row {first}: save them alike"))
        return "point"
    if seen:
        [(mark, (row, text))] = seen.items()
        if asked is not None and asked != mark:
            problems.append((row, f"{text!r} has a decimal {mark}, but the settings say decimal: {asked}"))
        return mark
    if asked or proven:
        return asked or proven or "point"
    if either is not None:
        row, text = either
        problems.append(
            (
                row,
                f"{text!r} may have a decimal comma or thousands, and no number of the file proves which: set "
                "`decimal: comma` or `decimal: point`",
            )
        )
    return "point"


def with_point(cells: Sequence[str], mark: DecimalMark) -> Sequence[str]:
    """Numbers as they are written with a decimal point and no blanks: 1.234,5 and 1 234,5 as 1,234.5."""
    plain = [_BLANKS.sub("", text) for text in cells]
    return plain if mark == "point" else [text.translate(_SWAP) for text in plain]
