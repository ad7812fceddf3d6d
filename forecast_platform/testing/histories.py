"""Histories with known parameters, made without any file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, History

DAYS_BEYOND = 60
"""Days of the exchange's published schedule past a history's end."""


def random_history(
    seed: int = 1,
    start: str = "2015-01-01",
    end: str = "2018-07-01",
    sigma: float = 0.02,
    momentum: float = 0.0,
    covariates: bool = False,
    name: str = "Random",
) -> History:
    """A geometric random walk on weekdays, for tests that need known parameters; no files are read.

    momentum: first-order autocorrelation of the returns. covariates: adds a random-walk `vix` and seasonal weather.
    """
    dates = np.arange(np.datetime64(start), np.datetime64(end), ONE_DAY)
    observed = np.is_busday(dates)
    generator = np.random.default_rng(seed)
    steps = np.zeros(len(dates))
    previous = 0.0
    for day in np.flatnonzero(observed):
        previous = steps[day] = momentum * previous + generator.normal(0.0, sigma)
    observed[0] = True
    schedule = np.arange(dates[0], dates[-1] + DAYS_BEYOND * ONE_DAY)
    columns = {}
    if covariates:
        season = np.sin(2 * np.pi * np.arange(len(dates)) / 365.25)
        columns["vix"] = 20.0 + np.cumsum(generator.normal(0.0, 0.1, len(dates)))
        columns["temp_mean_c"] = 20.0 + 5.0 * season + generator.normal(0.0, 2.0, len(dates))
        columns["precipitation_mm"] = generator.gamma(0.5, 4.0, len(dates))
    close = 100.0 * np.exp(np.cumsum(steps))
    return History(name, dates, close, observed, schedule[np.is_busday(schedule)], columns)


def changed_from(history: History, date: np.datetime64, factor: float = 1.3) -> History:
    """The same history with other closes, covariates, bars and rolls from `date` on; the calendar stays."""
    later = history.dates >= date
    columns = {name: np.where(later, 1.5 * values + 1.0, values) for name, values in history.covariates.items()}
    own: dict[str, Any] = {name: np.where(later, 1.7 * values, values) for name, values in history.own_values.items()}
    rolls = None if history.rolls is None else np.where(later, ~history.rolls, history.rolls)
    close = np.where(later, factor * history.close, history.close)
    return replace(history, close=close, covariates=columns, rolls=rolls, **own)
