"""NOAA GHCN-Daily by station: `STATION,DATE,...,PRCP,PRCP_ATTRIBUTES,...,TMAX,TMAX_ATTRIBUTES`.

Seen to 2026. The access files count in tenths (of °C, mm, m/s), as whole numbers. An order of Climate Data Online has
the same names in metric units with decimals, or in °F and inches, of which it says nothing: the latter is refused.
Attributes are `measurement,quality,source[,time]`; a value with a quality flag failed a check and is missing.
"""

from __future__ import annotations

import numpy as np

from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet, ascending, body, dates, numbers
from forecast_platform.sources.formats.weather import places

NAME, KIND = "NOAA GHCN-Daily", "weather"
_COLUMNS = {
    "TMAX": ("temp_max_c", 1.0),
    "TMIN": ("temp_min_c", 1.0),
    "TAVG": ("temp_mean_c", 1.0),
    "PRCP": ("precipitation_mm", 1.0),
    "RHAV": ("humidity_mean_pct", 1.0),
    "WSF2": ("wind_speed_max_kmh", 3.6),
}
"""Element -> our column, and the factor from its metric unit."""


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = set(sheet.names())
    return 0 if {"STATION", "DATE"} <= names and names & {"TMAX", "TMIN", "PRCP"} else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; several stations are several regions."""
    names = sheet.names(head)
    records, problems, _ = body(sheet, head)
    rows = [row for row, _ in records]
    cells = {name: [record[position] for _, record in records] for position, name in enumerate(names)}
    stations = list(dict.fromkeys(cells["STATION"]))
    regions = dict(zip(stations, places(stations, meaning.region, meaning.place), strict=True))
    found: dict[str, np.ndarray] = {
        "date": dates(cells["DATE"], rows, None, problems),
        "region": np.array([regions[one] for one in cells["STATION"]], dtype=object),
    }
    raw = {name: numbers(name, cells[name], rows, problems) for name in _COLUMNS if name in cells}
    whole = {name: not any("." in text for text in cells[name]) for name in raw}
    temperatures = [whole[name] for name in ("TMAX", "TMIN", "TAVG") if name in raw]
    tenths = all(temperatures) and whole.get("PRCP", True)
    if temperatures and all(temperatures) and not tenths:
        reason = "temperatures are whole numbers and PRCP has decimals: this is °F and inches; order it in metric units"
        problems.append((sheet.records[head][0], reason))
    failed = 0
    for name, values in raw.items():
        flags = [text.split(",") for text in cells.get(f"{name}_ATTRIBUTES", [])]
        bad = np.array([len(flag) > 1 and flag[1].strip() != "" for flag in flags], bool)
        if len(bad):
            failed += int((bad & np.isfinite(values)).sum())
            values[bad] = np.nan
        ours, factor = _COLUMNS[name]
        part = 1.0 if name == "RHAV" or not tenths else 0.1
        found[ours] = values if part * factor == 1.0 else np.round(values * part * factor, 3)
    notes = [f"{failed:,} values failed NOAA's checks and are missing"] if failed else []
    notes += ["counted in tenths"] if tenths else []
    table = RawTable(sheet.file, found, np.array(rows, np.int64), tuple(problems), NAME, (), tuple(notes))
    return ascending(table) if not problems else table
