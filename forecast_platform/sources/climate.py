"""Physical limits of weather, what stands for missing in which service, and units that give themselves away."""

from __future__ import annotations

import numpy as np

from forecast_platform.forecasting.history import Bools, Floats

LIMITS = {
    "temp_max_c": (-90.0, 60.0),
    "temp_min_c": (-90.0, 60.0),
    "temp_mean_c": (-90.0, 60.0),
    "precipitation_mm": (0.0, 2000.0),
    "humidity_mean_pct": (0.0, 100.0),
    "wind_speed_max_kmh": (0.0, 450.0),
}
"""Column -> least and largest value that has ever been possible for a day."""

SENTINELS = {
    -999.0: "NASA POWER",
    -99.0: "NASA POWER",
    -9999.0: "INMET and GHCN-Daily",
    9999.9: "GSOD",
    999.9: "GSOD",
    9999.0: "ISD",
    -99.9: "ASCII tables",
    -999.9: "ASCII tables",
    -9999.9: "ASCII tables",
}
"""Values that stand for missing, and where; they count as such only beyond LIMITS."""


def beyond(name: str, values: Floats) -> Bools:
    """Which values of a weather column cannot be, [n]; missing ones are not."""
    low, high = LIMITS[name]
    found: Bools = (values < low) | (values > high)
    return found


def sentinels(name: str, values: Floats) -> Bools:
    """Which values stand for missing, [n]."""
    found: Bools = beyond(name, values) & np.isin(values, list(SENTINELS))
    return found


def unit_hint(name: str, values: Floats) -> str:
    """What an impossible column [n], NaN where a value is missing, probably is counted in; '' where nothing says so."""
    known = values[np.isfinite(values) & ~np.isin(values, list(SENTINELS))]
    if len(known) == 0 or not name.startswith("temp_"):
        return ""
    middle = float(np.median(known))
    if 200 < middle < 330 and float(known.min()) > 180:
        return "kelvin? subtract 273.15"
    high, whole = float(np.percentile(known, 95)), bool(np.all(known == np.round(known)))
    if high > 130 and whole:
        return "tenths of a degree? divide by 10"
    if 30 < middle < 130:
        # Whole numbers may be either in a cold place; no place has 130 °F.
        if high > 60 and whole:
            return "Fahrenheit? convert to °C (or tenths of a degree: compare with a day that you know)"
        return "Fahrenheit? convert to °C"
    return ""


def fraction(name: str, values: Floats) -> bool:
    """Whether a humidity in per cent, values [n] with NaN, looks like a share of 1: no place is at 1 % all the time."""
    known = values[np.isfinite(values)]
    return name == "humidity_mean_pct" and len(known) >= 30 and float(known.max()) <= 1.0 and float(known.max()) > 0


def too_warm(name: str, values: Floats) -> bool:
    """Whether a temperature column, values [n] in C with NaN, is warmer than any place on earth in the mean: Fahrenheit
    within the limits."""
    known = values[np.isfinite(values)]
    most = {"temp_max_c": 45.0, "temp_mean_c": 38.0, "temp_min_c": 33.0}.get(name, np.inf)
    return len(known) >= 30 and float(known.mean()) > most
