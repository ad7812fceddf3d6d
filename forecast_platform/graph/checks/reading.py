"""What the checks read: stored forecasts and their surroundings, as arrays, a part in memory at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats
from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.forecasting.summary import summarise
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.path_figures import PathFigures, joined, path_figures
from forecast_platform.graph.checks.point_rules import STATISTICS
from forecast_platform.graph.checks.rules import SPREAD_SESSIONS
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS
from forecast_platform.work.chunks import most_dates
from forecast_platform.work.platform import Platform
from forecast_platform.work.rows import paths_of

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLED_DATES = 12
"""Dates whose statistics are computed anew from the paths: enough to see any systematic difference."""

Points = dict[str, NDArray[Any]]
"""Point forecasts by column, [n], a day ahead of a date each."""

_IDENTITY = ("forecast_date", "data_cutoff_date", "training_cutoff_date", "last_observed_date")
_LEAKS = "has_data_leakage"

_MEANING = dict(zip(STATISTICS, ("mean", "std", "lower_95", "lower_80", "median", "upper_80", "upper_95"), strict=True))


def ended_on(settings: Settings, series: str) -> dt.date | None:
    """The last forecast date of a series that has ended; None of one that goes on."""
    end = settings.end_of(series)
    return end if end is not None and end < settings.today() else None


def stored_paths(
    platform: Platform, target: Target, dates: Sequence[dt.date], keep: Dates
) -> tuple[PathFigures, dict[str, NDArray[Any]], pa.Table]:
    """The figures of these dates' paths, each [n_dates], half a year read at a time; what identifies the inputs of each
    stored date, [n_stored] each; and the rows of the dates of `keep` among them, for `agreement`.

    Raises ValueError where there are no dates.
    """
    import pyarrow as pa

    parts, firsts, kept = [], [], []
    names, most = day_columns(platform.horizon), most_dates(platform.horizon)
    for begin in range(0, len(dates), most):
        where = keys_of(target.series, target.model, target.version, dates[begin : begin + most], by_month=True)
        rows = platform.warehouse.read(DISTRIBUTIONS, ["path_id", *_IDENTITY, _LEAKS, *names], where)
        path_ids = rows["path_id"].to_numpy().astype(np.int64)
        firsts.append(rows.select([*_IDENTITY, _LEAKS]).filter(_mask(path_ids == 0)))
        columns = [rows[name] for name in names]
        parts.append(path_figures(dates_of(rows, "forecast_date"), path_ids, columns, platform.settings.n_paths))
        kept.append(_of_dates(rows.select(_compared(platform.horizon)), keep))
    if not parts:
        raise ValueError(f"{target}: no dates to read")
    return joined(parts), _identities(firsts), pa.concat_tables(kept)


def _of_dates(rows: pa.Table, wanted: Dates) -> pa.Table:
    """The rows of these dates."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.is_in(rows["forecast_date"], pa.array(wanted.astype("datetime64[D]"), pa.date32())))


def _compared(horizon: int) -> list[str]:
    """The columns of paths that statistics are made from again."""
    return ["forecast_date", "path_id", *day_columns(horizon)]


def _identities(firsts: Sequence[pa.Table]) -> dict[str, NDArray[Any]]:
    """One row a stored date, ascending."""
    import pyarrow as pa

    rows = pa.concat_tables(firsts).sort_by("forecast_date")
    found: dict[str, NDArray[Any]] = {name: dates_of(rows, name) for name in _IDENTITY}
    found[_LEAKS] = rows[_LEAKS].to_numpy(zero_copy_only=False).astype(bool)
    return found


def stored_points(platform: Platform, target: Target, dates: Sequence[dt.date]) -> Points:
    """The point forecasts of these dates, one a row, by date and day ahead."""
    where = keys_of(target.series, target.model, target.version, dates, by_month=False)
    rows = platform.warehouse.read(POINT_FORECASTS, ["forecast_date", "day_ahead", *STATISTICS], where)
    rows = rows.sort_by([("forecast_date", "ascending"), ("day_ahead", "ascending")])
    found: Points = {name: rows[name].to_numpy() for name in ("day_ahead", *STATISTICS)}
    found["forecast_date"] = dates_of(rows, "forecast_date")
    return found


