"""Histories straight from landing files, for tests that need no warehouse."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd

from forecast_platform.forecasting.history import Dates, History
from forecast_platform.testing.histories import DAYS_BEYOND


def history_from_csv(
    path: Path, start: str, end: str, exchange: str = "XNYS", covariates: bool = False, name: str | None = None
) -> History:
    """The days from `start` up to, not including, `end` of a file with the columns date and close.

    `covariates` adds the landing folder's macro columns and its weather averaged over regions, forward-filled; the
    history then begins on the first day on which all of them are known.
    """
    market = pd.read_csv(path, parse_dates=["date"]).set_index("date")["close"].dropna()
    days = pd.date_range(start, pd.Timestamp(end) - pd.Timedelta(days=1))
    sessions = exchange_sessions(exchange, days[0], days[-1] + pd.Timedelta(days=DAYS_BEYOND))
    market = market[market.index.isin(sessions)]
    table = pd.DataFrame({"close": market.reindex(days)})
    observed = table["close"].notna()
    table["close"] = market.reindex(days, method="ffill")
    if covariates:
        for column, values in _covariates(path.parents[1]).items():
            table[column] = values.reindex(days, method="ffill")
    first = table.dropna().index[0]
    table, observed = table[first:], observed[first:]
    return History(
        series=name or path.stem.split("_")[0].title(),
        dates=table.index.to_numpy().astype("datetime64[D]"),
        close=table["close"].to_numpy(np.float64).copy(),
        observed=observed.to_numpy(),
        sessions=sessions[sessions >= first.to_datetime64()],
        covariates={column: table[column].to_numpy(np.float64).copy() for column in table.columns.drop("close")},
    )


@cache
def exchange_sessions(exchange: str, first: pd.Timestamp, last: pd.Timestamp) -> Dates:
    """Scheduled sessions of an exchange, datetime64[D]."""
    calendar = exchange_calendars.get_calendar(exchange, start=str(first.date()), end=str(last.date()))
    return calendar.sessions.to_numpy().astype("datetime64[D]")


@cache
def _covariates(landing: Path) -> pd.DataFrame:
    macro = pd.read_csv(landing / "macro.csv", parse_dates=["date"]).set_index("date")
    weather = pd.read_csv(landing / "weather.csv", parse_dates=["date"]).drop(columns="region").groupby("date").mean()
    return macro.join(weather, how="outer").ffill()
