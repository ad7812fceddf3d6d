"""The scores of many series together, with the price of their time: what pooled comparisons are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.horizon import suffixes
from forecast_platform.pages.display import metadata_frame
from forecast_platform.pages.oracles import oracle_losses, over_series
from forecast_platform.pages.pooled import PRICE, OverAll, calibrations, pooled_board
from forecast_platform.settings.groups import SeriesGroup
from forecast_platform.warehouse.schemas import FORECAST_METADATA, UNIFIED_DATA
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

_MEASURES = ("crps", "coverage_80", "coverage_95", "mae", "rmse", "mape")


def scored_series(platform: Platform) -> list[str]:
    """Every series of the tables that has forecasts, also those that other code locations made; sorted."""
    return sorted(set(platform.warehouse.read(FORECAST_METADATA, ["commodity"])["commodity"].unique().to_pylist()))


def panel(
    platform: Platform, series: Sequence[str] | None = None, models: Sequence[str] | None = None
) -> dict[str, pd.DataFrame]:
    """By series (all of the tables where None) its scored rows, of `models` or of all, with the column PRICE."""
    found = {}
    scores = [f"{measure}_{span}" for span in suffixes(platform.horizon) for measure in _MEASURES]
    scores.append("dir_day0")
    for name in scored_series(platform) if series is None else series:
        frame = metadata_frame(platform, name, models, scores)
        rows = platform.warehouse.read(UNIFIED_DATA, ["date", "close"], {"commodity": name}).sort_by("date")
        days, close = rows["date"].to_numpy().astype("datetime64[D]"), rows["close"].to_numpy()
        last = frame["last_observed_date"].to_numpy("datetime64[D]")
        place = np.minimum(np.searchsorted(days, last), max(len(days) - 1, 0))
        known = (days[place] == last) if len(days) else np.zeros(len(last), bool)
        found[name] = frame.assign(**{PRICE: np.where(known, close[place], np.nan) if len(days) else np.nan})
    return found


def over_all(platform: Platform, group: SeriesGroup | None = None) -> OverAll:
    """What the reports show of all series of the tables together; with a named `group`, of that group's: each group's
    scores look at their own series only, or ten groups would read every series ten times."""
    named = group is not None and bool(group.name)
    frames = panel(platform, group.series if group is not None and named else None)
    frames = {name: frame for name, frame in frames.items() if len(frame)} if named else frames
    # Of a series that another code location made, nothing says what its rolls are.
    known = [name for name in frames if name in platform.settings.series_names]
    oracles = over_series((oracle_losses(platform, name, frames[name]) for name in known), platform.horizon)
    return OverAll(pooled_board(frames), calibrations(frames), oracles, group.name if group is not None else "")
