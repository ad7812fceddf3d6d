"""How good the members of a combination were before its dates: losses of their stored forecasts, and the weights."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats, History
from forecast_platform.forecasting.trailing import MemberScores, quantile_losses
from forecast_platform.forecasting.validation import other_prices_by_bands
from forecast_platform.models.base import Model
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import POINT_FORECASTS
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from forecast_platform.work.fits import FitManifest

_QUANTILES = ("lower_95", "lower_80", "forecast_median", "upper_80", "upper_95")
"""The columns of point_forecasts that hold the quantiles of `trailing.LEVELS`."""


def weights_of(
    platform: Platform, record: FitManifest, model: Model, history: History, origins: Dates, there: Bools
) -> Floats | None:
    """The members' weights on each of `origins`, [n_members, n_origins], shares of sum 1; None for a model that reads
    no scores.

    Scores come from the stored forecasts of the dates before, and from the closes in `history`, so they are the same
    whether those dates have been scored or not; `history` ends before the last origin. Forecasts that began at other
    prices than the history now has count as not there.
    """
    if not model.scored_days or not len(origins):
        return None
    past = np.arange(-(model.scored_days + platform.horizon), (origins.max() - origins.min()).astype(int))
    scores = _scores(platform, record, model.of, history, origins.min() + past * ONE_DAY)
    return model.member_weights(scores, there, history, origins, record.window)


def _scores(
    platform: Platform, record: FitManifest, members: tuple[str, ...], history: History, dates: Dates
) -> MemberScores:
    quantiles = np.full((len(members), len(dates), platform.horizon, len(_QUANTILES)), np.nan)
    days: list[dt.date] = dates.astype(dt.date).tolist()
    for position, member in enumerate(members):
        where = keys_of(record.series, member, record.version, days, by_month=False)
        rows = platform.warehouse.read(POINT_FORECASTS, ["forecast_date", "day_ahead", *_QUANTILES], where)
        row = (rows["forecast_date"].to_numpy().astype("datetime64[D]") - dates[0]).astype(np.int64)
        ahead = rows["day_ahead"].to_numpy() - 1
        for place, name in enumerate(_QUANTILES):
            quantiles[position, row, ahead, place] = rows[name].to_numpy()
    # Those that are left in another unit would drown what the others say.
    known_before = np.searchsorted(history.observed_dates, dates)
    last_close = np.where(known_before > 0, history.observed_close[known_before - 1], np.nan)
    quantiles[other_prices_by_bands(last_close, quantiles[..., 0], quantiles[..., -1])] = np.nan
    targets = dates[:, None] + np.arange(platform.horizon) * ONE_DAY
    place = np.clip((targets - history.dates[0]).astype(np.int64), 0, len(history) - 1)
    known = (history.dates[place] == targets) & history.observed[place]
    truth = np.where(known, history.close[place], np.nan)
    return MemberScores(dates, quantile_losses(quantiles, truth))
