"""What the readers of weather share: units, hours that become days, and what a place is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.sources.formats.sheet import Problems

HOURS_OF_A_DAY = 20
"""Hourly values that a day needs: fewer are a partial day, whose extremes and sums mean nothing."""

_SCALES: dict[str, tuple[float, float]] = {
    "°c": (1.0, 0.0),
    "c": (1.0, 0.0),
    "°f": (5 / 9, -32 * 5 / 9),
    "k": (1.0, -273.15),
    "mm": (1.0, 0.0),
    "mm/day": (1.0, 0.0),
    "inch": (25.4, 0.0),
    "cm": (10.0, 0.0),
    "%": (1.0, 0.0),
    "km/h": (1.0, 0.0),
    "m/s": (3.6, 0.0),
    "mp/h": (1.609344, 0.0),
    "mph": (1.609344, 0.0),
    "kn": (1.852, 0.0),
}
"""Unit -> factor and offset to the platform's: °C, mm, %, km/h."""


def converted(values: Floats, unit: str) -> Floats:
    """Values [n] in the platform's unit (°C, mm, %, km/h), rounded to a thousandth. Raises ValueError for an unknown
    unit."""
    scale = _SCALES.get(unit.strip().lower())
    if scale is None:
        raise ValueError(f"the unit {unit!r} is unknown; known are {', '.join(_SCALES)}")
    factor, offset = scale
    return values if scale == (1.0, 0.0) else np.round(values * factor + offset, 3)


def places(named: Sequence[str], region: Callable[[str], str], place: str | None) -> list[str]:
    """The region of each place that a file names; a single one is called as the file where no mapping knows it."""
    unknown = [name for name in named if region(name) == name]
    if len(named) == 1 and unknown and place:
        return [place]
    return [region(name) for name in named]


Aggregate = Callable[[Floats], float]


def daily(
    stamps: NDArray[np.datetime64],
    columns: Mapping[str, tuple[Floats, Aggregate]],
    rows: NDArray[np.int64],
) -> tuple[Dates, dict[str, Floats], NDArray[np.int64], Problems]:
    """Hours as days: dates, columns, the first row of each, and the partial days that are left out.

    stamps: the local hour that each record is of, datetime64[h] [n]. A column with fewer than HOURS_OF_A_DAY values
    on a day is missing there; a day on which all are is left out.
    """
    days, first, which = np.unique(stamps.astype("datetime64[D]"), return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    edges = np.searchsorted(which[order], np.arange(len(days) + 1))
    found = {name: np.full(len(days), np.nan) for name in columns}
    most = np.zeros(len(days), np.int64)
    for name, (values, aggregate) in columns.items():
        for at in range(len(days)):
            hours = values[order[edges[at] : edges[at + 1]]]
            hours = hours[np.isfinite(hours)]
            most[at] = max(most[at], len(hours))
            if len(hours) >= HOURS_OF_A_DAY:
                found[name][at] = round(aggregate(hours), 3)
    whole = most >= HOURS_OF_A_DAY
    left_out: Problems = [
        (int(rows[first[at]]), f"{days[at]} has {most[at]} of 24 hours: a partial day") for at in np.flatnonzero(~whole)
    ]
    return days[whole], {name: values[whole] for name, values in found.items()}, rows[first][whole], left_out
