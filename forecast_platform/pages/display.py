"""Reports for people: gathers what a page shows from the tables, writes it, and gives its address."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY
from forecast_platform.forecasting.horizon import suffix
from forecast_platform.pages import page
from forecast_platform.read import NoForecastError, Reader
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform.work import store
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.pages.pooled import OverAll

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
    shown = (table.dates < origin) & (table.dates >= origin - _HISTORY_DAYS * ONE_DAY) & table.columns["is_observed"]
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
    )
    return f"{platform.settings.reports_url}/{path.name}"


def index(platform: Platform) -> None:
    """Bring the reports' entry page up to date."""
    from forecast_platform.pages.index import write_index

    write_index(platform.settings.reports)


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


def oracle(platform: Platform, series: str, metadata: pd.DataFrame) -> dict[str, tuple[float, float, int]]:
    """What a volatility known in advance would give naive, by whether the target days are left out of it or in: CRPS
    over the horizon, skill against naive, and dates; over naive's scored dates of the configured version, if any."""
    from forecast_platform.forecasting.oracle import oracle_crps
    from forecast_platform.pages.scores import REFERENCE, ModelKey, counted, scored

    whole = suffix(platform.horizon)
    naive = scored(metadata, whole).get(ModelKey(REFERENCE, platform.settings.model_version))
    if naive is None:
        return {}
    rows = naive[counted(naive)]
    table = platform.series_table(series)
    seen = table.columns["is_observed"]
    closes = (table.dates[seen], table.columns["close"][seen], table.columns["is_roll_day"][seen])
    origins, reference = rows["forecast_date"].to_numpy("datetime64[D]"), rows[f"crps_{whole}"].to_numpy(np.float64)
    found = {}
    for label, inside in (("target days left out", False), ("target days in", True)):
        scores = oracle_crps(*closes, origins, platform.horizon, targets_in=inside)
        both = np.isfinite(scores) & np.isfinite(reference)
        if both.any() and reference[both].mean() > 0:
            own = float(scores[both].mean())
            found[label] = (own, 1 - own / float(reference[both].mean()), int(both.sum()))
    return found


def report(platform: Platform, series: str, over_all: OverAll | None = None) -> str | None:
    """Write a series' report over all models; returns its address, None where nothing was forecast yet.

    over_all: what `panel.over_all` gives, to be shown beside it. The index lists the report once `index` was called.
    """
    from forecast_platform.pages.leaderboard import write_report

    metadata = metadata_frame(platform, series)
    if metadata.empty:
        return None
    expected = expected_dates(platform, series)
    known = {(name, version) for name, version in zip(metadata.model_name, metadata.model_version, strict=True)}
    path = write_report(
        platform.settings.reports,
        series=series,
        metadata=metadata,
        expected_dates=expected,
        models=sorted(known),
        over_all=over_all,
        oracle=oracle(platform, series, metadata),
        unit=platform.settings.series_named(series).unit,
    )
    return f"{platform.settings.reports_url}/{path.name}"
