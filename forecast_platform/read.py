"""The reader that trading programs use: paths, point forecasts and risk figures, without Dagster.

    from forecast_platform.read import Reader
    reader = Reader()
    latest = reader.latest("Coffee", "xgboost")
    latest.paths                    # float32 [n_paths, horizon], closes from latest.forecast_date on
    latest.value_at_risk(0.95, day_ahead=10)

Rows with leakage and failed forecasts are never returned.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.settings import Settings, load
from forecast_platform.warehouse.base import Between, Warehouse, months_between, require_horizon
from forecast_platform.warehouse.schemas import (
    ACTUALS,
    CHAMPIONS,
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    FORECAST_RUNS,
    POINT_FORECASTS,
)
from forecast_platform.work.rows import paths_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Paths = NDArray[np.float32]
Date = dt.date | str


class NoForecastError(LookupError):
    """There is no such forecast; the message says what was asked and what there is."""


@dataclass(frozen=True)
class Forecast:
    """One forecast: the paths and where they come from."""

    series: str
    model: str
    version: str
    forecast_date: dt.date
    paths: Paths
    """Simulated closes, float32 [n_paths, horizon]; [p, h] is path p's close on forecast_date + h days."""
    data_cutoff_date: dt.date
    training_cutoff_date: dt.date
    last_observed_date: dt.date
    staleness_days: int
    generated: dt.datetime

    def quantile(self, level: float) -> NDArray[np.float64]:
        """The quantile `level` (0 to 1) of each day, [horizon]."""
        return np.quantile(self.paths.astype(np.float64), level, axis=0)

    @property
    def horizon(self) -> int:
        """Days that the forecast covers."""
        return self.paths.shape[1]

    def value_at_risk(
        self, level: float, last_close: float, day_ahead: int | None = None, position: float = 1.0
    ) -> float:
        """The loss that a position held to `day_ahead` exceeds with probability 1 - level; see `value_at_risk`.

        day_ahead: 1 is the forecast date; the last day where None.
        """
        return value_at_risk(self.profit(last_close, day_ahead, position), level)

    def expected_shortfall(
        self, level: float, last_close: float, day_ahead: int | None = None, position: float = 1.0
    ) -> float:
        """The mean loss beyond the value at risk (CVaR); see `expected_shortfall`."""
        return expected_shortfall(self.profit(last_close, day_ahead, position), level)

    def profit(self, last_close: float, day_ahead: int | None = None, position: float = 1.0) -> NDArray[np.float64]:
        """Profit of `position` units (negative: short) from last_close to each path's close on day_ahead, [n_paths].

        day_ahead: the last day where None. Raises ValueError where it lies outside 1 to the horizon.
        """
        day_ahead = self.horizon if day_ahead is None else day_ahead
        if not 1 <= day_ahead <= self.horizon:
            raise ValueError(f"day_ahead = {day_ahead}: 1 to {self.horizon}")
        return position * (self.paths[:, day_ahead - 1].astype(np.float64) - last_close)


def value_at_risk(profit: NDArray[np.float64], level: float) -> float:
    """Value at risk of simulated profits [n]: the loss (positive) at the quantile 1 - level."""
    return float(-np.quantile(profit, 1 - _level(level)))


def expected_shortfall(profit: NDArray[np.float64], level: float) -> float:
    """Expected shortfall, CVaR (Rockafellar and Uryasev, 2000): the mean loss at and beyond the value at risk."""
    cut = np.quantile(profit, 1 - _level(level))
    return float(-profit[profit <= cut].mean())


