"""The reader: what a trading program or a notebook asks for, over the tables of one warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload
from zoneinfo import ZoneInfo

import numpy as np

from forecast_platform.forecasting import portfolio as figures
from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.read.asking import Date, as_day, as_range, as_time, model_named
from forecast_platform.read.forecast import Forecast, Paths
from forecast_platform.read.freshness import NoForecastError, freshness, require_fresh, require_same_prices
from forecast_platform.read.portfolio import Portfolio, legs_of
from forecast_platform.read.results import ByDate, Odds, PathsByDate, Quantiles, Risk, RiskByDate, risk_by_date, risk_of
from forecast_platform.read.tables import FACTS, Key, Tables, only, open_warehouse, span_text
from forecast_platform.read.tabular import frame_of
from forecast_platform.settings import Settings, load
from forecast_platform.warehouse.base import Between, Warehouse
from forecast_platform.warehouse.schemas import ACTUALS, POINT_FORECASTS
from forecast_platform.work.rows import paths_by_count, paths_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Reader:
    """Reads the tables of one warehouse. Cheap to make, safe to keep: each call sees the newest version.

    Series and models are named in any case, dates as text, dates or numpy dates. What is not there raises
    NoForecastError with what there is; an unknown name raises SettingsError with the nearest. Of `model` and `version`
    the champion's are read where they are not given. The horizon is the warehouse's own: where the settings name
    another one, the first call raises HorizonError.
    """

    def __init__(self, settings: Settings | None = None, warehouse: Warehouse | None = None) -> None:
        self.settings = settings or load()
        self._given = warehouse

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables, with the horizon that they have. Raises HorizonError."""
        return self._given if self._given is not None else open_warehouse(self.settings)

    @property
    def tables(self) -> Tables:
        """The queries over the warehouse."""
        return Tables(self.warehouse)

    @property
    def horizon(self) -> int:
        """Days that a forecast of this warehouse covers."""
        return self.warehouse.horizon

    def latest(
        self,
        series: str,
        model: str | None = None,
        *,
        on: Date | None = None,
        version: str | None = None,
        as_of: dt.datetime | str | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> Forecast:
        """The newest forecast of `series` made for `on` (default today) or before.

        It must have seen the newest session due: that is, before `on`; or before today from the time of the daily run
        on, else before yesterday; never after the end_date of the series. `max_age` sessions may be lacking (None: any
        number); more raise StaleForecastError, or warn where `strict` is False; prices in another unit by now always
        raise it. `as_of` returns what had been published by then, by the champion of then, and counts the sessions due
        then. `require_complete` leaves out dates whose run is not complete. Raises NoForecastError, of which
        StaleForecastError is one.
        """
        moment = None if as_of is None else as_time(as_of, "as_of")
        key = self._key(series, model, version, moment)
        day = None if on is None else as_day(on, "on")
        newest = day or self._today(moment)
        days = self.tables.dates(key, (dt.date(1900, 1, 1), newest))
        if require_complete:
            days = self.tables.complete(days)
        for found in sorted(days, reverse=True):
            rows = self.tables.paths(key, (found, found), [*FACTS, "path_id", *day_columns(self.horizon)], moment)
            if rows.num_rows:
                return self._fresh(self._forecast(key, rows, day, moment), strict, max_age)
        raise self.tables.nothing(key, f"for {newest} or before", require_complete)

    def paths(
        self,
        series: str,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        version: str | None = None,
        as_of: dt.datetime | str | None = None,
        require_complete: bool = False,
    ) -> PathsByDate:
        """Simulated paths by forecast date, float32 [n_paths, horizon] in the price's unit, ascending; start..end
        inclusive, one day if only `start` is given, all if neither. Their facts (last close and its date, staleness)
        are in `facts`. n_paths is of each date: it differs where the setting was changed in between.

        `as_of` returns what had been published by then, also where it was replaced later, by the champion of then.
        `require_complete` leaves out dates whose run is not complete. Raises NoForecastError where no date is left.
        """
        moment = None if as_of is None else as_time(as_of, "as_of")
        key, span = self._key(series, model, version, moment), as_range(start, end)
        rows = self.tables.paths(key, span, [*FACTS, "path_id", *day_columns(self.horizon)], moment)
        found = {day.item(): own for days, paths in paths_by_count(rows) for day, own in zip(days, paths, strict=True)}
        found = dict(sorted(found.items()))
        if require_complete:
            complete = self.tables.complete(set(found))
            found = {day: values for day, values in found.items() if day in complete}
        if not found:
            raise self.tables.nothing(key, span_text(span), require_complete)
        facts = self.tables.facts_of(key.series, rows)
        return PathsByDate(found, key, only(facts, list(found)), self.settings.series_named(key.series).unit)

    def points(
        self,
        series: str,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        version: str | None = None,
        require_complete: bool = False,
    ) -> pd.DataFrame:
        """Point forecasts as a frame, one row a forecast date and day ahead, sorted; dates are datetime64.

        With the columns of the table, and last_observed_date, last_close and staleness_days of each forecast. Raises
        NoForecastError where there are none.
        """
        key, span = self._key(series, model, version), as_range(start, end)
        where: dict[str, Any] = {**key.owner, "has_data_leakage": False, "model_success": True}
        if span is not None:
            where["forecast_date"] = Between(*span)
        rows = self.warehouse.read(POINT_FORECASTS, where=where)
        if require_complete:
            rows = only(rows, sorted(self.tables.complete(set(rows["forecast_date"].to_pylist()))))
        if not rows.num_rows:
            raise self.tables.nothing(key, span_text(span), require_complete)
        frame = frame_of(rows.sort_by([("forecast_date", "ascending"), ("day_ahead", "ascending")]))
        facts = self.tables.facts(key, (frame["forecast_date"].min().date(), frame["forecast_date"].max().date()))
        made = ["forecast_date", "generation_timestamp"]
        columns = [*made, "last_observed_date", "last_close", "staleness_days"]
        # Of the same forecast only: a run may have made one anew between the two tables.
        return frame.merge(frame_of(facts.select(columns)), on=made, how="left")

    def actuals(self, series: str, start: Date | None = None, end: Date | None = None) -> ByDate[Paths]:
        """Realised closes by forecast date, float32 [horizon] in the price's unit, NaN while unknown. Raises
        NoForecastError."""
        key, span = Key(self._series(series), ACTUALS, ACTUALS), as_range(start, end)
        days, paths = paths_of(self.tables.paths(key, span, ["path_id", *day_columns(self.horizon)]))
        if not len(days):
            raise NoForecastError(
                f"no actuals of {key.series}{span_text(span)}: they are written with forecasts and scores; see "
                "`forecast-platform coverage`"
            )
        return ByDate({day.item(): paths[row, 0] for row, day in enumerate(days)})

    @overload
    def risk(
        self,
        series: str,
        model: str | None = None,
        start: None = None,
        end: None = None,
        *,
        on: Date | None = None,
        levels: Sequence[float] = (0.95, 0.99),
        day_ahead: int | None = None,
        position: float = 1.0,
        version: str | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> Risk: ...

    @overload
    def risk(
        self,
        series: str,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        on: Date | None = None,
        levels: Sequence[float] = (0.95, 0.99),
        day_ahead: int | None = None,
        position: float = 1.0,
        version: str | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> RiskByDate: ...

    def risk(
        self,
        series: str,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        on: Date | None = None,
        levels: Sequence[float] = (0.95, 0.99),
        day_ahead: int | None = None,
        position: float = 1.0,
        version: str | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> Risk | RiskByDate:
        """VaR and CVaR by level of `position` units held from the last known close to day_ahead (the last day where
        None); `risk[0.95]["var"]`.

        Of the newest forecast made for `on` or before, fresh as in `latest`; with start or end a RiskByDate of every
        forecast date from start to end. Raises NoForecastError, and ValueError for `on` together with start or end.
        """
        if start is not None or end is not None:
            if on is not None:
                raise ValueError("give `on` for one date, or `start` and `end` for many")
            about, paths = self._by_date(series, model, start, end, version, require_complete, strict, max_age)
            return risk_by_date(about, paths, levels, day_ahead, position)
        found = self.latest(
            series, model, on=on, version=version, require_complete=require_complete, strict=strict, max_age=max_age
        )
        return risk_of(found, levels, day_ahead, position)

    def odds(
        self,
        series: str,
        price: float,
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        version: str | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> Odds:
        """The odds of closing above and below `price` on each target day, and of having touched it by then.

        Of the newest forecast, fresh as in `latest`; with start or end of every forecast date from start to end. Raises
        NoForecastError.
        """
        about, paths = self._by_date(series, model, start, end, version, require_complete, strict, max_age)
        return Odds(
            **about,
            price=price,
            above=figures.probability_above(paths, price),
            below=figures.probability_below(paths, price),
            touch=figures.probability_of_touch(paths, price, about["last_closes"]),
        )

    def quantiles(
        self,
        series: str,
        levels: Sequence[float],
        model: str | None = None,
        start: Date | None = None,
        end: Date | None = None,
        *,
        version: str | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> Quantiles:
        """Quantiles (0 to 1) of each target day's close; of which forecasts, as in `odds`. Raises NoForecastError."""
        about, paths = self._by_date(series, model, start, end, version, require_complete, strict, max_age)
        return Quantiles(**about, levels=tuple(levels), values=figures.quantiles(paths, levels))

    def portfolio(
        self,
        positions: Mapping[str, float],
        model: str | Mapping[str, str] | None = None,
        *,
        version: str | None = None,
    ) -> Portfolio:
        """Positions in contracts by series, negative where short: `portfolio({"Coffee": 10, "Sugar": -50}).risk()`.

        model: one for all, or by series; the champion of each where None. Needs the series' settings `multiplier` and
        `currency`. Raises PortfolioError where they are missing or of several currencies.
        """
        named = {self._series(name): one for name, one in model.items()} if isinstance(model, Mapping) else {}
        one_for_all = None if isinstance(model, Mapping) else model
        keys = {name: self._key(name, named.get(self._series(name), one_for_all), version) for name in positions}
        legs, currency = legs_of(self.settings, positions, keys)
        return Portfolio(self, legs, currency)

    def last_close(self, series: str, day: Date) -> float:
        """The close known on `day`. Raises NoForecastError."""
        name, wanted = self._series(series), as_day(day, "day")
        [close] = self.tables.closes(name, np.array([wanted], "datetime64[D]"))
        if np.isnan(close):
            raise NoForecastError(f"unified_data has no row of {name} on {wanted}")
        return float(close)

    def champion(self, series: str) -> tuple[str, str]:
        """Model and version that the reader follows: the newest promotion; the default, which is the first configured
        model, where nobody has promoted one (`promoted`)."""
        key = self._key(series, None, None)
        return key.model, key.version

    def promoted(self, series: str) -> bool:
        """Whether the series has a champion; without one the reader follows the default, the first configured model."""
        return self.tables.promotion(self._series(series)) is not None

    def _series(self, name: Any) -> str:
        return self.settings.series_named(str(name)).name

    def _key(self, series: str, model: str | None, version: str | None, as_of: dt.datetime | None = None) -> Key:
        name = self._series(series)
        if model is None:
            default = Key(name, self.settings.models[0], self.settings.model_version, "default, nobody promoted one")
            found = self.tables.promotion(name, as_of) or default
            return replace(found, version=version or found.version)
        configured = self.settings.models
        stored = [] if model in configured else [one for one, _ in self.tables.forecasters(name)]
        return Key(name, model_named(model, configured, stored, name), version or self.settings.model_version)

    def _today(self, moment: dt.datetime | None) -> dt.date:
        return self.settings.today() if moment is None else moment.astimezone(ZoneInfo(self.settings.timezone)).date()

    def _forecast(self, key: Key, rows: pa.Table, on: dt.date | None, moment: dt.datetime | None) -> Forecast:
        _, paths = paths_of(rows)
        first = {name: rows[name][0].as_py() for name in FACTS}
        observed = first["last_observed_date"]
        series = self.settings.series_named(key.series)
        return Forecast(
            series=key.series,
            model=key.model,
            version=key.version,
            forecast_date=first["forecast_date"],
            paths=np.ascontiguousarray(paths[0]),
            data_cutoff_date=first["data_cutoff_date"],
            training_cutoff_date=first["training_cutoff_date"],
            last_observed_date=observed,
            last_close=self.last_close(key.series, observed),
            staleness_days=first["staleness_days"],
            freshness=freshness(self.settings, series, observed, on, moment),
            generated=first["generation_timestamp"],
            chosen=key.chosen,
            unit=series.unit,
        )

    def _fresh(self, found: Forecast, strict: bool, max_age: int | None) -> Forecast:
        who = Key(found.series, found.model, found.version).told(self.settings)
        dates = found.forecast_date, found.last_observed_date
        require_fresh(self.settings, found.freshness, who, *dates, strict=strict, max_age=max_age)
        require_same_prices(found.series, found.model, [found.forecast_date], [found.last_close], found.paths[None])
        return found

    def _by_date(
        self,
        series: str,
        model: str | None,
        start: Date | None,
        end: Date | None,
        version: str | None,
        require_complete: bool,
        strict: bool,
        max_age: int | None,
    ) -> tuple[dict[str, Any], Paths]:
        """What results over dates carry, and the paths [n_dates, n_paths, horizon]."""
        if start is None and end is None:
            one = self.latest(
                series, model, version=version, require_complete=require_complete, strict=strict, max_age=max_age
            )
            about = {
                "dates": np.array([one.forecast_date], "datetime64[D]"),
                "last_closes": np.array([one.last_close]),
                "last_observed": np.array([one.last_observed_date], "datetime64[D]"),
                "behind": one.sessions_behind,
            }
            return {**_whose(one), **about}, one.paths[None]
        many = self.paths(series, model, start, end, version=version, require_complete=require_complete)
        about = {
            "dates": np.array(list(many), "datetime64[D]"),
            "last_closes": many.facts["last_close"].to_numpy(),
            "last_observed": many.facts["last_observed_date"].to_numpy().astype("datetime64[D]"),
            "behind": None,
        }
        paths = many.array()
        require_same_prices(many.series, many.model, list(many), many.facts["last_close"].to_pylist(), paths)
        return {**_whose(many), **about}, paths


def _whose(found: Forecast | PathsByDate) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("series", "model", "version", "unit")}
