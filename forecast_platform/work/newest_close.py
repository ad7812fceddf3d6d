"""Whether a series' newest close can be believed, judged by what the newest forecast held possible for its day."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.sources.meaning import CUT
from forecast_platform.warehouse.schemas import FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work.fits import manifests
from forecast_platform.work.forecast_chunk import read_chunk_inputs
from forecast_platform.work.platform import Platform

FARTHEST = 4.0
"""Half widths of a 95 % band that a close may lie from its middle, and from the close before: about eight standard
deviations."""

YEAR, FREQUENT = 250, 5
"""Closes among which a move as large as the newest one, seen that often, makes it a common one."""

DECADE, SEEN, LARGER = 2500, 3, 1.5
"""Closes, about ten years' worth, of which the newest relative move may be LARGER times the one that is SEEN-th: gas
that doubled overnight before may do so again, and a slip left in the past, which makes two moves, excuses none.

With bands of an exponentially weighted deviation (decay 0.94) that holds six of the 75,272 real moves in 14 files of
prices, at most one in ten years of a file: Henry Hub's of 2003 and 2024, WTI's of 2020-04-20 and the day after, and
where the future rolled corn's of July 2013 and soybeans' of September 2008. Of 57,440 closes cut to their tenth or
hundredth, or ten or a hundred times as large, one is not held here or refused by the source (Henry Hub, in the week of
February 2021 in which it went from 3.76 to 23.86 and back)."""


def unconfirmed_jump(platform: Platform, series: str) -> str | None:
    """Why nothing is forecast from the newest close until a person has confirmed it, with value and mend; None where it
    can be believed, or nothing was forecast for its day.

    It jumps where every model's newest forecast of its day holds it impossible and the close before does not support
    it: a second close at the new level confirms the first, and so does a forecast that was made from it and from what
    is known now, as after --accept. Raises NoDataError where the series has no data.
    """
    table = platform.series_table(series)
    closes = table.columns["close"][table.columns["is_observed"]][-DECADE:]
    day = table.last_observed
    # The closes first, which are in memory: the forecasts' table is read for few of a thousand.
    if common(closes) or day in platform.settings.series_named(series).confirmed:
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


def common(closes: Floats) -> bool:
    """Whether the last move, up or down, of closes [n] is one that those before it (at most DECADE, by date) say to
    expect: seen FREQUENT times in a YEAR, or not much larger in relation to the price than the SEEN-th of all.

    A fifth of the close before, or five times it, is expected by the former only: a number may have broken off.
    """
    moves = np.abs(np.diff(closes))
    if len(moves) == 0 or int((moves[-YEAR + 1 : -1] >= moves[-1]).sum()) >= FREQUENT:
        return True
    size = np.maximum(np.abs(closes[1:]), np.abs(closes[:-1]))
    relative = np.divide(moves, size, out=np.zeros(len(moves)), where=size > 0)
    if len(relative) <= SEEN or relative[-1] >= 1 - 1 / CUT:
        return False
    return bool(relative[-1] <= LARGER * np.partition(relative[:-1], -SEEN)[-SEEN])


def _newest_forecasts(platform: Platform, series: str, day: dt.date) -> list[dict[str, Any]]:
    """What the newest forecast that was made before `day`'s close was known says of it, a row a model and version."""
    columns = ["forecast_date", "forecast_median", "lower_95", "upper_95"]
    where = {"commodity": series, "target_date": day, "model_success": True}
    rows = platform.warehouse.read(POINT_FORECASTS, columns, where).to_pylist()
    newest = max((row["forecast_date"] for row in rows), default=None)
    return [row for row in rows if row["forecast_date"] == newest]


def _impossible(row: dict[str, Any], before: float, close: float) -> bool:
    return far(row["forecast_median"], (row["upper_95"] - row["lower_95"]) / 2, before, close)


def far(median: float, half: float, before: float, close: float) -> bool:
    """Whether `close` is FARTHEST half widths of a band from its middle and from the close before."""
    return half > 0 and min(abs(close - median), abs(close - before)) > FARTHEST * half


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
