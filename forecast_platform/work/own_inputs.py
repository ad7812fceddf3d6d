"""What a forecast is made from beside other models' forecasts: the history, and what identifies each date's share."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Dates, History
from forecast_platform.work.chunks import Inputs
from forecast_platform.work.fits import FitManifest
from forecast_platform.work.platform import Platform, row_hashes


def own_inputs(platform: Platform, stored: FitManifest, series: str, dates: Sequence[dt.date]) -> Inputs:
    """The history that a fit's forecasts of `dates` read, the hash of each date's share of it, and the dates that
    cannot be forecast.

    Raises NoDataError where rows or covariates are missing.
    """
    settings = platform.settings
    origins = np.array(sorted(dates), "datetime64[D]")
    table = platform.series_table(series)
    history = table.history(stored.history_start, origins[-1], stored.covariates, stored.reads)
    failed: dict[dt.date, str] = {}
    observed = history.observed_dates
    known = np.searchsorted(observed, origins)
    for origin in origins[known == 0]:
        failed[origin.astype(dt.date)] = f"data of {series} begin on {observed[0]}; nothing is known before {origin}"
    origins, known = origins[known > 0], known[known > 0]
    last = observed[known - 1] if len(origins) else origins
    seen = table.seen_days(settings.publication_lag_days.market)
    due = seen[np.maximum(np.searchsorted(seen, origins) - 1, 0)]
    staleness = np.maximum((due - last).astype(int), 0)
    fresh = staleness <= settings.max_staleness_days
    for origin, newest, late in zip(origins[~fresh], last[~fresh], staleness[~fresh], strict=True):
        failed[origin.astype(dt.date)] = (
            f"data of {series} end on {newest}, {late} days before the last session due; at most "
            f"{settings.max_staleness_days} are allowed: ingest newer data or raise max_staleness_days"
        )
    origins, last, staleness = origins[fresh], last[fresh], staleness[fresh]
    if reason := stored.other_unit(history):
        failed.update(dict.fromkeys(origins.astype(dt.date).tolist(), reason))
        origins, last, staleness = origins[:0], last[:0], staleness[:0]
    running = row_hashes(history)
    rows_before = np.clip((origins - history.dates[0]).astype(int), 0, len(history))
    trading = history.trading(origins, platform.horizon) if len(origins) else np.empty((0, platform.horizon), bool)
    rolls = _rolls_ahead(history, origins, last, platform.horizon)
    fixed = f"{settings.seed}\x1f{settings.n_paths}\x1f{stored.window.start}\x1f".encode()
    hashes = [
        hashlib.blake2b(fixed + running[count].encode() + mask.tobytes() + ahead, digest_size=8).hexdigest()
        for count, mask, ahead in zip(rows_before, trading, rolls, strict=True)
    ]
    return Inputs(history, origins, hashes, last, [int(days) for days in staleness], failed)


def _rolls_ahead(history: History, origins: Dates, last: Dates, horizon: int) -> list[bytes]:
    """What each of `origins` [n] knows of the rolls between its last observed day, `last` [n], and `horizon` days on,
    as bytes for its hash; empty for none."""
    if history.schedule is None:
        return [b""] * len(origins)
    days, months = history.schedule.dates.astype(np.int64), history.schedule.months
    begins = np.searchsorted(history.schedule.dates, last, side="right")
    ends = np.searchsorted(history.schedule.dates, origins + horizon * ONE_DAY, side="left")
    return [np.stack([days[a:b], months[a:b]]).tobytes() for a, b in zip(begins, ends, strict=True)]