class Reader:
    """Reads the tables of one warehouse. Cheap to make, safe to keep: each call sees the newest version.

    The horizon is the warehouse's own. Where the settings name another one, the first call raises HorizonError.
    """

    def __init__(self, settings: Settings | None = None, warehouse: Warehouse | None = None) -> None:
        self.settings = settings or load()
        self._given = warehouse

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables, with the horizon that they have. Raises HorizonError."""
        if self._given is not None:
            return self._given
        from forecast_platform.work.platform import Platform

        warehouse = Platform.from_settings(self.settings).warehouse
        if "horizon" in self.settings.model_fields_set:
            require_horizon(warehouse)
            return warehouse
        stored = warehouse.stored_horizon()
        if stored is None or stored[0] == warehouse.horizon:
            return warehouse
        return Platform.from_settings(self.settings.model_copy(update={"horizon": stored[0]})).warehouse

    @property
    def horizon(self) -> int:
        """Days that a forecast of this warehouse covers."""
        return self.warehouse.horizon

    def paths(
        self,
        series: str,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        version: str | None = None,
        as_of: dt.datetime | None = None,
        require_complete: bool = False,
    ) -> dict[dt.date, Paths]:
        """Simulated paths by forecast date, float32 [n_paths, horizon], ascending; start..end inclusive, one day if
        only `start` is given, all if neither.

        `model` defaults to the champion. `as_of` returns what had been published by then (UTC), also where it was
        replaced later. `require_complete` leaves out dates whose run is not complete.
        """
        model, version = self._chosen(series, model, version)
        first, last = _range(start, end)
        rows = self._rows(series, model, version, first, last, ["path_id", *day_columns(self.horizon)], as_of)
        dates, paths = _by_date(rows)
        found = {day: paths[row] for row, day in enumerate(dates)}
        if require_complete and found:
            complete = self._complete(min(found), max(found))
            found = {day: values for day, values in found.items() if day in complete}
        return found

    def latest(
        self,
        series: str,
        model: str | None = None,
        *,
        on: Date | None = None,
        version: str | None = None,
        as_of: dt.datetime | None = None,
        require_complete: bool = False,
    ) -> Forecast:
        """The newest forecast of `series` made for `on` (default today) or before. Raises NoForecastError."""
        model, version = self._chosen(series, model, version)
        newest = _date(on) if on is not None else self.settings.today()
        where = {"commodity": series, "model_name": model, "model_version": version, "day_ahead": 1}
        where["forecast_date"] = Between(dt.date(1900, 1, 1), newest)
        days = set(self.warehouse.read(POINT_FORECASTS, ["forecast_date"], where)["forecast_date"].to_pylist())
        if require_complete and days:
            days &= self._complete(min(days), max(days))
        for day in sorted(days, reverse=True):
            rows = self._rows(
                series, model, version, day, day, [*_IDENTITY, "path_id", *day_columns(self.horizon)], as_of
            )
            if rows.num_rows:
                return _forecast(series, model, version, rows)
        raise NoForecastError(
            f"no {'complete ' if require_complete else ''}forecast of {series} by {model} {version} for {newest} or "
            "before; see `forecast-platform coverage`"
        )

    def points(
        self,
        series: str,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        version: str | None = None,
    ) -> pd.DataFrame:
        """Point forecasts as a frame, one row a forecast date and day ahead, sorted."""
        model, version = self._chosen(series, model, version)
        where: dict[str, Any] = {"commodity": series, "model_name": model, "model_version": version}
        first, last = _range(start, end)
        if first is not None:
            where["forecast_date"] = Between(first, last)
        rows = self.warehouse.read(POINT_FORECASTS, where={**where, "has_data_leakage": False, "model_success": True})
        return rows.sort_by([("forecast_date", "ascending"), ("day_ahead", "ascending")]).to_pandas()

    def actuals(self, series: str, start: Date | None = None, end: Date | None = None) -> dict[dt.date, Paths]:
        """Realised closes by forecast date, float32 [horizon], NaN while unknown."""
        first, last = _range(start, end)
        rows = self._rows(series, ACTUALS, ACTUALS, first, last, ["path_id", *day_columns(self.horizon)], None)
        dates, paths = _by_date(rows)
        return {day: paths[row, 0] for row, day in enumerate(dates)}

    def risk(
        self,
        series: str,
        model: str | None = None,
        *,
        on: Date | None = None,
        levels: tuple[float, ...] = (0.95, 0.99),
        day_ahead: int | None = None,
        position: float = 1.0,
        version: str | None = None,
    ) -> dict[float, Mapping[str, float]]:
        """VaR and CVaR by level of `position` units held from the last known close to day_ahead (the last day where
        None) of the newest forecast made for `on` or before."""
        found = self.latest(series, model, on=on, version=version)
        profit = found.profit(self.last_close(series, found.last_observed_date), day_ahead, position)
        return {
            level: {"var": value_at_risk(profit, level), "cvar": expected_shortfall(profit, level)} for level in levels
        }

    def last_close(self, series: str, day: dt.date) -> float:
        """The close known on `day`."""
        from forecast_platform.warehouse.schemas import UNIFIED_DATA

        rows = self.warehouse.read(UNIFIED_DATA, ["close"], {"commodity": series, "date": day})
        if rows.num_rows == 0:
            raise NoForecastError(f"unified_data has no row of {series} on {day}")
        return float(rows["close"][0].as_py())

    def champion(self, series: str) -> tuple[str, str]:
        """Model and version that the reader follows: the newest promotion; the first configured model without one."""
        rows = self.warehouse.read(CHAMPIONS, where={"commodity": series}).to_pylist()
        if rows:
            newest = max(rows, key=lambda row: row["valid_from"])
            return newest["model_name"], newest["model_version"]
        return self.settings.models[0], self.settings.model_version

    def _chosen(self, series: str, model: str | None, version: str | None) -> tuple[str, str]:
        self.settings.series_named(series)
        if model is None:
            champion, its_version = self.champion(series)
            return champion, version or its_version
        return model, version or self.settings.model_version

    def _rows(
        self,
        series: str,
        model: str,
        version: str,
        first: dt.date | None,
        last: dt.date | None,
        columns: list[str],
        as_of: dt.datetime | None,
    ) -> pa.Table:
        where: dict[str, Any] = {"commodity": series, "model_name": model, "model_version": version}
        if first is not None and last is not None:
            where["forecast_month"] = months_between(first, last)
            where["forecast_date"] = first if first == last else Between(first, last)
        where["has_data_leakage"] = False
        wanted = list(dict.fromkeys(["forecast_date", *columns]))
        if as_of is None:
            return self.warehouse.read(DISTRIBUTIONS, wanted, where)
        return self._as_of(wanted, where, as_of)

    def _as_of(self, wanted: list[str], where: dict[str, Any], as_of: dt.datetime) -> pa.Table:
        """Of each date the generation that was newest at `as_of`, from the table and its archive."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if as_of.tzinfo is None:
            raise ValueError(f"as_of = {as_of}: name its time zone, for example datetime.now(timezone.utc)")
        identity = ["forecast_date", "generation_timestamp"]
        columns = list(dict.fromkeys([*wanted, *identity]))
        stored, archived = (
            self.warehouse.read(table, columns, where) for table in (DISTRIBUTIONS, DISTRIBUTIONS_ARCHIVE)
        )
        # What is archived is still in the table until it is replaced.
        archived = archived.join(stored.group_by(identity).aggregate([]), identity, join_type="left anti")
        rows = pa.concat_tables([stored, archived.select(columns)], promote_options="permissive")
        rows = rows.filter(pc.less_equal(rows["generation_timestamp"], pa.scalar(as_of)))
        newest = rows.group_by("forecast_date").aggregate([("generation_timestamp", "max")])
        keys = newest.rename_columns(identity)
        return rows.join(keys, identity, join_type="inner")

    def _complete(self, first: dt.date, last: dt.date) -> set[dt.date]:
        rows = self.warehouse.read(
            FORECAST_RUNS, ["forecast_date"], {"status": "complete", "forecast_date": Between(first, last)}
        )
        return set(rows["forecast_date"].to_pylist())


