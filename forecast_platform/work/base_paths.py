"""The paths of a combination's members, read one member at a time and put where they belong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Bools, Dates
from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.models.base import Paths
from forecast_platform.warehouse.base import Between, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa


class ChangedError(RuntimeError):
    """A member's forecasts are no longer those that were identified."""


class StoredPaths:
    """Members' stored forecasts of a series and version on `dates`, ascending.

    made: when each date's forecast that was identified was made, by member: paths of another one raise ChangedError.
    Arrays have the days ahead outermost in memory, as the tables do: a column is copied once, whole.
    """

    def __init__(
        self,
        platform: Platform,
        series: str,
        version: str,
        dates: Dates,
        made: Mapping[str, Mapping[dt.date, dt.datetime]],
    ) -> None:
        self._platform = platform
        self._series = series
        self._version = version
        self._dates = dates
        self._made = made
        self._shape = (platform.horizon, len(dates), platform.settings.n_paths)

    def drawn(self, sources: NDArray[np.intp]) -> Paths:
        """Path p of origin o from the member sources[o, p], float32 [n_origins, n_paths, horizon]."""
        out = np.empty(self._shape, np.float32)
        for position, member in enumerate(self._made):
            self._put(out, member, sources == position)
        return np.moveaxis(out, 0, 2)

    def all(self, there: Bools) -> Paths:
        """All members' paths, float32 [n_members, n_origins, n_paths, horizon]; NaN where there[member, origin] is
        false."""
        out = np.empty((len(self._made), *self._shape), np.float32)
        for position, member in enumerate(self._made):
            out[position][:, ~there[position]] = np.nan
            self._put(out[position], member, np.broadcast_to(there[position][:, None], self._shape[1:]))
        return np.moveaxis(out, 1, 3)

    def _put(self, out: NDArray[np.float32], member: str, wanted: Bools) -> None:
        """The member's paths into `out` [horizon, n_origins, n_paths] where they are wanted, [n_origins, n_paths]."""
        rows = np.flatnonzero(wanted.any(axis=1))
        if not len(rows):
            return
        days = [day.astype(dt.date) for day in self._dates[rows]]
        names = day_columns(self._platform.horizon)
        where = paths_key(self._series, member, self._version, days)
        columns = ["forecast_date", "path_id", "generation_timestamp", *names]
        table = self._platform.warehouse.read(DISTRIBUTIONS, columns, where)
        flat = out.reshape(len(out), -1)
        place = _Places(self._dates, days, [self._made[member][day] for day in days], wanted)
        for batch in table.to_batches():
            chosen, positions = place.of(batch)
            for column, name in zip(flat, names, strict=True):
                column[positions] = batch[name].to_numpy(zero_copy_only=False).take(chosen)
        if place.found != place.expected:
            raise ChangedError(
                f"{member} {self._version} of {self._series} was made anew on dates from {days[0]} to {days[-1]} while "
                "it was read"
            )


def paths_key(series: str, model: str, version: str, days: Sequence[dt.date]) -> dict[str, Any]:
    """The predicate of the rows of `distributions` that hold these forecasts, and others of the same months: cheaper
    than an exact one. `days` ascending."""
    where = keys_of(series, model, version, days, by_month=True)
    first, last = days[0], days[-1]
    if first.day == 1 and (last + dt.timedelta(days=1)).day == 1:
        del where["forecast_date"]  # the months say it, and no row needs to be looked at
    else:
        # A range also where dates are missing from it: to look each row's up in a list costs more than the row.
        where["forecast_date"] = Between(first, last)
    return where


class _Places:
    """Where in [n_origins, n_paths] the wanted rows of `distributions` belong; counts those of the forecasts that were
    `made` on `days`."""

    def __init__(self, dates: Dates, days: list[dt.date], made: list[dt.datetime], wanted: Bools) -> None:
        n_origins, self._n_paths = wanted.shape
        self._first = int(dates[0].astype(np.int64))
        span = int((dates[-1] - dates[0]).astype(np.int64)) + 1
        # By days since the first one: its place, and the microsecond of its forecast; of no origin the one past all.
        self._start = np.full(span, n_origins * self._n_paths)
        self._start[dates.astype(np.int64) - self._first] = np.arange(n_origins) * self._n_paths
        self._made = np.full(span, np.iinfo(np.int64).min)
        stamps = np.array(
            [moment.astimezone(dt.timezone.utc).replace(tzinfo=None) for moment in made], "datetime64[us]"
        )
        self._made[np.array(days, "datetime64[D]").astype(np.int64) - self._first] = stamps.astype(np.int64)
        self._wanted = np.append(wanted, np.zeros((1, self._n_paths), bool), axis=0).ravel()
        self.expected = len(days) * self._n_paths
        self.found = 0

    def of(self, batch: pa.RecordBatch) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The wanted rows of a batch, and the position of each."""
        import pyarrow as pa

        day = batch["forecast_date"].view(pa.int32()).to_numpy() - self._first
        path = batch["path_id"].to_numpy()
        same = batch["generation_timestamp"].view(pa.int64()).to_numpy() == self._made[day]
        self.found += int(np.count_nonzero(same))
        same &= path < self._n_paths
        position = self._start[day] + path
        position[~same] = len(self._wanted) - 1
        chosen = np.flatnonzero(self._wanted[position])
        return chosen, position[chosen]
