"""What the packaged sample implies where nothing is said."""

from __future__ import annotations

import datetime as dt
from typing import Any

from forecast_platform.forecasting.windows import FREQUENCIES

START, END = dt.date(2010, 1, 1), dt.date(2019, 1, 4)
"""Forecast dates of the sample. Nine years, for one year of a single series shows any model ahead of naive, or behind
it, by chance."""


def sample_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Settings with the sample's series and, where neither end nor start nor series is given, its span."""
    series: dict[str, Any] = {"name": "WTI", "covariates": ["sp500", "vix"], "regions": [], "unit": "USD/bbl"}
    # A contract of NYMEX is of 1,000 barrels.
    series |= {"multiplier": 1000, "currency": "USD"}
    if not data.get("series") and not {"start_date", "end_date"} & set(data):
        cadence = FREQUENCIES.get(data.get("train_frequency", "semiannually"))
        data = {**data, "start_date": START if cadence is None else cadence.start_of(START)}
    return {"end_date": END, **data, "series": data.get("series") or [series]}
