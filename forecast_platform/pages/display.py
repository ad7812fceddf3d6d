"""Reports for people: gathers what a page shows from the tables, writes it, and gives its address."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats
from forecast_platform.pages import page
from forecast_platform.read import NoForecastError, Reader
from forecast_platform.warehouse.base import Between
from forecast_platform.warehouse.schemas import FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work import store
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.platform import Platform, SeriesTable

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.pages.pooled import OverAll
    from forecast_platform.pages.scores import ModelKey

_HISTORY_DAYS = 90

KEY_COLUMNS = (
    *("commodity", "model_name", "model_version", "forecast_date", "last_observed_date"),
    *("model_success", "has_data_leakage", "actuals_available"),
)
"""Columns of forecast_metadata that say whose forecast a row is of, and whether it counts."""


def fan_chart(platform: Platform, series: str, model: str, version: str, day: dt.date | None) -> str | None:
    """Write the fan chart of one forecast; returns its address, None where there is no forecast.

    The index lists it once `index` was called.
    """
    from forecast_platform.pages.fan_chart import write_fan_chart

    if day is None:
        return None
    reader = Reader(platform.settings, platform.warehouse)
    try:
        forecast = reader.latest(series, model, on=day, version=version, max_age=None)
    except NoForecastError:
        return None
    origin = np.datetime64(forecast.forecast_date, "D")
    table = platform.series_table(series)
    shown = closes_before(table, origin, _HISTORY_DAYS)
    actual, _ = store.targets(platform, series, np.array([origin]))
    path = write_fan_chart(
        platform.settings.reports,
        series=series,
        model=model,
        version=version,
        forecast_date=forecast.forecast_date,
        paths=forecast.paths,
        history_dates=table.dates[shown],
        history_close=table.columns["close"][shown],
        actuals=actual[0],
        data_cutoff=forecast.data_cutoff_date,
        training_cutoff=forecast.training_cutoff_date,
        last_observed=forecast.last_observed_date,
        staleness_days=forecast.staleness_days,
        unit=table.series.unit,
        zone=platform.settings.timezone,
    )
    return f"{platform.settings.reports_url}/{path.name}"


def closes_before(table: SeriesTable, origin: np.datetime64, days: int) -> Bools:
    """Which rows of the table, [n_rows], are closes before `origin`, of the `days` up to the newest of them: also where
    that lies months back, a chart begins where its forecast does."""
    known = (table.dates < origin) & table.columns["is_observed"]
    first = table.dates[known][-1] - days * ONE_DAY if known.any() else origin
    return np.asarray(known & (table.dates >= first))


def chart_address(platform: Platform, series: str, model: str, version: str, day: dt.date) -> str:
    """Where the fan chart of a forecast is, or will be made when it is asked for there (`asked_for`)."""
    return f"{platform.settings.reports_url}/{page.file_name('fan-chart', series, model, version, str(day))}"


def history_address(platform: Platform, series: str, model: str, version: str) -> str:
    """The same of a history page."""
    return f"{platform.settings.reports_url}/{page.file_name('history', series, model, version)}"


def history(platform: Platform, series: str, model: str, version: str) -> str | None:
    """Write the history page of a series and model; returns its address, None where it has no forecast."""
    from forecast_platform.pages.history import NAMES, SHOWN_DAYS, write_history
    from forecast_platform.pages.history_charts import Days
    from forecast_platform.pages.scores import REFERENCE, ModelKey

    where: dict[str, Any] = {"commodity": series, "model_name": model, "model_version": version}
    where |= {"model_success": True, "has_data_leakage": False}
    dates = platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], {**where, "day_ahead": 1})["forecast_date"]
    shown = sorted(set(dates.to_pylist()))[-SHOWN_DAYS:]
    if not shown:
        return None
    columns = {"median": "forecast_median", **{name: name for name in NAMES if name != "median"}}
    where["forecast_date"] = Between(shown[0], shown[-1])
    rows = platform.warehouse.read(POINT_FORECASTS, ["forecast_date", "day_ahead", *columns.values()], where)
    days = np.array(shown, "datetime64[D]")
    place = np.searchsorted(days, rows["forecast_date"].to_numpy().astype("datetime64[D]"))
    ahead = rows["day_ahead"].to_numpy() - 1
    quantiles = {}
    for name, column in columns.items():
        quantiles[name] = np.full((len(days), platform.horizon), np.nan)
        quantiles[name][place, ahead] = rows[column].to_numpy()
    targets: Dates = days[:, None] + np.arange(platform.horizon).astype("timedelta64[D]")
    table = platform.series_table(series)
    seen = table.columns["is_observed"]
    closes = (table.dates[seen], table.columns["close"][seen])
    path = write_history(
        platform.settings.reports,
        series=series,
        key=ModelKey(model, version),
        days=Days(days, quantiles, closes_on(targets, *closes)),
        history_dates=closes[0],
        history_close=closes[1],
        metadata=metadata_frame(platform, series, sorted({model, REFERENCE})),
        unit=table.series.unit,
        zone=platform.settings.timezone,
    )
    return f"{platform.settings.reports_url}/{path.name}"


def closes_on(wanted: Dates, dates: Dates, close: Floats) -> Floats:
    """The closes of the days `wanted`, of its shape; NaN on days that are not among `dates` [n] ascending, close [n] in
    the series' unit."""
    if not len(dates):
        return np.full(wanted.shape, np.nan)
    place = np.minimum(np.searchsorted(dates, wanted), len(dates) - 1)
    return np.asarray(np.where(dates[place] == wanted, close[place], np.nan))