def sampled_dates(points: Points | None, horizon: int) -> Dates:
    """Dates [n], ascending, at most SAMPLED_DATES, spread over `points`, of those that have all of their days; none
    where there are no points."""
    if points is None:
        return np.empty(0, "datetime64[D]")
    days, counts = np.unique(points["forecast_date"], return_counts=True)
    days = days[counts == horizon]
    return days[np.unique(np.linspace(0, len(days) - 1, min(SAMPLED_DATES, len(days))).astype(int))]


def paths_on(platform: Platform, target: Target, dates: Dates) -> pa.Table:
    """The stored paths of these dates [n], for `agreement`: a row a date and path, prices in the series' unit."""
    where: dict[str, Any] = {"commodity": target.series, "model_name": target.model, "forecast_date": []}
    if len(dates):
        where = keys_of(target.series, target.model, target.version, list(dates.astype(dt.date)), by_month=True)
    return platform.warehouse.read(DISTRIBUTIONS, _compared(platform.horizon), where)


def agreement(platform: Platform, points: Points, rows: pa.Table) -> tuple[Dates, dict[str, Floats], dict[str, Floats]]:
    """Of the dates of `rows` that have all their paths: the stored statistics, and those of the paths; each [n_dates,
    horizon], in the price's unit.

    points: by column [n], of `stored_points`; rows: their paths on `sampled_dates`. Raises ValueError where dates hold
    different numbers of paths.
    """
    horizon = platform.horizon
    held = dates_of(rows, "forecast_date")
    whole, sizes = np.unique(held, return_counts=True)
    whole = whole[sizes == platform.settings.n_paths]
    dates, paths = paths_of(_of_dates(rows, whole))
    if len(dates) == 0:
        return dates, {name: np.empty((0, horizon)) for name in STATISTICS}, {}
    days, first = np.unique(points["forecast_date"], return_index=True)
    rows_of = first[np.searchsorted(days, dates)][:, None] + np.arange(horizon)
    summary = summarise(paths)
    stored = {name: points[name][rows_of].astype(np.float64) for name in STATISTICS}
    return dates, stored, {name: getattr(summary, meaning) for name, meaning in _MEANING.items()}


def surroundings(platform: Platform, series: str, dates: Dates, last_observed: Dates) -> tuple[Floats, Bools, Floats]:
    """Of each of dates [n]: the last known close, whether it trades itself, and the spread that recent changes give day
    H, [n] each; closes and spread in the price's unit.

    last_observed: the day of each date's newest close, [n]. The spread is the root mean square of the last
    SPREAD_SESSIONS changes times the square root of the sessions in the horizon; NaN where fewer are known.
    """
    table = platform.series_table(series)
    close = table.columns["close"]
    last_close = close[np.minimum(np.searchsorted(table.dates, last_observed), len(close) - 1)]
    targets = dates[:, None] + np.arange(platform.horizon) * ONE_DAY
    trading = np.isin(targets, table.sessions)
    seen = table.columns["is_observed"]
    observed, prices = table.dates[seen], close[seen]
    squares = np.concatenate([[0.0, 0.0], np.cumsum(np.diff(prices) ** 2)])
    known = np.searchsorted(observed, dates)
    recent = np.full(len(dates), np.nan)
    enough = known > SPREAD_SESSIONS
    span = squares[known[enough]] - squares[known[enough] - SPREAD_SESSIONS]
    recent[enough] = np.sqrt(span / SPREAD_SESSIONS)
    return last_close, trading[:, 0], recent * np.sqrt(trading.sum(axis=1))


def forecast_dates(platform: Platform, target: Target) -> Dates:
    """Every date that has point forecasts, datetime64[D] [n], ascending."""
    where = {"commodity": target.series, "model_name": target.model, "model_version": target.version, "day_ahead": 1}
    rows = platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], {**where, "model_success": True})
    return np.unique(dates_of(rows, "forecast_date"))


def dates_of(rows: pa.Table, name: str) -> Dates:
    """A date column as datetime64[D]."""
    return rows[name].to_numpy().astype("datetime64[D]")


def _mask(chosen: Bools) -> pa.Array:
    import pyarrow as pa

    return pa.array(chosen)
