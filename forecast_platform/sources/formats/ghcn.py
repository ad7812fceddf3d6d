"""NOAA GHCN-Daily by station (`STATION,DATE,...,PRCP,PRCP_ATTRIBUTES,...`) and by year (a row a station, day, element).

Seen to 2026. The files by year have no header at NCEI, and `ID,DATE,ELEMENT,DATA_VALUE,...` in the AWS copy; they count
in tenths. The access files count in tenths (of °C, mm, m/s), as whole numbers. An order of Climate Data Online has
the same names in metric units with decimals, or in °F and inches, of which it says nothing: the latter is refused.
Attributes are `measurement,quality,source[,time]`; a value with a quality flag failed a check and is missing.
"""

from __future__ import annotations

import re

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
_MISSING = -9999.0


_BY_YEAR = ["ID", "DATE", "ELEMENT", "DATA_VALUE", "M_FLAG", "Q_FLAG", "S_FLAG", "OBS_TIME"]
_STATION, _DAY, _ELEMENT = re.compile(r"[A-Z]{2}[A-Z0-9_-]{9}"), re.compile(r"\d{8}"), re.compile(r"[A-Z0-9]{4}")


def header(sheet: Sheet) -> int | None:
    """The header's position; 0 for a file by year, whose first record may be a station's already."""
    names = set(sheet.names())
    by_station = {"STATION", "DATE"} <= names and names & {"TMAX", "TMIN", "PRCP"}
    return 0 if by_station or sheet.names() == _BY_YEAR or _headless(sheet) else None


def _headless(sheet: Sheet) -> bool:
    cells = sheet.names()
    return len(cells) == len(_BY_YEAR) and all(
        pattern.fullmatch(cell) for pattern, cell in zip((_STATION, _DAY, _ELEMENT), cells, strict=False)
    )


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; several stations are several regions."""
    if _headless(sheet):
        return _by_year(Sheet(sheet.file, [(0, _BY_YEAR), *sheet.records]), meaning)
    if sheet.names(head) == _BY_YEAR:
        return _by_year(sheet, meaning)
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


def _by_year(sheet: Sheet, meaning: Meaning) -> RawTable:
    """Values in tenths below one another; where the settings map some of the stations, those alone."""
    records, problems, _ = body(sheet, 0)
    found_stations = list(dict.fromkeys(cells[0] for _, cells in records))
    mapped = [name for name in found_stations if name in meaning.regions]
    stations = mapped or found_stations
    # weather_2026.csv is called after its year, which is no region.
    place = None if meaning.place and meaning.place.isdigit() else meaning.place
    regions = dict(zip(stations, places(stations, meaning.region, place), strict=True))
    records = [one for one in records if one[1][0] in regions and one[1][2] in _COLUMNS]
    rows = [row for row, _ in records]
    days = dates([cells[1] for _, cells in records], rows, None, problems)
    values = numbers("value", [cells[3] for _, cells in records], rows, problems)
    failed = np.array([cells[5] != "" for _, cells in records], bool)
    values[failed | (values == _MISSING)] = np.nan
    where: dict[tuple[str, str], int] = {}
    at = np.array([where.setdefault((cells[0], cells[1]), len(where)) for _, cells in records], np.int64)
    elements = np.array([cells[2] for _, cells in records], object)
    _, first = np.unique(at, return_index=True)
    columns: dict[str, np.ndarray] = {
        "date": days[first],
        "region": np.array([regions[station] for station, _ in where], dtype=object),
    }
    for element, (ours, factor) in _COLUMNS.items():
        own = elements == element
        if own.any():
            columns[ours] = np.full(len(where), np.nan)
            part = 1.0 if element == "RHAV" else 0.1 * factor
            columns[ours][at[own]] = values[own] if part == 1.0 else np.round(values[own] * part, 3)
    notes = [f"{int(failed.sum()):,} values failed NOAA's checks and are missing"] if failed.any() else []
    notes += ["counted in tenths"]
    if len(stations) < len(found_stations):
        notes.append(f"{len(found_stations) - len(stations):,} stations that `files.regions` does not map are left out")
    named = f"{NAME} (by year)"
    table = RawTable(sheet.file, columns, np.array(rows, np.int64)[first], tuple(problems), named, (), tuple(notes))
    return ascending(table) if not problems else table