def asked_for(platform: Platform, file: str) -> bool:
    """Write the fan chart or history page whose file's name this is, where its forecast is there; whether it was.

    Past dates have no page before someone asks for one: 2,000 paths a date are in the table, and drawn in a moment.
    """
    parts = file.removesuffix(".html").split("_")
    if not file.endswith(".html") or (parts[0], len(parts)) not in (("fan-chart", 5), ("history", 4)):
        return False
    from forecast_platform.pages.scores import ModelKey

    kind, series, model, version, *day = parts
    # A file's name has dashes where a name has an underscore: what it stands for is found among the names.
    for name in platform.settings.series_names:
        if page.file_name(name) != f"{series}.html":
            continue
        columns = ["model_name", "model_version"]
        rows = platform.warehouse.read(FORECAST_METADATA, columns, {"commodity": name}).group_by(columns).aggregate([])
        for own in zip(*(rows[column].to_pylist() for column in columns), strict=True):
            if page.file_name(*own) == f"{model}_{version}.html":
                if kind == "history":
                    return history(platform, name, *own) is not None
                return _chart_of(platform, name, ModelKey(*own), day[0])
    return False


def _chart_of(platform: Platform, series: str, key: ModelKey, text: str) -> bool:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return False
    where: dict[str, Any] = {"commodity": series, "model_name": key.name, "model_version": key.version}
    where |= {"forecast_date": day, "day_ahead": 1}
    if not platform.warehouse.read(POINT_FORECASTS, ["day_ahead"], where).num_rows:
        return False
    return fan_chart(platform, series, *key, day) is not None


def index(platform: Platform) -> None:
    """Bring the reports' entry page up to date."""
    from forecast_platform.pages.index import write_index

    write_index(platform.settings.reports, platform.settings.timezone)


def metadata_frame(
    platform: Platform, series: str, models: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The forecast_metadata rows of a series, sorted; of `models`, or of all; KEY_COLUMNS and `columns`, or all."""
    where: dict[str, Any] = {"commodity": series, **({} if models is None else {"model_name": list(models)})}
    rows = platform.warehouse.read(FORECAST_METADATA, None if columns is None else [*KEY_COLUMNS, *columns], where)
    return rows.to_pandas().sort_values(["model_name", "model_version", "forecast_date"], ignore_index=True)


def report_address(platform: Platform, series: str) -> str | None:
    """Address of a series' report; None where none was written yet."""
    name = page.file_name("leaderboard", series)
    return f"{platform.settings.reports_url}/{name}" if (platform.settings.reports / name).is_file() else None


def report(platform: Platform, series: str, over_all: OverAll | None = None) -> str | None:
    """Write a series' report over all models; returns its address, None where nothing was forecast yet.

    over_all: what `panel.over_all` gives, to be shown beside it. The index lists the report once `index` was called.
    """
    from forecast_platform.pages.leaderboard import write_report
    from forecast_platform.pages.oracles import of_series, oracle_losses
    from forecast_platform.pages.scores import ModelKey

    metadata = metadata_frame(platform, series)
    if metadata.empty:
        return None
    reader = Reader(platform.settings, platform.warehouse)
    champion = ModelKey(*reader.champion(series))
    expected = expected_dates(platform, series)
    known = {(name, version) for name, version in zip(metadata.model_name, metadata.model_version, strict=True)}
    path = write_report(
        platform.settings.reports,
        series=series,
        metadata=metadata,
        expected_dates=expected,
        models=sorted(known),
        over_all=over_all,
        oracle=of_series(oracle_losses(platform, series, metadata), platform.horizon),
        unit=platform.settings.series_named(series).unit,
        zone=platform.settings.timezone,
        followed=(champion, "champion" if reader.promoted(series) else "default"),
        link_to={
            f"{key.name} {key.version} day by day": file
            for key in sorted({champion, *(ModelKey(*pair) for pair in known)})
            if (platform.settings.reports / (file := page.file_name("history", series, *key))).is_file()
        },
    )
    return f"{platform.settings.reports_url}/{path.name}"
