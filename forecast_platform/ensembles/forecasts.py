"""The daily graph's forecasts as a table to route and vote over, and what a workflow says of it, as prices again.

A row is a forecast date and a day ahead of a series. Forecasts and outcomes are changes from the newest close that the
forecasts saw, in shares of the price level, so that rows of any series weigh alike; a vote whose weights sum to one
says the same of them as of the prices.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.catalog import MEMBER
from forecast_platform.ensembles.grammar import Context
from forecast_platform.ensembles.grammar_forecasts import ORIGIN, OUTCOME, Forecasts
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.rows import NOTES, SEEN, Rows, RowsError
from forecast_platform.forecasting.history import ONE_DAY, Dates
from forecast_platform.forecasting.validation import other_prices_by_bands
from forecast_platform.warehouse.base import Between, Warehouse
from forecast_platform.warehouse.schemas import POINT_FORECASTS, Column, Table
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_LEVEL_SESSIONS, _VOLATILITY_SESSIONS = 250, 20
_READ = [
    *("forecast_date", "day_ahead", "target_date", "data_cutoff_date"),
    *("forecast_mean", "lower_80", "upper_80", "lower_95", "upper_95"),
]


class ForecastsError(RowsError):
    """There are no such forecasts; the message says which and how to get them."""


def forecast_frame(platform: Platform, context: Context) -> pd.DataFrame:
    """The forecasts that a workflow names, one row a series, forecast date and day ahead that all its models forecast.

    Columns: series, forecast_date, day (1 is the forecast date itself), target_date, seen_on (the day on which the
    target's close is seen), last_close and level (price's unit), volatility (of the last 20 sessions' changes) and
    spread (half width of the models' 80 % bands), of_<model> (the mean) and actual (nan while unknown, and on days
    without trading): changes from last_close as shares of level. Raises ForecastsError.
    """
    import pandas as pd

    asked = context.source.forecasts
    assert asked is not None  # noqa: S101 - the caller has looked
    settings = platform.settings
    models = _named(asked.of, settings.models, "source.forecasts.of")
    series = _named(asked.series, settings.series_names, "source.forecasts.series")
    if len(models) < 2:
        raise ForecastsError(f"source.forecasts.of names {models[0]} alone: name two models or more")
    notes: list[str] = []
    found = pd.concat([_of_series(platform, one, models, asked, notes) for one in series], ignore_index=True)
    found.attrs[NOTES] = notes
    return found


def _named(asked: Sequence[str], known: Sequence[str], where: str) -> list[str]:
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ForecastsError(f"{where}: {name!r} is none of {', '.join(known)}{f': {near[0]}?' if near else ''}")
    return list(dict.fromkeys(asked or known))


def _of_series(
    platform: Platform, series: str, models: Sequence[str], asked: Forecasts, notes: list[str]
) -> pd.DataFrame:
    import pandas as pd

    found: pd.DataFrame | None = None
    newest: dict[str, dt.date] = {}
    spread: Any = 0.0
    table = platform.series_table(series)
    observed = np.asarray(table.columns["is_observed"], bool)
    days, closes = table.dates[observed], np.asarray(table.columns["close"], np.float64)[observed]
    for model in models:
        rows = _rows(platform, series, model, asked)
        _refuse_other_prices(series, model, rows, days, closes)
        newest[model] = rows.index[-1][0]
        spread = spread + (rows["upper_80"] - rows["lower_80"]) / 2
        own = rows[["target_date", "data_cutoff_date", "forecast_mean"]].rename(columns={"forecast_mean": model})
        found = own if found is None else found.join(own[model], how="inner")
    assert found is not None  # noqa: S101 - of at least two models
    if found.empty:
        raise ForecastsError(f"no forecast date of {series} has all of {', '.join(models)}: forecast them for the same")
    last_date = max(newest.values())
    notes += [
        f"{series}: {model} has no forecast after {day}, others have to {last_date}: nothing newer is voted on"
        for model, day in newest.items()
        if day < last_date
    ]
    level, volatility = _trailing(closes)
    cutoff = found["data_cutoff_date"].to_numpy("datetime64[D]")
    place = np.searchsorted(days, cutoff, side="right") - 1
    if (place < 0).any():
        raise ForecastsError(f"unified_data of {series} begin after some of its forecasts: ingest the days before")
    target = found["target_date"].to_numpy("datetime64[D]")
    at = np.minimum(np.searchsorted(days, target), len(days) - 1)
    truth = np.where(days[at] == target, closes[at], np.nan)
    last, size = closes[place], level[place]
    origins = found.index.get_level_values("forecast_date").to_numpy("datetime64[D]")
    values: dict[str, Any] = {
        "series": series,
        ORIGIN: origins.astype("datetime64[s]"),
        "day": found.index.get_level_values("day_ahead").to_numpy().astype(np.float64),
        "target_date": target.astype("datetime64[s]"),
        SEEN: (target + platform.settings.publication_lag_days.market * ONE_DAY).astype("datetime64[s]"),
        "last_close": last,
        "level": size,
        "volatility": volatility[place] / size,
        "spread": spread.reindex(found.index).to_numpy() / len(models) / size,
        **{f"{MEMBER}{model}": (found[model].to_numpy() - last) / size for model in models},
        OUTCOME: (truth - last) / size,
    }
    return pd.DataFrame(values)


def _rows(platform: Platform, series: str, model: str, asked: Forecasts) -> pd.DataFrame:
    """A model's good forecasts by forecast date and day ahead. Raises ForecastsError where there are none."""
    where: dict[str, Any] = {
        "commodity": series, "model_name": model, "model_version": platform.settings.model_version,
        "model_success": True, "has_data_leakage": False,
    }  # fmt: skip
    if asked.start is not None or asked.end is not None:
        where["forecast_date"] = Between(asked.start or dt.date.min, asked.end or dt.date.max)
    found = platform.warehouse.read(POINT_FORECASTS, _READ, where)
    if not found.num_rows:
        raise ForecastsError(
            f"there are no forecasts of {series} by {model}: run `forecast-platform backfill --commodity {series} "
            f"--models {model}`, or leave it out of source.forecasts"
        )
    return found.to_pandas().set_index(["forecast_date", "day_ahead"]).sort_index()


def _refuse_other_prices(series: str, model: str, rows: pd.DataFrame, days: Dates, closes: Floats) -> None:
    """Raises ForecastsError for forecasts that began at other prices than are known now, as the reader does: as changes
    from those they would be anything. days, closes: of the sessions, [n]."""
    by_date = rows.groupby(level="forecast_date")
    cutoff = by_date["data_cutoff_date"].first().to_numpy("datetime64[D]")
    place = np.searchsorted(days, cutoff, side="right") - 1
    last = np.where(place >= 0, closes[place], np.nan)
    low, high = (by_date[name].agg(how).to_numpy()[:, None] for name, how in (("lower_95", "min"), ("upper_95", "max")))
    wrong = other_prices_by_bands(last, low, high)
    if wrong.any():
        dates = list(by_date.groups)
        first, end = (dates[one] for one in np.flatnonzero(wrong)[[0, -1]])
        raise ForecastsError(
            f"{int(wrong.sum())} forecasts of {series} by {model} from {first} to {end} were made from other prices "
            "than those that are known now (another unit?): make them anew with `forecast-platform backfill "
            f"--commodity {series} --models {model} --start-date {first} --end-date {end}`, or name other dates in "
            "source.forecasts"
        )


def _trailing(closes: Floats) -> tuple[Floats, Floats]:
    """Of each session the median size of the closes up to it, and the deviation of their changes: price's unit."""
    import pandas as pd

    sizes = pd.Series(np.abs(closes)).rolling(_LEVEL_SESSIONS, min_periods=1).median().to_numpy()
    changes = pd.Series(np.diff(closes, prepend=closes[0])).rolling(_VOLATILITY_SESSIONS, min_periods=1).std(ddof=0)
    return np.maximum(sizes, 1e-12), changes.to_numpy()


def write_votes(warehouse: Warehouse, context: Context, frame: pd.DataFrame, rows: Rows, outcome: Outcome) -> str:
    """A vote's predictions of rows by weights that had not seen them, as prices; returns the table's name.

    Raises WarehouseError.
    """
    name = f"ensembles.forecasts.oof_predictions_{context.slug}_{outcome.task}"
    assert outcome.predicted is not None  # noqa: S101 - of a vote
    about = frame.iloc[rows.source].reset_index(drop=True)
    arrays = {"ensemble": outcome.predicted[:, 0], "target": rows.y}
    arrays |= {f"model_{number}": part[:, 0] for number, part in enumerate(outcome.parts)}
    return _written(warehouse, name, about, arrays, "Votes on forecasts by weights that had not seen their outcomes.")


def write_newest(warehouse: Warehouse, context: Context, about: pd.DataFrame, predicted: Floats) -> str:
    """What the deployed vote says of the rows whose outcome is not known, as prices; returns the table's name.

    about: those rows of the frame; predicted: [n, 1]. Raises WarehouseError.
    """
    name = f"ensembles.forecasts.forecasts_{context.slug}"
    arrays = {"forecast": predicted[:, 0]}
    return _written(warehouse, name, about.reset_index(drop=True), arrays, "Votes on forecasts without outcome yet.")


def open_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame of forecasts whose outcome is not known: later than all that are, of each series; all of a
    series of which none is."""
    newest = frame.loc[frame[OUTCOME].notna()].groupby("series")["target_date"].max()
    known = frame["series"].map(newest)
    return frame[known.isna() | (frame["target_date"] > known)]


def _written(warehouse: Warehouse, name: str, about: pd.DataFrame, arrays: dict[str, Floats], description: str) -> str:
    import pyarrow as pa

    columns = [
        Column("commodity", "string", "The series.", False),
        Column("forecast_date", "date", "When the forecasts were made.", False),
        Column("target_date", "date", "The day forecast.", False),
        Column("day_ahead", "int", "1 is forecast_date itself.", False),
        *(Column(one, "float", "In the price's unit.") for one in arrays),
    ]
    # The workflow's columns are those of its models of now.
    table = Table(
        name,
        description,
        tuple(columns),
        (),
        ("commodity", "forecast_date", "day_ahead"),
        open_columns=True,
        whole=True,
    )
    last, size = about["last_close"].to_numpy(), about["level"].to_numpy()
    data: dict[str, Any] = {
        "commodity": about["series"].to_numpy(),
        "forecast_date": about[ORIGIN].to_numpy("datetime64[D]"),
        "target_date": about["target_date"].to_numpy("datetime64[D]"),
        "day_ahead": about["day"].to_numpy().astype(np.int32),
        **{one: last + size * values for one, values in arrays.items()},
    }
    warehouse.replace(table, pa.table(data), {})
    return name
