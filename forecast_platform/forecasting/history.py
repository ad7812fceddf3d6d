"""What a model may know of one series: a gapless grid of calendar days and the exchange's published sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Dates = NDArray[np.datetime64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ONE_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, eq=False)
class RollSchedule:
    """When a nearby series passes to its next contract, by the exchange's rule (`rolls.RollRule`).

    dates: datetime64[D] [m], ascending: the first session of each contract as nearby.
    months: int64 [m], 1 to 12: the delivery month of the contract that begins.
    Published in advance, as sessions are: reading it beyond the last day leaks nothing.
    """

    dates: Dates
    months: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class History:
    """One series on a gapless calendar-day grid.

    dates: datetime64[D] [n], ascending, one a calendar day.
    close: float64 [n], the last known close on each day (forward-filled; may be zero or negative), in the price's unit.
    observed: bool [n], true where the exchange's close of that very day was seen.
    sessions: datetime64[D], every scheduled exchange session from dates[0] to well past dates[-1].
        The schedule is published in advance: reading it beyond the last day leaks nothing.
    covariates: name -> float64 [n], as known at the end of each day; no NaN.
    rolls: bool [n], days on which the nearby contract changed (kept out of residual pools).
    schedule: the rolls by rule, from dates[0] to well past dates[-1]; None where no rule is known.
    high, low: float64 [n], each day's own, in the price's unit; nan where the bar is missing or carried over from an
        earlier day.
    close_2: float64 [n], each day's own close of the second contract, in the price's unit; nan where unknown.
    """

    series: str
    dates: Dates
    close: Floats
    observed: Bools
    sessions: Dates
    covariates: Mapping[str, Floats] = field(default_factory=dict)
    rolls: Bools | None = None
    schedule: RollSchedule | None = None
    high: Floats | None = None
    low: Floats | None = None
    close_2: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.dates)
        if n == 0:
            raise ValueError(f"History of {self.series}: no days; ingest the series first")
        if np.any(np.diff(self.dates) != ONE_DAY):
            raise ValueError(f"History of {self.series}: dates must be consecutive calendar days")
        columns = {"close": self.close, "observed": self.observed, **self.covariates}
        for name, column in {**columns, **self.own_values}.items():
            if column.shape != (n,):
                raise ValueError(f"History of {self.series}: {name} has shape {column.shape}, expected ({n},)")
            if name in columns and column.dtype == np.float64 and not np.isfinite(column).all():
                bad = self.dates[~np.isfinite(column)][0]
                raise ValueError(f"History of {self.series}: {name} is not finite on {bad}")

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def own_values(self) -> dict[str, Floats]:
        """Those of high, low and close_2 that are there, by name: float64 [n], in the price's unit."""
        found = {"high": self.high, "low": self.low, "close_2": self.close_2}
        return {name: column for name, column in found.items() if column is not None}

    @cached_property
    def observed_index(self) -> NDArray[np.intp]:
        """Positions on the day grid of the observed sessions, ascending, [n_observed]."""
        return np.flatnonzero(self.observed)

    @property
    def observed_dates(self) -> Dates:
        """Dates of the observed sessions, datetime64[D] [n_observed]."""
        return self.dates[self.observed_index]

    @property
    def observed_close(self) -> Floats:
        """Closes of the observed sessions, float64 [n_observed], in the price's unit."""
        return self.close[self.observed_index]

    def observed_covariate(self, name: str) -> Floats:
        """A covariate as known at the end of each observed session, float64 [n_observed], in its own unit.

        Raises KeyError where there is none of this name.
        """
        return self.covariates[name][self.observed_index]

    def before(self, date: np.datetime64) -> History:
        """The part strictly before `date`: all that a model fitted for, or a forecast made on, that day may see."""
        return self._take(slice(0, int(np.searchsorted(self.dates, date))))

    def since(self, date: np.datetime64) -> History:
        """The part from `date` on."""
        return self._take(slice(int(np.searchsorted(self.dates, date)), None))

    def _take(self, part: slice) -> History:
        return replace(
            self,
            dates=self.dates[part],
            close=self.close[part],
            observed=self.observed[part],
            covariates={name: column[part] for name, column in self.covariates.items()},
            rolls=None if self.rolls is None else self.rolls[part],
            **{name: column[part] for name, column in self.own_values.items()},  # type: ignore[arg-type]
        )

    def known_sessions(self, origins: Dates) -> NDArray[np.intp]:
        """How many observed sessions lie strictly before each of `origins`, datetime64[D], [n_origins].

        `k - 1` is the position of the newest one in `observed_close`: the only place where a simulation turns
        a forecast date into data, so no later value can reach it. Raises ValueError where there is none.
        """
        known = np.searchsorted(self.observed_dates, origins, side="left")
        if np.any(known == 0):
            first = np.asarray(origins)[known == 0][0]
            raise ValueError(f"{self.series}: no close was observed before forecast date {first}; data begin later")
        return known

    def trading(self, origins: Dates, horizon: int) -> Bools:
        """Whether the exchange is scheduled to trade h days after each origin, bool [n_origins, horizon], h from 0.

        Raises ValueError where the published sessions end more than 14 days before the last target.
        """
        targets = np.asarray(origins, "datetime64[D]")[:, None] + np.arange(horizon) * ONE_DAY
        if len(self.sessions) == 0 or targets.max() > self.sessions[-1] + 14 * ONE_DAY:
            raise ValueError(f"{self.series}: the exchange calendar ends before {targets.max()}; extend it")
        position = np.searchsorted(self.sessions, targets)
        return self.sessions[np.minimum(position, len(self.sessions) - 1)] == targets
