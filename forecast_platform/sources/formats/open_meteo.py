"""Open-Meteo, daily or hourly CSV: two lines about the place, then a header with units; places by `location_id`.

Seen to 2026. Missing is `NaN`. A file of its forecast goes on for up to 16 days, which are left out. The file has one
utc_offset_seconds, so where a place has summer time its days are cut an hour off for half of the year.
"""

from __future__ import annotations

import re

import numpy as np

from forecast_platform.sources.formats.prices import without
from forecast_platform.sources.formats.sheet import (
    Meaning,
    Problems,
    RawTable,
    Sheet,
    ascending,
    body,
    dates,
    numbers,
)
from forecast_platform.sources.formats.weather import converted, daily, places

NAME, KIND = "Open-Meteo", "weather"

_DAILY = {
    "temperature_2m_max": "temp_max_c",
    "temperature_2m_min": "temp_min_c",
    "temperature_2m_mean": "temp_mean_c",
    "precipitation_sum": "precipitation_mm",
    "relative_humidity_2m_mean": "humidity_mean_pct",
    "wind_speed_10m_max": "wind_speed_max_kmh",
    "windspeed_10m_max": "wind_speed_max_kmh",
}
_HOURLY = {
    "temperature_2m": (("temp_max_c", np.max), ("temp_min_c", np.min), ("temp_mean_c", np.mean)),
    "precipitation": (("precipitation_mm", np.sum),),
    "relative_humidity_2m": (("humidity_mean_pct", np.mean),),
    "wind_speed_10m": (("wind_speed_max_kmh", np.max),),
}
_COLUMN = re.compile(r"(\w+?)(?: \((.+)\))?")


def header(sheet: Sheet) -> int | None:
    """The position of the daily (or hourly) header."""
    if not {"latitude", "longitude", "utc_offset_seconds"} <= set(sheet.names()):
        return None
    blocks = [at for at, (_, cells) in enumerate(sheet.records) if "time" in cells[:2]]
    daily_ones = [at for at in blocks if any(name.split(" ")[0] in _DAILY for name in sheet.names(at))]
    return next(iter([*daily_ones, *blocks]), None)


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows, one a day and place."""
    several = "location_id" in sheet.names()
    first = next(at for at, (_, cells) in enumerate(sheet.records) if "time" in cells[:2])
    about = [cells for _, cells in sheet.records[1:first] if cells != sheet.names()]
    named = [cells[sheet.names().index("location_id")] for cells in about] if several else [""]
    regions = dict(zip(named, places(named, meaning.region, meaning.place), strict=True))
    # Hours and days of one file are blocks below each other.
    end = next((at for at in range(head + 1, len(sheet.records)) if "time" in sheet.names(at)[:2]), len(sheet.records))
    sheet_ = Sheet(sheet.file, sheet.records[head:end])
    names = sheet_.names()
    records, problems, _ = body(sheet_, 0)
    rows = [row for row, _ in records]
    keys = [cells[names.index("location_id")] for _, cells in records] if "location_id" in names else [""] * len(rows)
    if "" in regions.values() or {"", *keys} - {"", *regions}:
        problems.append(
            (1, "the file names no region: call it weather_<region>.csv, or map its places in `files.regions`")
        )
    times = [cells[names.index("time")] for _, cells in records]
    place = np.array([regions.get(key, key) for key in keys], dtype=object)
    columns: dict[str, np.ndarray] = {}
    hourly: dict[str, tuple[np.ndarray, object]] = {}
    notes: list[str] = []
    for position, name in enumerate(names):
        match = _COLUMN.fullmatch(name)
        stem, unit = (match[1], match[2] or "") if match else (name, "")
        wanted = stem in _DAILY or stem in _HOURLY
        if name in ("time", "location_id") or not wanted:
            if name not in ("time", "location_id"):
                notes.append(f"not read: {name}")
            continue
        try:
            values = converted(numbers(stem, [cells[position] for _, cells in records], rows, problems), unit)
        except ValueError as error:
            problems.append((sheet_.records[0][0], f"{stem}: {error}"))
            continue
        if stem in _DAILY:
            columns[_DAILY[stem]] = values
        else:
            for ours, aggregate in _HOURLY[stem]:
                hourly[ours] = (values, aggregate)
    lines = np.array(rows, np.int64)
    if columns or not hourly:
        found = {"date": dates(times, rows, None, problems), "region": place, **columns}
        table = RawTable(sheet.file, found, lines, tuple(problems), NAME, (), tuple(notes))
        table = ascending(table) if not problems else table
    else:
        table = _hours(sheet.file, times, place, hourly, lines, problems, notes)
    return _measured(table, meaning)


def _measured(table: RawTable, meaning: Meaning) -> RawTable:
    """The table less the days from today on, which the service forecasts."""
    if table.problems or meaning.today is None:
        return table
    ahead = table.columns["date"] >= np.datetime64(meaning.today, "D")
    return without(table, ahead, "of today or later: forecast by the service, not measured")


def _hours(
    file: str,
    times: list[str],
    place: np.ndarray,
    hourly: dict[str, tuple[np.ndarray, object]],
    rows: np.ndarray,
    problems: Problems,
    notes: list[str],
) -> RawTable:
    try:
        stamps = np.array(times, "datetime64[h]")
    except ValueError:
        dates(times, rows.tolist(), None, problems)
        return RawTable(file, {}, np.empty(0, np.int64), tuple(problems), f"{NAME} (hours)")
    pieces, left_out = [], []
    for region in dict.fromkeys(place.tolist()):
        own = place == region
        part = {name: (values[own], aggregate) for name, (values, aggregate) in hourly.items()}
        days, columns, first, partial = daily(stamps[own], part, rows[own])  # type: ignore[arg-type]
        left_out += partial
        pieces.append(({"date": days, "region": np.full(len(days), region, object), **columns}, first))
    found = {name: np.concatenate([columns[name] for columns, _ in pieces]) for name in pieces[0][0]}
    lines = np.concatenate([first for _, first in pieces])
    table = RawTable(file, found, lines, tuple(problems), f"{NAME} (hours)", tuple(left_out), tuple(notes))
    return ascending(table) if not problems else table
