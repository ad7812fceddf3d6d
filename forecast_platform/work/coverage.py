"""Which forecast dates there are, by model: what is covered, and the gaps as ranges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import ranges

ENDED = dt.timedelta(days=31)
"""Data without a close for longer than this have ended; before, they are late."""


@dataclass(frozen=True)
class Coverage:
    """One series and model: the dates it has, and the ranges that are missing from what is expected."""

    series: str
    model: str
    version: str
    dates: int
    first: dt.date | None
    last: dt.date | None
    gaps: list[tuple[dt.date, dt.date]]


def expected_dates(platform: Platform, series: str) -> list[dt.date]:
    """Forecast dates that there ought to be: from the first window to the day after the last observed close."""
    newest = platform.series_table(series).last_observed
    last = min(newest + dt.timedelta(days=1), platform.settings.end_of(series) or platform.settings.today())
    first = platform.settings.start_date
    return [first + dt.timedelta(days=offset) for offset in range((last - first).days + 1)]


def last_allowed(platform: Platform, series: str) -> dt.date:
    """The last date that a forecast can be made for from the data there are: after it the newest close is older than
    max_staleness_days. Raises NoDataError where the series has no data."""
    table, settings = platform.series_table(series), platform.settings
    seen = table.seen_days(settings.publication_lag_days.market)
    beyond = seen[seen > np.datetime64(table.last_observed, "D") + settings.max_staleness_days]
    # A session's close is read from the day after it on.
    return beyond[0].item() if len(beyond) else seen[-1].item()


def coverage(
    platform: Platform, series: str, models: Sequence[str], version: str, *, in_use: bool = False
) -> list[Coverage]:
    """The coverage of each model: dates with paths and points. Raises NoDataError where the series has no data.

    in_use: dates before the first forecast of any of the models are not missed.
    """
    expected = expected_dates(platform, series)
    covered: dict[str, list[dt.date]] = {}
    for model in models:
        owner = {"commodity": series, "model_name": model, "model_version": version}
        where = {**owner, "day_ahead": 1, "model_success": True}
        points = platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], where)["forecast_date"].to_pylist()
        # A forecast is both: what was lost of one table is not covered by the other.
        where = {**owner, "path_id": 0, "has_data_leakage": False}
        paths = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)["forecast_date"].to_pylist()
        covered[model] = sorted(set(points) & set(paths))
    begun = min((days[0] for days in covered.values() if days), default=expected[0] if expected else None)
    wanted = {day for day in expected if not in_use or begun is None or day >= begun}
    found = []
    for model, days in covered.items():
        gaps = ranges(wanted - set(days))
        first, last = (days[0], days[-1]) if days else (None, None)
        found.append(Coverage(series, model, version, len(days), first, last, gaps))
    return found
