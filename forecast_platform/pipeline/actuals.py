"""Actuals: the closes of each forecast date's days as they become known, one row a date."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Dates
from forecast_platform.warehouse.base import Between, keys_of, months_between
from forecast_platform.warehouse.schemas import ACTUALS, DISTRIBUTIONS
from forecast_platform.work import store
from forecast_platform.work.platform import NoDataError, Platform
from forecast_platform.work.results import Outcome
from forecast_platform.work.rows import actuals_table, row_digests

_LATE_DAYS = 78
"""Days past its horizon for which a row of actuals is looked at: longer than any feed is late for."""


@dataclass(frozen=True)
class _Actuals:
    """Closes of forecast dates as known now, beside what is stored of them."""

    origins: Dates
    closes: NDArray[np.float64]
    hashes: list[str]
    new: NDArray[np.bool_]
    """Which are not stored, or stored with other closes; [n_origins], as the others."""
    failed: dict[dt.date, str]


def _read_actuals(platform: Platform, series: str, dates: Sequence[dt.date]) -> _Actuals:
    """Raises NoDataError where the series has no data at all."""
    origins = np.array(sorted(set(dates)), "datetime64[D]")
    closes, _ = store.targets(platform, series, origins)
    begins = platform.series_table(series).dates[0]
    failed = dict.fromkeys(origins[origins < begins].astype(dt.date), f"data of {series} begin on {begins}")
    keep = origins >= begins
    origins, closes = origins[keep], closes[keep]
    hashes = row_digests(closes)
    where = keys_of(series, ACTUALS, ACTUALS, dates, by_month=True)
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "input_hash"], where)
    stored = dict(zip(rows["forecast_date"].to_pylist(), rows["input_hash"].to_pylist(), strict=True))
    days = list(origins.astype(dt.date))
    new = np.array([stored.get(day) != digest for day, digest in zip(days, hashes, strict=True)], bool)
    return _Actuals(origins, closes, hashes, new, failed)


def actuals_are_stored(platform: Platform, series: str, dates: Sequence[dt.date]) -> bool:
    """Whether `write_actuals` would write nothing for these dates."""
    try:
        found = _read_actuals(platform, series, dates)
    except NoDataError:
        return False
    return not found.failed and not found.new.any()


def write_actuals(platform: Platform, series: str, dates: Sequence[dt.date]) -> Outcome:
    """The actuals row of each forecast date: closes of its days, null while unknown; unchanged rows are left."""
    (outcome,) = write_actuals_each(platform, {series: dates})
    return outcome


def write_actuals_each(platform: Platform, wanted: Mapping[str, Sequence[dt.date]]) -> list[Outcome]:
    """`write_actuals` of each series, in one commit for those that have the same dates to write."""
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    rows: list[store.Rows] = []
    for series, dates in wanted.items():
        outcome = Outcome(series, ACTUALS)
        outcomes.append(outcome)
        try:
            found = _read_actuals(platform, series, dates)
        except NoDataError as error:
            outcome.failed = dict.fromkeys(dates, str(error))
            continue
        outcome.failed = found.failed
        days = found.origins.astype(dt.date)
        outcome.skipped = set(days[~found.new])
        if found.new.any():
            rows.append(_new_rows(platform, series, found))
    store.put(platform, DISTRIBUTIONS, ACTUALS, ACTUALS, rows)
    written = {one.series: one.days for one in rows}
    for outcome in outcomes:
        outcome.written = set(written.get(outcome.series, ()))
        outcome.rows = len(outcome.written)
        outcome.seconds = (time.perf_counter() - started) / len(outcomes)
    return outcomes


def _new_rows(platform: Platform, series: str, found: _Actuals) -> store.Rows:
    chosen = found.origins[found.new]
    table = actuals_table(
        series,
        chosen,
        found.closes[found.new],
        generation_timestamp=[platform.settings.now()] * len(chosen),
        input_hash=[digest for digest, changed in zip(found.hashes, found.new, strict=True) if changed],
        last_observed_date=list((chosen - ONE_DAY).astype(dt.date)),
    )
    return store.Rows(series, list(chosen.astype(dt.date)), table)


def open_before(platform: Platform, series: str, first: dt.date) -> list[dt.date]:
    """Dates before `first` whose stored actuals are not what is known now: days have come to them, late ones among
    them, or a close of theirs was revised. Of the last months alone, which is as long as feeds are late or revise."""
    earliest = first - dt.timedelta(days=_LATE_DAYS + platform.horizon)
    last = first - dt.timedelta(days=1)
    where: dict[str, Any] = {"commodity": series, "model_name": ACTUALS, "model_version": ACTUALS}
    where |= {"forecast_month": months_between(earliest, last), "forecast_date": Between(earliest, last)}
    stored = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)["forecast_date"].to_pylist()
    if not stored:
        return []
    try:
        found = _read_actuals(platform, series, stored)
    except NoDataError:  # which the dates that are asked for fail by
        return []
    return list(found.origins[found.new].astype(dt.date))
