"""The contract of a method: a panel as it was known at a cutoff goes in, points and quantiles come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forecast_platform.training_jobs.frequency import Steps
from forecast_platform.training_jobs.panel import Panel

Floats = NDArray[np.float64]
Tick = Callable[[int], None]
"""Called with the number of series that are done since the call before. Raises where the job has to end."""


class OutOfTimeError(Exception):
    """The job's time is used up."""


class CancelledError(Exception):
    """Whoever started the job wants it to end."""


@dataclass(frozen=True, eq=False)
class Cut:
    """The part of a panel that is known at one cutoff a series."""

    panel: Panel
    series: Steps
    """[m] the series with enough rows before their cutoff."""
    ends: Steps
    """[m] rows of each that are known."""
    future: Mapping[str, Floats]
    """Covariates over the horizon after each cutoff, where they are known ahead: by name [m, horizon]."""

    def values(self, row: int) -> Floats:
        """The known values of the cut's row-th series, [ends[row]], in its own unit."""
        start = self.panel.starts[self.series[row]]
        return self.panel.values[start : start + self.ends[row]]

    def exogenous(self, row: int) -> tuple[Floats, Floats] | None:
        """The covariates that are known ahead: [n, p] so far, [horizon, p] to come, each in its own unit; None where
        there are none."""
        if not self.future:
            return None
        start = self.panel.starts[self.series[row]]
        past = [self.panel.covariates[name][start : start + self.ends[row]] for name in self.future]
        return np.column_stack(past), np.column_stack([values[row] for values in self.future.values()])


@dataclass(frozen=True)
class Ask:
    """What every method of a job is asked for.

    horizon, season: in rows of a series; quantiles: 0 to 1, ascending; levels: of the intervals, in percent.
    """

    horizon: int
    quantiles: tuple[float, ...]
    levels: tuple[int, ...]
    season: int
    seconds_left: Callable[[], float] = lambda: float("inf")
    """Until the job's time is used up: for methods whose library takes a limit."""


@dataclass(eq=False)
class Predicted:
    """A method's forecast from one cut: points [m, horizon], quantiles [m, horizon, q] that do not cross."""

    points: Floats
    quantiles: Floats
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    failed: dict[int, str] = field(default_factory=dict)
    """Row of the cut -> why the method could not forecast it; seasonal naive stands in its place."""

    @classmethod
    def empty(cls, n: int, ask: Ask) -> Predicted:
        """One of `n` series with nothing in it yet."""
        return cls(np.full((n, ask.horizon), np.nan), np.full((n, ask.horizon, len(ask.quantiles)), np.nan))


class Method(Protocol):
    """One row of the leaderboard."""

    @property
    def name(self) -> str:
        """Its name there."""
        ...

    @property
    def cost(self) -> float:
        """Seconds that a series of 500 rows takes, roughly: shares of the progress, and who goes first."""
        ...

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """Fit on the cut and forecast it. Raises what `tick` raises."""
        ...

    def save(self, folder: Path) -> bool:
        """Write what the last fit learnt; False where it is fitted again whenever it predicts."""
        ...


class SeasonalNaive:
    """The last season again; its spread from how far seasons lie apart, growing with each season ahead.

    Hyndman and Athanasopoulos, Forecasting: Principles and Practice (3rd ed.), section 5.5.
    """

    def __init__(self, name: str = "SeasonalNaive", season: int | None = None) -> None:
        self.name = name
        self.cost = 1e-4
        self._season = season

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """Every series can be forecast: one shorter than a season with its last value."""
        found = Predicted.empty(len(cut.series), ask)
        for row in range(len(cut.series)):
            found.points[row], found.quantiles[row] = naive(cut.values(row), self._season or ask.season, ask)
            tick(1)
        return found

    def save(self, folder: Path) -> bool:
        """Nothing is learnt."""
        return False


def naive(values: Floats, season: int, ask: Ask) -> tuple[Floats, Floats]:
    """Points [horizon] and normal quantiles [horizon, q] of the seasonal naive method, in the unit of `values` [n].

    Their spread is the errors' root mean square times the root of the seasons gone by, this one counted (Hyndman and
    Athanasopoulos, 2021, section 5.5).
    """
    from scipy.special import ndtri

    if len(values) <= season:
        season = 1
    ahead = np.arange(ask.horizon)
    points = values[len(values) - season + ahead % season]
    errors = values[season:] - values[:-season]
    spread = np.sqrt(np.mean(errors**2)) if len(errors) else 0.0
    widths = spread * np.sqrt(ahead // season + 1)
    return points, points[:, None] + widths[:, None] * ndtri(np.array(ask.quantiles))[None, :]