_IDENTITY = [
    "forecast_date",
    "data_cutoff_date",
    "training_cutoff_date",
    "last_observed_date",
    "staleness_days",
    "generation_timestamp",
]


def _forecast(series: str, model: str, version: str, rows: pa.Table) -> Forecast:
    _, paths = paths_of(rows)
    first = {name: rows[name][0].as_py() for name in _IDENTITY}
    return Forecast(
        series=series,
        model=model,
        version=version,
        forecast_date=first["forecast_date"],
        paths=np.ascontiguousarray(paths[0]),
        data_cutoff_date=first["data_cutoff_date"],
        training_cutoff_date=first["training_cutoff_date"],
        last_observed_date=first["last_observed_date"],
        staleness_days=first["staleness_days"],
        generated=first["generation_timestamp"],
    )


def _by_date(rows: pa.Table) -> tuple[list[dt.date], Paths]:
    dates, paths = paths_of(rows)
    return list(dates.astype(dt.date)), paths


def _range(start: Date | None, end: Date | None) -> tuple[dt.date | None, dt.date | None]:
    if start is None and end is None:
        return None, None
    first = _date(start) if start is not None else dt.date(1900, 1, 1)
    last = _date(end) if end is not None else (first if start is not None else dt.date(2999, 12, 31))
    if last < first:
        raise ValueError(f"end = {last} lies before start = {first}")
    return first, last


def _date(day: Date) -> dt.date:
    return dt.date.fromisoformat(day) if isinstance(day, str) else day


def _level(level: float) -> float:
    if not 0.5 <= level < 1:
        raise ValueError(f"level = {level}: a confidence level from 0.5 to below 1, such as 0.95")
    return level
