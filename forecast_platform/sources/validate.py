"""Refuse what is wrong in a raw file, naming file, row and reason; point out what looks wrong but may be real."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.sources.base import LISTED, MARKET_COLUMNS, WEATHER_COLUMNS, Rejection, Suspect
from forecast_platform.sources.contracts import CHAIN_COLUMNS, delivery_months
from forecast_platform.sources.formats.sheet import RawTable

if TYPE_CHECKING:
    import pandas as pd

EARLIEST = dt.date(1900, 1, 1)
GLITCH_MOVE = 0.20
GLITCH_REVERT = 0.05
FEW = 3
"""Rows with the same fault that are told one by one; more of them are one line."""

_OF_MARKET = ("date", "close")
"""Columns that a market file must have."""

_LIKELY = {"date": ("date", "day", "time", "period", "^$"), "close": ("close", "settle", "last", "price", "value")}
"""How others call a column of ours, the likeliest first; pandas gives an index no name."""

_ADJUSTED = re.compile(r"adj", re.IGNORECASE)

_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]00:00(?::00(?:\.0+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_VALUE = re.compile(r"(?<=: )'[^']*'|(?<=date )'[^']*'|-?\d[\d.,:+-]*")
_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*")

Problems = list[tuple[int | None, str]]


def is_macro_column(name: str) -> bool:
    """Whether `name` is a macro column without being declared: vix or a usd_* exchange rate."""
    return name == "vix" or re.fullmatch(r"usd_\w+", name) is not None


def check_market(table: RawTable, today: dt.date) -> tuple[pd.DataFrame | None, list[Rejection]]:
    """A market file's date, OHLCV and contract columns, or why it is refused. A missing cell is legal, no close at all
    is not.

    As in the other checks, the frame's index is the file's rows, and a row of tomorrow is left out: where the exchange
    is ahead of the platform's zone its day has begun.
    """
    known = (*MARKET_COLUMNS, *CHAIN_COLUMNS)
    return _check(table, _OF_MARKET, known.__contains__, known, today)


def check_chain(table: RawTable, today: dt.date) -> tuple[pd.DataFrame | None, list[Rejection]]:
    """A chain file's columns date, close, close_2 and delivery months, a row a date, or why it is refused."""
    known = ("close", *CHAIN_COLUMNS)
    return _check(table, ("date", "close", "close_2"), known.__contains__, known, today)


def check_macro(
    table: RawTable, today: dt.date, declared: Collection[str]
) -> tuple[pd.DataFrame | None, list[Rejection]]:
    """A macro file's date and numeric columns (vix, usd_*, and the `declared` ones), or why it is refused."""
    names = ("vix", "usd_<currency>", *sorted(declared))
    return _check(table, ("date",), lambda name: is_macro_column(name) or name in declared, names, today)


def check_weather(table: RawTable, today: dt.date) -> tuple[pd.DataFrame | None, list[Rejection]]:
    """A weather file's date, region and numeric columns, or why it is refused. One row a date and region."""
    known = ("region", *WEATHER_COLUMNS)
    return _check(table, ("date", "region"), known.__contains__, known, today)


def _check(
    table: RawTable,
    required: Sequence[str],
    is_known: Callable[[str], bool],
    known: Sequence[str],
    today: dt.date,
) -> tuple[pd.DataFrame | None, list[Rejection]]:
    import pandas as pd

    problems: Problems = list(table.problems)
    if problems and not table.columns:
        return None, _listed(table.file, problems)
    _check_names(table, required, is_known, known, problems)
    cells: dict[str, NDArray[Any]] = {}
    if "date" in table.columns:
        cells["date"] = _dates(table.columns["date"], table.rows, problems)
    if "region" in required and "region" in table.columns:
        cells["region"] = _regions(table.columns["region"], table.rows, problems)
    for name, values in table.columns.items():
        if name not in cells and is_known(name) and name != "contract_2":
            read = delivery_months if name == "contract" else _numbers
            cells[name] = read(name, values, table.rows, problems)
    if "date" in cells:
        _check_order(cells["date"], cells.get("region"), table.rows, today, problems)
    if "close" in required and "close" in cells and not problems and np.isnan(cells["close"]).all():
        problems.append((None, "close has no value in any row"))
    if problems:
        return None, _listed(table.file, problems)
    frame = pd.DataFrame(cells, index=table.rows).astype({"date": "datetime64[ns]"})
    return frame[frame["date"] <= pd.Timestamp(today)], []


def _listed(file: str, problems: Problems) -> list[Rejection]:
    """One rejection a kind of problem: the first of its rows, and of many how many there are and which come next."""
    kinds: dict[str, list[tuple[int | None, str]]] = {}
    for row, reason in sorted(problems, key=lambda problem: problem[0] or 0):
        kinds.setdefault(_VALUE.sub("", reason), []).append((row, reason))
    rejections = []
    for found in kinds.values():
        if len(found) <= FEW:
            rejections += [Rejection(file, row, reason) for row, reason in found]
        else:
            row, reason = found[0]
            rejections.append(Rejection(file, row, f"{reason}; {more_rows([other or 0 for other, _ in found])}"))
    rejections.sort(key=lambda one: one.row or 0)
    if len(rejections) > LISTED:
        reason = f"and {len(rejections) - LISTED:,} more problems ({len(rejections):,} in all)"
        rejections = [*rejections[:LISTED], Rejection(file, None, reason)]
    return rejections


