"""From a vendor's rows of prices to the platform's columns: the part that is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.sources.formats.decimals import decimal_of, with_point
from forecast_platform.sources.formats.sheet import Meaning, Problems, RawTable, Sheet, ascending, body, dates, numbers

if TYPE_CHECKING:
    from forecast_platform.settings.landing import DateOrder, DecimalMark


def prices(
    sheet: Sheet,
    head: int,
    columns: Mapping[str, str],
    meaning: Meaning,
    *,
    format: str,
    date: str = "date",
    proven: DateOrder | None = None,
    decimal: DecimalMark | None = "point",
    footer: Callable[[list[str]], bool] | None = None,
    unit: str | None = None,
    notes: tuple[str, ...] = (),
) -> RawTable:
    """The rows below `head`, ascending. columns: the vendor's name in lower case -> ours; `date`: that of its dates.

    decimal: the mark before its decimals: that of the vendor's language, None where any is possible; what the numbers
    prove goes first, but where it is a point.

    Columns that it does not name are left out. What the settings say of a column (`meaning.columns`) goes first.
    """
    names = [name.strip().lower() for name in sheet.names(head)]
    own = {theirs.lower(): ours for theirs, ours in meaning.columns.items()}
    wanted = {name: own.get(name, columns.get(name)) for name in names}
    taken = [name for name, ours in own.items() if name in names]
    for name, ours in list(wanted.items()):
        if name not in taken and ours in {own[one] for one in taken}:
            wanted[name] = None
    records, problems, left_out = body(sheet, head, footer=footer)
    rows = [row for row, _ in records]
    found: dict[str, NDArray[Any]] = {
        "date": dates([cells[names.index(date)] for _, cells in records], rows, meaning.dates, problems, proven)
    }
    texts: dict[str, Sequence[str]] = {}
    for position, name in enumerate(names):
        ours = wanted[name]
        if ours is not None and ours != "date" and name != date:
            texts[ours] = [cells[position] for _, cells in records]
    if decimal != "point":
        mark = decimal_of(texts, rows, meaning.decimal, problems, decimal)
        texts = {ours: with_point(cells, mark) for ours, cells in texts.items()}
    for ours, cells in texts.items():
        found[ours] = numbers(ours, cells, rows, problems)
    table = RawTable(sheet.file, found, np.array(rows, np.int64), tuple(problems), format, tuple(left_out), notes, unit)
    return ascending(table) if not problems else table


def without(table: RawTable, rows: np.ndarray, reason: str) -> RawTable:
    """The table less the records where `rows` (bool [n]) is true, which are said to be left out."""
    from dataclasses import replace

    if not rows.any():
        return table
    left_out: Problems = [(int(row), reason) for row in table.rows[rows]]
    columns = {name: values[~rows] for name, values in table.columns.items()}
    return replace(table, columns=columns, rows=table.rows[~rows], left_out=(*table.left_out, *left_out))


OHLCV = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"}
"""Columns that are called as ours."""
