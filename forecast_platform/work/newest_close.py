"""Whether a series' newest close can be believed, judged by what the newest forecast held possible for its day."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.warehouse.schemas import FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work.fits import manifests
from forecast_platform.work.forecast_chunk import read_chunk_inputs
from forecast_platform.work.platform import Platform

FARTHEST = 4.0
"""Half widths of a 95 % band that a close may lie from its middle, and from the close before: about eight standard
deviations. Of the 75,272 moves in 14 files of real prices 12 are larger than eight of an exponentially weighted
deviation (decay 0.94), seven of them Henry Hub's; WTI's -36.98 of 2020-04-20 is one."""

YEAR, FREQUENT = 250, 5
"""Closes among which a move as large as the newest one, seen that often, makes it a common one."""


def unconfirmed_jump(platform: Platform, series: str) -> str | None:
    """Why nothing is forecast from the newest close until a person has confirmed it, with value and mend; None where it
    can be believed, or nothing was forecast for its day.

    It jumps where every model's newest forecast of its day holds it impossible and the close before does not support
    it: a second close at the new level confirms the first, and so does a forecast that was made from it and from what
    is known now, as after --accept. Raises NoDataError where the series has no data.
    """
    table = platform.series_table(series)
    closes = table.columns["close"][table.columns["is_observed"]][-YEAR:]
    day = table.last_observed
    # The year first, which is in memory: the forecasts' table is read for few of a thousand closes.
    if _common(closes) or day in platform.settings.series_named(series).confirmed:
        return None
    before, close = float(closes[-2]), float(closes[-1])
    rows = _newest_forecasts(platform, series, day)
    if not rows or not all(_impossible(row, before, close) for row in rows) or _made_from_it(platform, series, day):
        return None
    low, high = min(row["lower_95"] for row in rows), max(row["upper_95"] for row in rows)
    return (
        f"the newest close of {series}, {close:g} on {day}, is no close that the forecast of "
        f"{rows[0]['forecast_date']} held possible (95 %: {low:.4g} to {high:.4g}; the close before is {before:g}): "
        f"nothing is forecast from it until it is mended in the source or confirmed, by "
        f"`forecast-platform infer --commodity {series} --accept {day}` or "
        f"`confirmed: [{day}]` of the series"
    )


def _common(closes: Floats) -> bool:
    """Whether the last move is one that the closes before it saw, up or down, at least FREQUENT times."""
    moves = np.abs(np.diff(closes))
    return len(moves) == 0 or int((moves[:-1] >= moves[-1]).sum()) >= FREQUENT


def _newest_forecasts(platform: Platform, series: str, day: dt.date) -> list[dict[str, Any]]:
    """What the newest forecast that was made before `day`'s close was known says of it, a row a model and version."""
    columns = ["forecast_date", "forecast_median", "lower_95", "upper_95"]
    where = {"commodity": series, "target_date": day, "model_success": True}
    rows = platform.warehouse.read(POINT_FORECASTS, columns, where).to_pylist()
    newest = max((row["forecast_date"] for row in rows), default=None)
    return [row for row in rows if row["forecast_date"] == newest]


def _impossible(row: dict[str, Any], before: float, close: float) -> bool:
    half = (row["upper_95"] - row["lower_95"]) / 2
    return half > 0 and min(abs(close - row["forecast_median"]), abs(close - before)) > FARTHEST * half


def _made_from_it(platform: Platform, series: str, day: dt.date) -> bool:
    """Whether a stored forecast was made from `day`'s close as it is now: the one of Friday speaks for Saturday's."""
    columns = ["forecast_date", "model_name", "model_version", "model_id", "input_hash"]
    where = {"commodity": series, "model_success": True, "last_observed_date": day}
    for row in platform.warehouse.read(FORECAST_METADATA, columns, where).to_pylist():
        made = row["forecast_date"]
        fit = manifests(platform, series, row["model_name"], row["model_version"]).get(platform.window_start(made))
        if fit is None or fit.model_id != row["model_id"]:
            continue
        if row["input_hash"] in read_chunk_inputs(platform, fit, series, [made]).hashes:
            return True
    return False