def more_rows(rows: Sequence[int]) -> str:
    """Of rows with the same fault, those after the first: how many, and which come next."""
    return f"so are {len(rows) - 1:,} more rows: {', '.join(map(str, rows[1:4]))}{', ...' if len(rows) > 4 else ''}"


def _check_names(
    table: RawTable,
    required: Sequence[str],
    is_known: Callable[[str], bool],
    known: Sequence[str],
    problems: Problems,
) -> None:
    allowed = ["date", *(name for name in known if name != "date")]
    unknown = [name for name in table.columns if name not in required and not is_known(name)]
    lacking = [name for name in required if name not in table.columns]
    if any(_is_value(name) for name in table.columns):
        wanted = ",".join(required)
        problems.append((1, f"values stand where the columns' names belong: put a header such as {wanted} above them"))
        return
    if unknown and lacking and tuple(required) == _OF_MARKET:
        problems.append((1, _no_layout(list(table.columns), unknown, lacking)))
        return
    for name in unknown:
        if name == "":
            hint = "an index? Save the file without it (pandas: index=False)"
        elif _ADJUSTED.match(name):
            hint = "adjusted prices are not what was traded: leave it out"
        else:
            near = get_close_matches(name.lower(), [one for one in allowed if one not in table.columns], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(allowed)}"
        problems.append((1, f"unknown column {name!r}; {hint}"))
    for name in lacking:
        problems.append((1, f"the column {name!r} is missing; the header is {', '.join(table.columns)}"))


def _is_value(name: str) -> bool:
    return _DAY.fullmatch(name) is not None or re.fullmatch(r"-?\d+(\.\d+)?", name) is not None


def _no_layout(header: Sequence[str], unknown: Sequence[str], lacking: Sequence[str]) -> str:
    """Why a market file's header tells nothing, and how the settings name its columns."""
    mapped = []
    for ours in lacking:
        likely = [name for word in _LIKELY[ours] for name in unknown if re.search(word, name, re.IGNORECASE)]
        theirs = next((name for name in likely if not _ADJUSTED.match(name)), f"<its {ours}>")
        # As a key of YAML: what is more than words is quoted.
        key = theirs if re.fullmatch(r"[A-Za-z<][\w <>]*", theirs) else json.dumps(theirs, ensure_ascii=False)
        mapped.append(f"{key}: {ours}")
    return (
        f"the header {', '.join(header)} is of no layout that is known, and has no {' and no '.join(lacking)}: name "
        f"its columns in the series' entry of the YAML file, such as `columns: {{{', '.join(mapped)}}}` (with `dates: "
        "day-first` or `month-first` where dates such as 03/04/2024 may be either)"
    )


def _dates(values: NDArray[Any], rows: NDArray[np.int64], problems: Problems) -> Dates:
    if values.dtype.kind == "M":
        problems.extend((int(row), "the date is blank") for row in rows[np.isnat(values)])
        return values
    if values.dtype != object:  # numbers of a column that the settings call the date
        values = np.array(["" if value != value else f"{value:.15g}" for value in values.tolist()], object)
    days: list[str] = []
    zones: dict[str, int] = {}
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        match = _DAY.fullmatch(value)
        if match is None:
            days.append("NaT")
            problems.append((row, _date_reason(value)))
            continue
        days.append(match[1])
        zones.setdefault(_offset(match[2]), row)
    if len(zones) > 1:
        (first, _), (other, row) = list(zones.items())[:2]
        problems.append((row, f"time zones are mixed: {other} here, {first} above; write dates as YYYY-MM-DD"))
    try:
        return np.array(days, "datetime64[D]")
    except ValueError:
        return _existing(days, rows, problems)


def _date_reason(value: str) -> str:
    if value == "":
        return "the date is blank"
    if _STAMP.fullmatch(value):
        return f"date {value!r} is not a plain midnight: daily rows are dated YYYY-MM-DD"
    return f"date {value!r} cannot be read unambiguously: write it as YYYY-MM-DD"


def _offset(zone: str | None) -> str:
    if zone is None:
        return "no zone"
    digits = zone.replace(":", "")
    return "+0000" if digits in ("Z", "-0000") else digits


def _existing(days: list[str], rows: NDArray[np.int64], problems: Problems) -> Dates:
    found = np.full(len(days), "NaT", "datetime64[D]")
    for position, day in enumerate(days):
        try:
            found[position] = np.datetime64(day, "D")
        except ValueError:
            problems.append((int(rows[position]), f"date {day!r} does not exist"))
    return found


