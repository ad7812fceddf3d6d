"""A random walk whose volatility has a season, as grains' have their weather months."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Dates, Floats, History
from forecast_platform.forecasting.volatility import LIMIT
from forecast_platform.models.base import FittedModel, TrainingWindow, require_sessions
from forecast_platform.models.innovations import (
    BURN_IN,
    Filtered,
    InnovationsModel,
    State,
    Steps,
    fitted_transform,
    fitted_variance,
    without_rolls,
)
from forecast_platform.models.random_walk import MINIMUM_SESSIONS, RandomWalkFitted
from forecast_platform.models.tags import ModelTags

HARMONICS = 2
SWING = 0.2
"""Standard deviation of each coefficient of the log variance's season beforehand: five years see five seasons."""

DISPERSION = 3.0
"""Variance of a squared standardised move over what an exponential distribution has: they have heavy tails."""

ROUNDS = 25


def fourier(dates: Dates) -> Floats:
    """Sines and cosines of the day of the year, dates [n] to [n, 2 * HARMONICS]."""
    day = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float64)
    angle = 2.0 * np.pi * (day[:, None] / 365.25) * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def seasonal(squares: Floats, dates: Dates) -> Floats:
    """Coefficients of the log variance's season, [2 * HARMONICS], by the squares [n] of standardised moves.

    The posterior mode of a Gamma model with logarithmic link (the QLIKE loss) and a normal prior of deviation SWING, by
    Fisher's scoring. Elementwise products and sums alone, so that the bits are the same with any BLAS.
    """
    basis = np.concatenate([np.ones((len(dates), 1)), fourier(dates)], axis=1)
    precision = np.full(basis.shape[1], DISPERSION / SWING**2)
    precision[0] = 0.0
    coefficients = np.zeros(basis.shape[1])
    coefficients[0] = np.log(squares.mean())
    information = (basis[:, :, None] * basis[:, None, :]).sum(axis=0) + np.diag(precision)
    for _ in range(ROUNDS):
        fitted = np.exp((basis * coefficients).sum(axis=1))
        gradient = (basis * (squares / fitted - 1.0)[:, None]).sum(axis=0) - precision * coefficients
        coefficients = coefficients + np.linalg.solve(information, gradient)
    return coefficients[1:]


class SeasonWalkFitted(RandomWalkFitted):
    """State: as the random walk's; and the season of the log variance."""

    expected_spreads: ClassVar[bool] = True

    def spreads(self, dates: Dates) -> Floats:
        """The season's factor on a day's standard deviation, dates [n] to [n]."""
        return np.exp(0.5 * (fourier(dates) * self.state["season"]).sum(axis=1))

    def filter(self, history: History) -> Filtered:
        """See `InnovationsFitted`."""
        return super().filter(history)._replace(spreads=self.spreads(history.observed_dates))

    def start(
        self, filtered: Filtered, known: NDArray[np.intp], history: History, origins: Dates, steps: Steps
    ) -> State:
        """See `InnovationsFitted`: the last y, and the factors of the days ahead, [n_origins, n_steps]."""
        days = origins[:, None] + steps.column * ONE_DAY
        ahead = self.spreads(days.ravel()).reshape(days.shape)
        return (*super().start(filtered, known, history, origins, steps), ahead)

    def moments(self, state: State, step: int) -> tuple[Floats, Floats | None]:
        """See `InnovationsFitted`."""
        return state[0], state[1][:, step, None]

    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        """See `InnovationsFitted`."""
        return (y, state[1])


class SeasonWalk(InnovationsModel):
    """The random walk, its conditional variance multiplied by a season that the window's years show.

    Worth it where weather has a season (corn, wheat and soybeans before harvest); elsewhere the season that is found is
    nearly flat, and the paths nearly those of `random_walk`.
    """

    name: ClassVar[str] = "season_walk"
    description: ClassVar[str] = "A random walk whose volatility has a season of the year."
    tags: ClassVar[ModelTags] = ModelTags(default=False)
    fitted_type: ClassVar[type[FittedModel]] = SeasonWalkFitted
    algorithm_version: ClassVar[int] = 2
    continues: ClassVar[tuple[int, ...]] = (1,)

    def fit(self, history: History, window: TrainingWindow) -> SeasonWalkFitted:
        """See `Model.fit`; at least 120 observed sessions."""
        require_sessions(history, MINIMUM_SESSIONS, self.name)
        scale = fitted_transform(history).scale
        plain = SeasonWalkFitted(window, {"scale": scale, "season": np.zeros(2 * HARMONICS)})
        innovations = without_rolls(history, plain.filter(history).innovations)
        fitted_variance(history, innovations)
        squares = _by_year(innovations**2, history.observed_dates, window.end)
        known = np.isfinite(squares)
        known[:BURN_IN] = False
        season = seasonal(squares[known], history.observed_dates[known])
        return replace(plain, state={**plain.state, "season": season}).calibrated(history)


def _by_year(squares: Floats, dates: Dates, end: np.datetime64) -> Floats:
    """Squares [n] over the mean of their year (counted back from `end`), so that a wild year is no season; bounded."""
    year = ((end - dates).astype(int) - 1) // 365
    out = np.full(len(squares), np.nan)
    for one in np.unique(year):
        own = year == one
        known = squares[own & np.isfinite(squares)]
        if len(known) and known.mean() > 0.0:
            out[own] = np.minimum(squares[own] / known.mean(), LIMIT)
    return out
