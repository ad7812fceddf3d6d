"""Comparisons over many series at once: what one series' few independent origins cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.metrics import diebold_mariano, standard_error

LEAST_LEVEL = 0.1
"""The price level of a date is at least this share of the series' median: no loss is divided by a price near zero."""

CONFIDENCE = 0.95


class Losses(NamedTuple):
    """One series' losses on the dates that a model and its reference share, ascending, each last close once: [n],
    losses in the price's unit."""

    dates: Dates
    loss: Floats
    reference: Floats
    level: Floats
    """The price of the time, in the losses' unit (the last known close): else expensive years dominate."""


class PooledSkill(NamedTuple):
    """The share of the reference's loss that is saved, over series."""

    skill: float
    low: float
    high: float
    """Ends of the 95 % confidence interval; nan where there are too few dates."""
    p_value: float
    n_dates: int
    n_series: int


def pooled_skill(series: Sequence[Losses], overlap: int) -> PooledSkill:
    """Skill over several series, with the confidence that dates, not series, give it.

    Losses are divided by the price level of their date, then by the series' mean reference loss, so that each series
    counts alike and each year of it too. They are averaged by date over the series that have it; the test is Diebold
    and Mariano's (1995) on these means with HAC variance to `overlap` sessions (as `diebold_mariano`), and so is the
    interval: what moves all commodities on a day is one observation and not many. Series without a usable date are left
    out; nan for none.
    """
    from scipy.special import stdtrit

    scaled = [found for found in map(_scaled, series) if found is not None]
    if not scaled:
        return PooledSkill(np.nan, np.nan, np.nan, np.nan, 0, 0)
    dates = np.concatenate([item[0] for item in scaled])
    days, place = np.unique(dates, return_inverse=True)
    counts = np.bincount(place)
    loss, reference = (np.bincount(place, np.concatenate([item[i] for item in scaled])) / counts for i in (1, 2))
    saved = reference - loss
    share = float(saved.mean() / reference.mean())
    error = standard_error(saved, overlap) / float(reference.mean())
    reach = float(stdtrit(len(days) - 1, 0.5 + CONFIDENCE / 2)) * error if len(days) > 1 else np.nan
    p_value = diebold_mariano(loss, reference, overlap).p_value
    return PooledSkill(share, share - reach, share + reach, p_value, len(days), len(scaled))


def _scaled(losses: Losses) -> tuple[Dates, Floats, Floats] | None:
    good = np.isfinite(losses.loss) & np.isfinite(losses.reference) & np.isfinite(losses.level)
    if not good.any():
        return None
    level = np.abs(losses.level[good])
    typical = float(np.median(level))
    if not typical > 0.0:
        return None
    level = np.maximum(level, LEAST_LEVEL * typical)
    own, reference = losses.loss[good] / level, losses.reference[good] / level
    size = float(reference.mean())
    return (losses.dates[good], own / size, reference / size) if size > 0.0 else None
