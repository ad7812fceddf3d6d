"""What every vendor's reader works on: a file's text cells by line, and how dates and numbers in them are meant."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats

if TYPE_CHECKING:
    from forecast_platform.settings.landing import DateOrder, DecimalMark

Kind = Literal["market", "macro", "weather"]
"""What a landing file is read as."""

Problems = list[tuple["int | None", str]]
Record = tuple[int, list[str]]
"""A line's number and its cells, stripped."""


@dataclass(frozen=True)
class Sheet:
    """A text file or the sheet of a workbook. `records` has no blank lines; `delimiter` is ',' for a workbook."""

    file: str
    records: Sequence[Record]
    delimiter: str = ","

    def names(self, at: int = 0) -> list[str]:
        """The cells of record `at`; none where there is no such record."""
        return self.records[at][1] if at < len(self.records) else []

    def find(self, wanted: Callable[[list[str]], bool], most: int = 60) -> int | None:
        """The position of the first of the leading records that is `wanted`."""
        return next((at for at, (_, cells) in enumerate(self.records[:most]) if wanted(cells)), None)


@dataclass(frozen=True)
class Meaning:
    """What the settings say of a file, and what its name tells of its place.

    columns: its column -> ours. regions: its place -> region. place: the part of `weather_<place>.csv` or
    `macro_<column>.csv`, or None. today: the platform's date.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    dates: DateOrder | None = None
    decimal: DecimalMark | None = None
    place: str | None = None
    today: dt.date | None = None

    def region(self, named: str) -> str:
        """The region of the place that a file names."""
        return self.regions.get(named, named)


@dataclass(frozen=True)
class RawTable:
    """Cells of a file by column.

    columns: name -> float64 (NaN: missing), datetime64[D] (NaT: missing) or object (str, '': missing), each [n].
    rows: 1-based line of each record, the header being line 1, int64 [n].
    problems: (row, reason) of records that are no records of this table; they are not in `columns`.
    format: what the file was recognised as. unit: what its header says that prices are counted in.
    left_out: (row, reason) of records that say nothing of a whole day; notes: what else a person should know.
    """

    file: str
    columns: dict[str, NDArray[Any]]
    rows: NDArray[np.int64]
    problems: tuple[tuple[int | None, str], ...] = ()
    format: str = "landing"
    left_out: tuple[tuple[int | None, str], ...] = ()
    notes: tuple[str, ...] = ()
    unit: str | None = None


_MISSING = {"", "-", "--", ".", "null", "nan", "na", "n/a", "none", "no data"}
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][+-]?\d+)?")
_SCALES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def number(text: str) -> float:
    """A vendor's number: thousands by commas, K, M and B at the end. NaN where missing; ValueError where no number."""
    if text.lower() in _MISSING:
        return float("nan")
    scale = _SCALES.get(text[-1], 1.0)
    plain = text[:-1] if scale != 1.0 else text
    if not plain.isascii() or not any(letter.isdigit() for letter in plain) or not _NUMBER.fullmatch(plain):
        raise ValueError(text)
    value = float(plain.replace(",", ""))
    # 18.2 * 1000 is 18200.000000000002-like in binary for some figures; a volume is a whole number.
    return value if scale == 1.0 else float(round(value * scale))


def numbers(name: str, cells: Sequence[str], rows: Sequence[int], problems: Problems) -> Floats:
    """Cells as float64 [n]; one that is no number becomes a problem that names its row."""
    found = np.full(len(cells), np.nan)
    for position, text in enumerate(cells):
        try:
            found[position] = number(text)
        except ValueError:
            problems.append((rows[position], f"{name} is not a number: {text!r}"))
    return found


_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?(?:Z|[+-]\d{2}:?\d{2}))?)?")
_PARTS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_NAMED = re.compile(r"([A-Za-z]{3})[a-z]*\.? (\d{1,2}),? (\d{4})")
_NAMED_DAY_FIRST = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3})[a-z]*[- ](\d{4})")
_MONTHS = dict(
    zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True)
)


