"""One forecast: its paths, where they come from, how fresh they are, and what follows from them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting import portfolio as figures
from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.summary import summarise
from forecast_platform.host.prices import price_text
from forecast_platform.read.freshness import Freshness
from forecast_platform.read.tabular import Tabular

if TYPE_CHECKING:
    import pyarrow as pa

Paths = NDArray[np.float32]


@dataclass(frozen=True, repr=False, eq=False)
class Forecast(Tabular):
    """One forecast: the paths and where they come from. As a table: each target day's mean, median and bands."""

    series: str
    model: str
    version: str
    forecast_date: dt.date
    paths: Paths
    """Simulated closes, float32 [n_paths, horizon]; [p, h] is path p's close on forecast_date + h days. Path p is one
    scenario of every series: paths of two series with the same forecast_date may be added path by path."""
    data_cutoff_date: dt.date
    training_cutoff_date: dt.date
    last_observed_date: dt.date
    last_close: float
    """The close on last_observed_date as it is known now; the paths go on from what it was when they were made."""
    staleness_days: int
    """Days that the data lagged behind the newest session when the forecast was made."""
    freshness: Freshness
    """What it has seen of the sessions that are due by now, or by the day that was asked for."""
    generated: dt.datetime
    chosen: str = "asked for"
    """How the model was chosen: asked for, champion, or default where nobody has promoted one."""
    unit: str | None = None
    """What prices are counted in; None where the settings do not say."""

    @property
    def sessions_behind(self) -> int:
        """Sessions due by now (or by the day that was asked for) that the forecast was made without."""
        return self.freshness.behind

    @property
    def horizon(self) -> int:
        """Days that the forecast covers."""
        return self.paths.shape[1]

    @property
    def target_dates(self) -> Dates:
        """The days that are forecast, datetime64[D] [horizon]."""
        first = np.datetime64(self.forecast_date, "D")
        return np.arange(first, first + self.horizon, dtype="datetime64[D]")

    def quantile(self, level: float) -> Floats:
        """The quantile `level` (0 to 1) of each day's close, float64 [horizon], in the price's unit."""
        return np.quantile(self.paths.astype(np.float64), level, axis=0)

    def probability_above(self, price: float) -> Floats:
        """The probability (0 to 1) that each day closes above `price`, [horizon]."""
        return figures.probability_above(self.paths, price)

    def probability_below(self, price: float) -> Floats:
        """The probability (0 to 1) that each day closes below `price`, [horizon]."""
        return figures.probability_below(self.paths, price)

    def probability_of_touch(self, price: float) -> Floats:
        """The probability (0 to 1) that a close has reached `price` by each day, [horizon]; see
        `forecasting.portfolio`."""
        return figures.probability_of_touch(self.paths, price, self.last_close)

    def value_at_risk(
        self, level: float, last_close: float | None = None, day_ahead: int | None = None, position: float = 1.0
    ) -> float:
        """The loss that a position held to `day_ahead` exceeds with probability 1 - level, in the price's unit times
        that of `position`.

        last_close: the price it is counted from; the forecast's own where None. day_ahead: 1 is the forecast date, None
        the last day. Raises ValueError for a day outside the horizon, or a level outside 0.5 to below 1.
        """
        return float(figures.value_at_risk(self.profit(last_close, day_ahead, position), level))

    def expected_shortfall(
        self, level: float, last_close: float | None = None, day_ahead: int | None = None, position: float = 1.0
    ) -> float:
        """The mean loss at and beyond the value at risk (CVaR; Rockafellar and Uryasev, 2000); arguments, unit and
        errors as of `value_at_risk`."""
        return float(figures.expected_shortfall(self.profit(last_close, day_ahead, position), level))

    def profit(self, last_close: float | None = None, day_ahead: int | None = None, position: float = 1.0) -> Floats:
        """Profit of `position` units (negative: short) from last_close to each path's close on day_ahead, [n_paths], in
        the price's unit times that of `position`.

        Raises ValueError where day_ahead lies outside 1 to the horizon.
        """
        price = self.last_close if last_close is None else last_close
        return figures.leg_profits(self.paths[None], [price], [position], day_ahead)[0]

    def heading(self) -> list[str]:
        """Whose forecast, of when, how fresh."""
        return [
            f"{self.series} by {self.model} {self.version} ({self.chosen}), forecast of {self.forecast_date}, "
            f"{len(self.paths):,} paths over {self.horizon} days{in_unit(self.unit)}",
            close_text(self.last_close, self.last_observed_date, self.unit) + ", " + behind_text(self.sessions_behind),
        ]

    def to_arrow(self) -> pa.Table:
        """One row a target day."""
        import pyarrow as pa

        summary = summarise(self.paths[None])
        return pa.table(
            {
                "target_date": pa.array(self.target_dates),
                "day_ahead": pa.array(np.arange(1, self.horizon + 1, dtype=np.int32)),
                "forecast_mean": summary.mean[0],
                "forecast_median": summary.median[0],
                "lower_80": summary.lower_80[0],
                "upper_80": summary.upper_80[0],
                "lower_95": summary.lower_95[0],
                "upper_95": summary.upper_95[0],
            }
        )


def close_text(price: float, day: dt.date, unit: str | None) -> str:
    """`last close 167.30 US cents/lb on 2022-12-30`."""
    return f"last close {price_text(price)}{f' {unit}' if unit else ''} on {day}"


def in_unit(unit: str | None) -> str:
    """`, in US cents/lb`; empty where the settings do not say."""
    return f", in {unit}" if unit else ""


def behind_text(sessions: int) -> str:
    """Whether sessions that are due are lacking."""
    if not sessions:
        return "no session due is lacking"
    return f"STALE: {sessions} session{'s' if sessions > 1 else ''} behind what is due"