def _regions(values: NDArray[Any], rows: NDArray[np.int64], problems: Problems) -> NDArray[Any]:
    names = values if values.dtype == object else values.astype(str).astype(object)
    blank = names == ""
    if not (blank.all() and problems):  # a file that names no place at all has been told as such
        problems.extend((int(row), "the region is blank") for row in rows[blank])
    return names


def _numbers(name: str, values: NDArray[Any], rows: NDArray[np.int64], problems: Problems) -> Floats:
    if values.dtype.kind in "Mm":
        return _no_dates(name, values, rows, problems)
    if values.dtype != object:
        found: Floats = values.astype("float64")
    else:
        # float() also reads 1_000 and digits of other scripts, which in a price file are slips.
        whole = "".join(values.tolist())
        plain = whole.isascii() and "_" not in whole
        try:
            if not plain:
                raise ValueError
            found = np.where(values == "", "nan", values).astype("float64")
        except ValueError:
            found = _readable(name, values, rows, problems)
    for position in np.flatnonzero(np.isinf(found)):
        problems.append((int(rows[position]), f"{name} is infinite ({values[position]})"))
    return found


def _no_dates(name: str, values: NDArray[Any], rows: NDArray[np.int64], problems: Problems) -> Floats:
    """A column whose type is a date's: its days since 1970 would pass for figures. One without any value is missing."""
    for position in np.flatnonzero(~np.isnat(values))[:1]:
        reason = f"{name} holds dates, not numbers: {str(values[position])!r}; save the column as numbers"
        problems.append((int(rows[position]), reason))
    return np.full(len(values), np.nan)


def _readable(name: str, values: NDArray[Any], rows: NDArray[np.int64], problems: Problems) -> Floats:
    found = np.full(len(values), np.nan)
    for position, value in enumerate(values.tolist()):
        if value == "":
            continue
        try:
            if not value.isascii() or "_" in value:
                raise ValueError
            found[position] = float(value)
        except ValueError:
            mend = ""
            if re.fullmatch(r"-?[\d.]*\d,\d+", value):
                mend = "; a decimal comma? save the numbers with a point, or map the file's columns in `columns`"
            problems.append((int(rows[position]), f"{name} is not a number: {value!r}{mend}"))
    return found


def _check_order(
    dates: Dates, regions: NDArray[Any] | None, rows: NDArray[np.int64], today: dt.date, problems: Problems
) -> None:
    """Future, implausibly early, duplicate and descending dates; the last two within a region where there are any."""
    import pandas as pd

    future = dates > np.datetime64(today, "D") + 1
    problems.extend((int(rows[i]), f"date {dates[i]} lies after today, {today}") for i in np.flatnonzero(future))
    early = dates < np.datetime64(EARLIEST, "D")
    problems.extend((int(rows[i]), f"date {dates[i]} lies before {EARLIEST}") for i in np.flatnonzero(early))
    group = np.zeros(len(dates), np.int64) if regions is None else pd.factorize(regions)[0]
    kept = np.flatnonzero(~np.isnat(dates))
    order = kept[np.argsort(group[kept], kind="stable")]
    same = group[order[1:]] == group[order[:-1]]
    falls = np.flatnonzero(same & (dates[order[1:]] < dates[order[:-1]]))
    for i in falls:
        row, before, after = int(rows[order[i + 1]]), dates[order[i]], dates[order[i + 1]]
        problems.append((row, f"dates are not sorted: {after} comes after {before}"))
    order = kept[np.lexsort((dates[kept], group[kept]))]
    equal = (group[order[1:]] == group[order[:-1]]) & (dates[order[1:]] == dates[order[:-1]])
    for i in np.flatnonzero(equal):
        place = "" if regions is None else f" of region {regions[order[i]]!r}"
        reason = f"date {dates[order[i]]}{place} is there twice, before in row {rows[order[i]]}"
        problems.append((int(rows[order[i + 1]]), reason))


def glitches(
    file: str, frame: pd.DataFrame, columns: Collection[str], rows: Sequence[int] | None = None
) -> list[Suspect]:
    """Values that jump by a fifth or more for one observation and then return to within 5 % of the level before.

    Levels below a twentieth of the column's median size are left out: near zero a percentage means nothing. rows: the
    file's line of each row of the frame, where it has lines.
    """
    found = []
    for name in columns:
        values = frame[name].to_numpy("float64")
        at = np.flatnonzero(np.isfinite(values))
        if len(at) < 3:
            continue
        before, value, after = values[at[:-2]], values[at[1:-1]], values[at[2:]]
        floor = 0.05 * float(np.median(np.abs(values[at])))
        jumps = (before > floor) & (np.abs(value - before) >= GLITCH_MOVE * np.abs(before))
        back = np.abs(after - before) <= GLITCH_REVERT * np.abs(before)
        for i in np.flatnonzero(jumps & back):
            place = int(at[i + 1])
            day = str(frame["date"].iloc[place].date())
            reason = f"looks like a vendor glitch: {before[i]:g}, then {value[i]:g}, then {after[i]:g}; kept as it is"
            found.append(Suspect(file, None if rows is None else int(rows[place]), name, day, float(value[i]), reason))
    return found
