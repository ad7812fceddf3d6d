"""INMET (Brazil), hourly CSV of a station and year: eight lines about it, then `;`-separated hours with decimal commas.

Seen 2020 to 2026, in ISO-8859-1. Each line ends with `;`. Hours are UTC (`00:00`, or `0000 UTC` in newer files) and of
the hour before; days here are Brasília's (UTC-3), so that the rain and the frost of a night fall on one day. Missing is
blank or -9999. Days of fewer than 20 hours are left out: the file's first evening is the last of the year before.
"""

from __future__ import annotations

import re

import numpy as np

from forecast_platform.sources.formats.sheet import Meaning, Problems, RawTable, Record, Sheet, dates
from forecast_platform.sources.formats.weather import Aggregate, daily, places

NAME, KIND = "INMET", "weather"
_HOUR = re.compile(r"(\d{2}):?(\d{2})(?:\s*UTC)?")
_COLUMNS: tuple[tuple[str, str, Aggregate], ...] = (
    (r"PRECIPITA.*TOTAL.*HOR", "precipitation_mm", np.sum),
    (r"TEMPERATURA DO AR.*BULBO SECO", "temp_mean_c", np.mean),
    (r"TEMPERATURA M.XIMA", "temp_max_c", np.max),
    (r"TEMPERATURA M.NIMA", "temp_min_c", np.min),
    (r"UMIDADE RELATIVA DO AR, ?HOR", "humidity_mean_pct", np.mean),
    (r"VENTO, ?RAJADA", "wind_speed_max_kmh", np.max),
)
"""What a column's name holds -> our column, and how hours become a day. A gust is in m/s."""


def header(sheet: Sheet) -> int | None:
    """The position of the header of the hours."""
    if sheet.delimiter != ";":
        return None
    return sheet.find(
        lambda cells: len(cells) > 1 and re.match(r"DATA\b", cells[0], re.I) is not None and "UTC" in cells[1].upper(),
        14,
    )


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its days, a row each, from its hours: temperatures in C, rain in mm, humidity in per cent, by the station's
    region."""
    names = [name.upper() for name in sheet.names(head)]
    while names and not names[-1]:
        names.pop()
    about = {cells[0].rstrip(":").upper(): cells[1] for _, cells in sheet.records[:head] if len(cells) > 1}
    station = next((value for key, value in about.items() if re.match(r"ESTA..?O$", key)), "")
    [region] = places([station], meaning.region, meaning.place)
    problems: Problems = []
    records: list[Record] = []
    for row, cells in sheet.records[head + 1 :]:
        if len(cells) < len(names):
            problems.append((row, f"{len(cells)} cells where the header has {len(names)}"))
        else:
            records.append((row, cells))
    rows = [row for row, _ in records]
    stamps = _local_hours(records, rows, problems)
    columns: dict[str, tuple[np.ndarray, Aggregate]] = {}
    for pattern, ours, aggregate in _COLUMNS:
        at = next((i for i, name in enumerate(names) if re.match(pattern, name)), None)
        if at is not None:
            values = _decimals(ours, [cells[at] for _, cells in records], rows, problems)
            columns[ours] = (np.round(values * 3.6, 3) if ours == "wind_speed_max_kmh" else values, aggregate)
    if problems or not columns:
        reason = (sheet.records[head][0], "none of the columns of temperature, rain, humidity and wind is there")
        return RawTable(sheet.file, {}, np.empty(0, np.int64), tuple(problems or [reason]), NAME)
    days, found, first, left_out = daily(stamps, columns, np.array(rows, np.int64))
    table = {"date": days, "region": np.full(len(days), region, object), **found}
    notes = (f"station {station}", "days are Brasília's, UTC-3")
    return RawTable(sheet.file, table, first, (), f"{NAME} (hours)", tuple(left_out), notes)


def _local_hours(records: list[Record], rows: list[int], problems: Problems) -> np.ndarray:
    """The hour of Brasília that each record is of, datetime64[h] [n]."""
    days = dates([cells[0].replace("/", "-") for _, cells in records], rows, None, problems)
    hours = np.zeros(len(records), np.int64)
    for position, (row, cells) in enumerate(records):
        match = _HOUR.fullmatch(cells[1].strip())
        if match is None:
            problems.append((row, f"hour {cells[1]!r} is not such as 0300 UTC"))
        else:
            hours[position] = int(match[1])
    # The record of 03:00 UTC is of the hour that began at 02:00 UTC, 23:00 in Brasília.
    return days.astype("datetime64[h]") + (hours - 4).astype("timedelta64[h]")


def _decimals(name: str, cells: list[str], rows: list[int], problems: Problems) -> np.ndarray:
    found = np.full(len(cells), np.nan)
    for position, text in enumerate(cells):
        plain = text.replace(",", ".")
        if plain in ("", "null"):
            continue
        try:
            found[position] = float(plain)
        except ValueError:
            problems.append((rows[position], f"{name} is not a number: {text!r}"))
    found[found <= -9999] = np.nan
    return found
