"""The paths of a combination's members, read one member at a time and put where they belong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Bools, Dates
from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.models.base import Paths
from forecast_platform.warehouse.base import Between, any_of, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa


Whole = NDArray[np.signedinteger[Any]]

Put = Callable[[NDArray[np.float32], NDArray[np.float32]], None]


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
        self._put({member: (out, sources == position) for position, member in enumerate(self._made)})
        return np.moveaxis(out, 0, 2)

    def all(self, there: Bools) -> Paths:
        """All members' paths, float32 [n_members, n_origins, n_paths, horizon]; NaN where there[member, origin] is
        false."""
        out = np.empty((len(self._made), *self._shape), np.float32)
        wanted = np.broadcast_to(there[:, :, None], (*there.shape, self._shape[2]))
        for values, origins in zip(out, there, strict=True):
            values[:, ~origins] = np.nan
        self._put(dict(zip(self._made, zip(out, wanted, strict=True), strict=True)))
        return np.moveaxis(out, 1, 3)

    def _put(self, members: Mapping[str, tuple[NDArray[np.float32], Bools]]) -> None:
        """Each member's paths into its array [horizon, n_origins, n_paths] where they are wanted, [n_origins, n_paths];
        all members' of a month in turn, while what they are put into is at hand."""
        places, wanted_of, days_of = {}, dict[int, dict[str, None]](), dict[int, set[dt.date]]()
        for member, (_, wanted) in members.items():
            days = [day.astype(dt.date) for day in self._dates[wanted.any(axis=1)]]
            if days:
                places[member] = _Places(self._dates, days, [self._made[member][day] for day in days], wanted)
            for day in days:
                month = 12 * day.year + day.month
                wanted_of.setdefault(month, {})[member] = None
                days_of.setdefault(month, set()).add(day)
        # One read for the months of which the same members are wanted.
        reads: dict[tuple[str, ...], set[dt.date]] = {}
        for month, names in wanted_of.items():
            reads.setdefault(tuple(names), set()).update(days_of[month])
        days_ahead = day_columns(self._platform.horizon)
        columns = ["model_name", "forecast_date", "path_id", "generation_timestamp", *days_ahead]
        for several, of_months in reads.items():
            where = paths_key(self._series, any_of(several), self._version, sorted(of_months))
            for batch in self._platform.warehouse.batches(DISTRIBUTIONS, columns, where):
                for member, rows in by_member(batch):
                    put = places[member].of(rows)
                    for values, name in zip(members[member][0], days_ahead, strict=True):
                        put(values, rows[name].to_numpy(zero_copy_only=False))
        for member, place in places.items():
            if place.found != place.expected:
                raise ChangedError(
                    f"{member} {self._version} of {self._series} was made anew on dates from {place.days[0]} to "
                    f"{place.days[-1]} while it was read"
                )


def by_member(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows by model_name; a file's are of one."""
    import pyarrow.compute as pc

    names = rows["model_name"].unique().to_pylist()
    for name in names:
        yield name, rows if len(names) == 1 else rows.filter(pc.equal(rows["model_name"], name))


def paths_key(series: str, model: str | list[str], version: str, days: Sequence[dt.date]) -> dict[str, Any]:
    """The predicate of the rows of `distributions` that hold these forecasts, of one model or of each of several, and
    others of the same months: cheaper than an exact one. `days` ascending."""
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
        self.days = days
        n_origins, self._n_paths = wanted.shape
        self._first = int(dates[0].astype(np.int64))
        span = int((dates[-1] - dates[0]).astype(np.int64)) + 1
        # By days since the first one: its origin, and the microsecond of its forecast; of no origin the one past all.
        self._origin = np.full(span, n_origins)
        self._origin[dates.astype(np.int64) - self._first] = np.arange(n_origins)
        self._made = np.full(span, np.iinfo(np.int64).min)
        stamps = np.array(
            [moment.astimezone(dt.timezone.utc).replace(tzinfo=None) for moment in made], "datetime64[us]"
        )
        since = np.array(days, "datetime64[D]").astype(np.int64) - self._first
        self._made[since] = stamps.astype(np.int64)
        self._wanted = np.append(wanted, np.zeros((1, self._n_paths), bool), axis=0)
        of_days = wanted[self._origin[since]]
        # Those that a pool takes of every date alike, as an equal one does.
        self._same = np.flatnonzero(of_days[0]) if (of_days == of_days[0]).all() else None
        self.expected = len(days) * self._n_paths
        self.found = 0

    def of(self, batch: pa.RecordBatch) -> Put:
        """What puts values of the batch's rows where they belong in an array [n_origins, n_paths]."""
        import pyarrow as pa

        day = batch["forecast_date"].view(pa.int32()).to_numpy() - self._first
        path = batch["path_id"].to_numpy()
        made = batch["generation_timestamp"].view(pa.int64()).to_numpy()
        return self._of_dates(day, path, made) or self._of_rows(day, path, made)

    def _of_dates(self, day: Whole, path: Whole, made: Whole) -> Put | None:
        """For rows in the order in which they are written, date by date and path by path, and a pool that takes the
        same of all: a third of the time. None for others."""
        shape = (-1, self._n_paths)
        if self._same is None or not len(day) or len(day) % self._n_paths:
            return None
        day, path, made = day.reshape(shape), path.reshape(shape), made.reshape(shape)
        if (path != np.arange(self._n_paths)).any() or (day != day[:, :1]).any() or (made != made[:, :1]).any():
            return None
        dates = np.flatnonzero(made[:, 0] == self._made[day[:, 0]])
        self.found += len(dates) * self._n_paths
        origins = self._origin[day[dates, 0]]
        return _putting(*((of[:, None] * self._n_paths + self._same).ravel() for of in (dates, origins)))

    def _of_rows(self, day: Whole, path: Whole, made: Whole) -> Put:
        """For rows in any order."""
        same = made == self._made[day]
        self.found += int(np.count_nonzero(same))
        same &= path < self._n_paths
        position = self._origin[day] * self._n_paths + path
        position[~same] = self._wanted.size - 1
        chosen = np.flatnonzero(self._wanted.ravel()[position])
        return _putting(chosen, position[chosen])


def _putting(chosen: NDArray[np.intp], position: NDArray[np.intp]) -> Put:
    def put(out: NDArray[np.float32], values: NDArray[np.float32]) -> None:
        out.reshape(-1)[position] = values.take(chosen)

    return put