def dates(
    cells: Sequence[str],
    rows: Sequence[int],
    order: DateOrder | None,
    problems: Problems,
    proven: DateOrder | None = None,
) -> Dates:
    """Cells as datetime64[D] [n], NaT where a problem was found.

    A stamp counts as the date that it shows, in whatever zone. Of 03/04/2024 the order is what a day above 12
    somewhere in the file proves, else `order`, else `proven` (a vendor that writes one order alone); where neither
    says it, the file is refused.
    """
    shown = [_PARTS.fullmatch(text) for text in cells]
    first = next((i for i, hit in enumerate(shown) if hit and int(hit[1]) > 12), None)
    second = next((i for i, hit in enumerate(shown) if hit and int(hit[3]) > 12), None)
    if first is not None and second is not None:
        there, here = min(first, second), max(first, second)
        problems.append(
            (rows[here], f"dates are of two orders: {cells[here]!r} here, {cells[there]!r} in row {rows[there]}")
        )
        return np.full(len(cells), "NaT", "datetime64[D]")
    seen: DateOrder | None = "day-first" if first is not None else "month-first" if second is not None else None
    if seen and order and seen != order:
        at = first if first is not None else second
        problems.append((rows[at or 0], f"date {cells[at or 0]!r} is {seen}, but the settings say dates: {order}"))
    meant = seen or order or proven
    if meant is None and any(shown):
        at = next(i for i, hit in enumerate(shown) if hit)
        problems.append(
            (
                rows[at],
                f"date {cells[at]!r} cannot be read unambiguously, and no day above 12 proves an order: write it as "
                "YYYY-MM-DD, or set `dates: day-first` or `dates: month-first`",
            )
        )
        return np.full(len(cells), "NaT", "datetime64[D]")
    found = np.full(len(cells), "NaT", "datetime64[D]")
    for position, text in enumerate(cells):
        try:
            found[position] = _date(text, shown[position], meant)
        except ValueError as error:
            problems.append((rows[position], str(error)))
    return found


def _date(text: str, parts: re.Match[str] | None, order: DateOrder | None) -> dt.date:
    if text == "":
        raise ValueError("the date is blank")
    if parts:
        day, month = (1, 3) if order == "day-first" else (3, 1)
        numbers_ = (int(parts[4]), int(parts[month]), int(parts[day]))
    elif hit := _ISO.fullmatch(text) or _COMPACT.fullmatch(text):
        numbers_ = (int(hit[1]), int(hit[2]), int(hit[3]))
    elif (hit := _NAMED.fullmatch(text)) and hit[1].lower() in _MONTHS:
        numbers_ = (int(hit[3]), _MONTHS[hit[1].lower()], int(hit[2]))
    elif (hit := _NAMED_DAY_FIRST.fullmatch(text)) and hit[2].lower() in _MONTHS:
        numbers_ = (int(hit[3]), _MONTHS[hit[2].lower()], int(hit[1]))
    else:
        raise ValueError(f"date {text!r} cannot be read unambiguously: write it as YYYY-MM-DD")
    try:
        return dt.date(*numbers_)
    except ValueError as error:
        raise ValueError(f"date {text!r} does not exist") from error


def body(
    sheet: Sheet, head: int, width: int | None = None, *, footer: Callable[[list[str]], bool] | None = None
) -> tuple[list[Record], Problems, Problems]:
    """The records below the header `head` with as many cells as it has; problems; what is left out (footers)."""
    wide = len(sheet.names(head)) if width is None else width
    good: list[Record] = []
    problems: Problems = []
    left_out: Problems = []
    for row, cells in sheet.records[head + 1 :]:
        if footer is not None and footer(cells):
            left_out.append((row, f"no day, but a footer: {next((c for c in cells if c), '')[:80]!r}"))
        elif len(cells) == wide:
            good.append((row, cells))
        else:
            problems.append((row, f"{len(cells)} cells where the header has {wide}"))
    return good, problems, left_out


def ascending(table: RawTable) -> RawTable:
    """The table by date (within a region, where there is one); vendors write the newest first, or as they please."""
    days = table.columns["date"]
    keys: tuple[NDArray[Any], ...] = (days,)
    if "region" in table.columns:
        keys = (days, table.columns["region"].astype(str))
    order = np.lexsort(keys)
    columns = {name: values[order] for name, values in table.columns.items()}
    return RawTable(
        table.file,
        columns,
        table.rows[order],
        table.problems,
        table.format,
        table.left_out,
        table.notes,
        table.unit,
    )


def twice(names: Sequence[str]) -> list[str]:
    """Names that are there more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
