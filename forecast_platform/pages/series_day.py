"""What the pages of a day show of one series, as plain data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from forecast_platform.forecasting.history import Bools, Dates, Floats
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.pages.scores import ModelKey

if TYPE_CHECKING:
    import pandas as pd

WEEK = 8
"""The day ahead that lies a week after the forecast date."""


@dataclass(frozen=True)
class When:
    """The day that a page is of, and when it is made."""

    day: dt.date
    today: dt.date
    zone: str = "UTC"
    """In which times are written."""
    due: dt.datetime | None = None
    """From when on a newer page ought to be there; None where none will be."""


def ahead_of(horizon: int) -> tuple[int, ...]:
    """Days ahead at which a close is compared with what was forecast for it: that day, a week before, the farthest."""
    return tuple(sorted({1, min(WEEK, horizon), horizon}))


@dataclass(frozen=True)
class Bands:
    """One model's forecast: float64 [horizon] each, closes from the forecast date on."""

    key: ModelKey
    median: Floats
    lower_80: Floats
    upper_80: Floats
    lower_95: Floats
    upper_95: Floats
    link: str | None = None
    """Relative address of its fan chart."""


@dataclass(frozen=True)
class Hit:
    """What one model had said of a close, `ahead` days before it."""

    key: ModelKey
    ahead: int
    lower_80: float
    upper_80: float
    lower_95: float
    upper_95: float

    def verdict(self, close: float) -> Literal["inside 80 %", "inside 95 %", "missed"]:
        """Where the close fell; a bound belongs to its band."""
        if self.lower_80 <= close <= self.upper_80:
            return "inside 80 %"
        return "inside 95 %" if self.lower_95 <= close <= self.upper_95 else "missed"


@dataclass(frozen=True)
class SeriesDay:
    """What the page shows of one series.

    history_dates: datetime64[D] [n]; history_close: [n], in the price's unit, as hit_close is. made, failed: bool
    [keys, expected], whether a forecast of that model and date is there, or failed.
    """

    series: str
    forecast_date: dt.date | None
    """Of the newest forecast on or before the page's day; None where there is none."""
    champion: ModelKey
    models: list[Bands]
    history_dates: Dates
    history_close: Floats
    hit_date: dt.date | None = None
    """The newest session with a close before the page's day."""
    hit_close: float = np.nan
    hits: list[Hit] = field(default_factory=list)
    board: pd.DataFrame | None = None
    """Of `scores.leaderboard`, over the year to `ends`."""
    expected: Sequence[dt.date] = ()
    keys: Sequence[ModelKey] = ()
    made: Bools | None = None
    failed: Bools | None = None
    leaderboard_link: str | None = None
    unit: str | None = None
    """What prices are counted in."""
    horizon: int = DEFAULT
    """Days that a forecast covers."""
    chosen: bool = True
    """Whether there is a champion that was chosen; else `champion` is the default."""
    due: dt.date | None = None
    """The newest session before the page's day whose close was due."""
    late: int = 0
    """Sessions by which the newest close is behind that."""
    ended: dt.date | None = None
    """Where the source has ended: its last forecast date."""
    made_at: dt.datetime | None = None
    """When the champion's forecast was made."""
    began: dt.date | None = None
    """The day of the newest close that it was made of."""
    history_link: str | None = None

    def over(self, day: dt.date) -> bool:
        """Whether the series had ended before `day`: then nothing is late or missing of it."""
        return self.ended is not None and self.ended < day

    @property
    def ends(self) -> dt.date | None:
        """The last date that a forecast is expected of, on or before the page's day."""
        return self.expected[-1] if len(self.expected) else self.forecast_date

    @property
    def last_close(self) -> float:
        """The newest close that the forecast knew, in the price's unit; NaN where there is none."""
        return float(self.history_close[-1]) if len(self.history_close) else float("nan")

    @property
    def last_date(self) -> dt.date | None:
        """Its day."""
        return self.history_dates[-1].astype(dt.date) if len(self.history_dates) else None

    @property
    def lacks(self) -> bool:
        """Whether the champion's forecast was made without a close that was due before its day, and came since."""
        return self.began is not None and self.last_date is not None and self.began < self.last_date

    @property
    def standing(self) -> str:
        """The same, with why it is no champion."""
        return "champion" if self.chosen else "the default, nobody has chosen a champion"

    @property
    def role(self) -> str:
        """What the model that the reader follows is called: one that nobody chose is the default."""
        return "champion" if self.chosen else "default"


def champion_of(one: SeriesDay) -> Bands | None:
    """The champion's forecast; None where it has none."""
    return next((bands for bands in one.models if bands.key == one.champion), None)
