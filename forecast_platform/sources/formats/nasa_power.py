"""NASA POWER, daily CSV of a point: a block between -BEGIN HEADER- and -END HEADER-, as long as it has parameters.

Seen to 2024: `YEAR,DOY,...` or `YEAR,MO,DY,...`; missing is what the block says, -999. Temperatures are in C,
PRECTOTCORR in mm/day, RH2M in %, winds in m/s.
"""

from __future__ import annotations

import re

import numpy as np

from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet, ascending, body, dates, numbers
from forecast_platform.sources.formats.weather import converted, places

NAME, KIND = "NASA POWER", "weather"
_COLUMNS = {
    "T2M_MAX": ("temp_max_c", "C"),
    "T2M_MIN": ("temp_min_c", "C"),
    "T2M": ("temp_mean_c", "C"),
    "PRECTOTCORR": ("precipitation_mm", "mm"),
    "PRECTOT": ("precipitation_mm", "mm"),
    "RH2M": ("humidity_mean_pct", "%"),
    "WS10M_MAX": ("wind_speed_max_kmh", "m/s"),
    "WS2M_MAX": ("wind_speed_max_kmh", "m/s"),
}


def header(sheet: Sheet) -> int | None:
    """The position of the header below the block."""
    if not sheet.names()[:1] or not sheet.names()[0].startswith("-BEGIN HEADER-"):
        return None
    end = sheet.find(lambda cells: cells[0].startswith("-END HEADER-"), 400)
    return None if end is None or sheet.names(end + 1)[:1] != ["YEAR"] else end + 1


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows. The place is called as the mapping says of `latitude longitude`, or as the file.

    Raises ValueError for an unknown unit.
    """
    block = "\n".join(",".join(cells) for _, cells in sheet.records[:head])
    missing = re.search(r"cannot be computed[^:]*:\s*(-?\d+(?:\.\d+)?)", block)
    where = re.search(r"Latitude\s+(-?[\d.]+)\s+Longitude\s+(-?[\d.]+)", block, re.IGNORECASE)
    [region] = places([f"{where[1]} {where[2]}" if where else ""], meaning.region, meaning.place)
    names = sheet.names(head)
    records, problems, _ = body(sheet, head)
    rows = [row for row, _ in records]
    if not region or (where and region == f"{where[1]} {where[2]}"):
        reason = f"the file names no region: call it weather_<region>.csv, or map {region!r} in `files.regions`"
        problems.append((None, reason))
    if {"MO", "DY"} <= set(names):
        at = [names.index(name) for name in ("YEAR", "MO", "DY")]
        days = dates(["-".join(cells[i] for i in at) for _, cells in records], rows, None, problems)
    else:
        at = [names.index(name) for name in ("YEAR", "DOY")]
        starts = dates([f"{cells[at[0]]}-01-01" for _, cells in records], rows, None, problems)
        passed = numbers("DOY", [cells[at[1]] for _, cells in records], rows, problems)
        days = starts + np.nan_to_num(passed - 1).astype("timedelta64[D]")
    found = {"date": days, "region": np.full(len(rows), region, object)}
    for position, name in enumerate(names):
        if name in _COLUMNS:
            ours, unit = _COLUMNS[name]
            values = numbers(name, [cells[position] for _, cells in records], rows, problems)
            values[values == (float(missing[1]) if missing else -999.0)] = np.nan
            found[ours] = converted(values, unit)
    if len(found) == 2:
        problems.append((sheet.records[head][0], f"none of the parameters {', '.join(_COLUMNS)}"))
    notes = tuple(f"not read: {name}" for name in names if name not in (*_COLUMNS, "YEAR", "MO", "DY", "DOY"))
    table = RawTable(sheet.file, found, np.array(rows, np.int64), tuple(problems), NAME, (), notes)
    return ascending(table) if not problems else table
