"""Histories straight from landing files, for tests that need no warehouse."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import exchange_calendars
import numpy as np
import pandas as pd

from forecast_platform.forecasting.history import Dates, History
from forecast_platform.forecasting.rolls import RollRule, seen_rolls
from forecast_platform.testing.histories import DAYS_BEYOND, random_history


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


MONTHLY = RollRule("FGHJKMNQUVXZ", month=0, day=15, sessions=1)


def nearby_history(
    seed: int = 1,
    end: str = "2018-07-01",
    *,
    start: str = "2015-01-01",
    mean: float = 0.0,
    spread: float = 0.0,
    rule: RollRule = MONTHLY,
    name: str = "Nearby",
) -> History:
    """A random walk of daily deviation .02 with bars, a roll schedule and a second contract.

    mean, spread: of the roll's own move, in daily deviations, planted on top of the day's. The second contract stands
    where the next roll will take the price, but for that day's own move.
    """
    plain = random_history(seed, start, end, name=name)
    generator = np.random.default_rng(seed + 1000)
    schedule = rule.schedule(plain.sessions)
    index = plain.observed_index
    rolls = np.zeros(len(plain), bool)
    rolls[index] = seen_rolls(schedule, plain.observed_dates)
    planted = np.zeros(len(plain))
    planted[rolls] = 0.02 * (mean + spread * generator.standard_normal(int(rolls.sum())))
    close = plain.close * np.exp(np.cumsum(planted))
    # A day's extremes of forty steps between its two closes: a Brownian bridge.
    before = np.concatenate([close[index][:1], close[index][:-1]])
    walks = np.cumsum(generator.normal(0.0, 0.02 / np.sqrt(40), (len(index), 40)), axis=1)
    bridge = walks - walks[:, -1:] * np.arange(1, 41) / 40
    bridge += np.log(close[index] / before)[:, None] * np.arange(1, 41) / 40
    high, low, close_2 = (np.full(len(plain), np.nan) for _ in range(3))
    high[index] = before * np.exp(np.maximum(bridge.max(axis=1), 0.0))
    low[index] = before * np.exp(np.minimum(bridge.min(axis=1), 0.0))
    following = np.searchsorted(plain.dates[rolls], plain.dates[index], side="right")
    gaps = np.append(planted[rolls], 0.02 * mean)
    close_2[index] = close[index] * np.exp(gaps[following])
    return replace(plain, close=close, rolls=rolls, schedule=schedule, high=high, low=low, close_2=close_2)


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
