"""What every step needs: the settings, the warehouse, and a series' history as a model may read it."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats, History, RollSchedule
from forecast_platform.forecasting.windows import FREQUENCIES, WindowFrequency
from forecast_platform.models import registry
from forecast_platform.models.base import Covariates, Model, Reads, TrainingWindow
from forecast_platform.settings import SeriesSettings, Settings, load
from forecast_platform.sources.base import WEATHER_COLUMNS
from forecast_platform.warehouse.base import Warehouse
from forecast_platform.warehouse.schemas import UNIFIED_DATA
from forecast_platform.work.step import Step

_CALENDAR_MARGIN = dt.timedelta(days=120)
"""How far beyond the last day the exchange calendar is read: the horizon, plus room for stale data."""

_MIN_COVERAGE = 0.5
"""Share of a training window a covariate must be known for to be used in it."""


class NoDataError(ValueError):
    """A series has no rows where they are needed; the message says which and how to get them."""


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """One series' unified_data as arrays, ascending by date."""

    series: SeriesSettings
    dates: Dates
    columns: dict[str, NDArray[Any]]
    sessions: Dates
    own: Mapping[str, Floats] = field(default_factory=dict)
    """Those of high, low and close_2 that are known, nan on days that carry over an earlier day's."""

    @cached_property
    def schedule(self) -> RollSchedule | None:
        """The rolls of the series' rule, from its first day to the end of the calendar; None without a rule."""
        return None if self.series.rule is None else self.series.rule.schedule(self.sessions)

    @property
    def last_observed(self) -> dt.date:
        """The newest day with a real close."""
        return _date(self.dates[np.flatnonzero(self.columns["is_observed"])[-1]])

    def observed_before(self, day: dt.date) -> Dates:
        """The days before `day` with a real close, datetime64[D] ascending."""
        return self.dates[self.columns["is_observed"] & (self.dates < np.datetime64(day, "D"))]

    def seen_days(self, lag: int) -> Dates:
        """The day on which each session's close is first seen, datetime64[D] [n_sessions]: `lag` days, the market's
        publication lag, after it."""
        return self.sessions + lag * ONE_DAY

    def covariate_names(self, kind: Covariates, window: TrainingWindow) -> tuple[str, ...]:
        """The covariates a model of this kind reads in this window: those known for at least half of it.

        Decided on the training days alone, so that what comes later cannot change which are used.
        """
        if kind == "none":
            return ()
        inside = (self.dates >= window.start) & (self.dates < window.end)

        def known(names: Sequence[str]) -> tuple[str, ...]:
            share = {
                name: float(np.isfinite(self.columns[name][inside]).mean()) if inside.any() else 0.0
                for name in names
                if name in self.columns
            }
            return tuple(name for name, part in share.items() if part >= _MIN_COVERAGE)

        weather = known(WEATHER_COLUMNS)
        own = known(self.series.covariates)
        if kind == "weather_or_series":
            return weather or own
        return own + tuple(name for name in weather if name not in own)

    def history(
        self, start: np.datetime64, end: np.datetime64, covariates: Sequence[str], reads: Reads = ()
    ) -> History:
        """The days start..end (end excluded) with these covariates, and of `reads` what the series has; leading days
        without covariates are left out.

        Raises NoDataError where rows or covariates are missing in between.
        """
        inside = (self.dates >= start) & (self.dates < end)
        missing = [name for name in covariates if name not in self.columns]
        if missing:
            raise NoDataError(f"unified_data of {self.series.name} has no column {missing[0]}: ingest it again")
        for name in covariates:
            inside &= np.maximum.accumulate(np.isfinite(self.columns[name]))
        dates = self.dates[inside]
        if not len(dates):
            raise NoDataError(
                f"unified_data has no rows of {self.series.name} from {start} to {end - ONE_DAY}: "
                f"materialize unified_data for them (data run from {self.dates[0]} to {self.dates[-1]})"
            )
        gaps = np.flatnonzero(np.diff(dates) != ONE_DAY)
        if len(gaps):
            raise NoDataError(
                f"unified_data of {self.series.name} has no rows from {dates[gaps[0]] + ONE_DAY} to "
                f"{dates[gaps[0] + 1] - ONE_DAY}: materialize unified_data for them"
            )
        return History(
            series=self.series.name,
            dates=dates,
            close=self.columns["close"][inside],
            observed=self.columns["is_observed"][inside],
            sessions=self.sessions,
            covariates={name: self.columns[name][inside] for name in covariates},
            rolls=self.columns["is_roll_day"][inside],
            schedule=self.schedule if "rolls" in reads else None,
            **self._own(reads, inside),
        )

    def _own(self, reads: Reads, inside: Bools) -> dict[str, Any]:
        wanted: dict[str, tuple[str, ...]] = {"range": ("high", "low"), "second_contract": ("close_2",)}
        groups = [names for kind, names in wanted.items() if kind in reads and all(name in self.own for name in names)]
        return {name: self.own[name][inside] for names in groups for name in names}


def row_hashes(history: History) -> list[str]:
    """A running hash of the rows: element k identifies the first k days, [n_days + 1]."""
    columns = [history.close, history.observed.astype(np.float64), *history.covariates.values()]
    columns += history.own_values.values()
    if history.rolls is not None:
        columns.append(history.rolls.astype(np.float64))
    rows = np.column_stack([history.dates.astype(np.int64).astype(np.float64), *columns])
    names = [history.series, *history.covariates, *history.own_values, *(["schedule"] if history.schedule else [])]
    running = hashlib.blake2b("\x1f".join(names).encode(), digest_size=12)
    digests = [running.hexdigest()]
    for row in np.ascontiguousarray(rows):
        running.update(row.data)
        digests.append(running.hexdigest())
    return digests


@dataclass(frozen=True)
class RunOptions:
    """What a run was asked beside its partitions, by run tags: the same from the UI and from a shell."""

    version: str
    overwrite: bool
    signals: bool = True
    """Whether the run writes the ready signal (`forecast_runs`): not where what started it does so at its end."""


VERSION_TAG = "forecast_platform/model_version"
OVERWRITE_TAG = "forecast_platform/overwrite"
SIGNAL_TAG = "forecast_platform/ready_signal"
LATER = "later"


class SessionSource(Protocol):
    """Where a Spark session comes from: dagster-pyspark's resources are such."""

    @property
    def spark_session(self) -> Any:
        """The session, made on the first call."""
        ...


@dataclass
class Platform:
    """Settings and warehouse of one process, with the series' tables kept while their version lasts."""

    settings: Settings
    warehouse: Warehouse
    spark: SessionSource | None = None
    """The session of compute=spark; made from the settings where None."""
    step: Step | None = None
    """The step that this process works for: computes that submit runs report through it."""
    _tables: dict[str, tuple[int | None, SeriesTable]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def from_settings(cls, settings: Settings | None = None, spark: SessionSource | None = None) -> Platform:
        """The platform that the settings describe; `spark` is a Dagster run's session, where there is one."""
        settings = settings or load()
        return cls(settings, _warehouse(settings, spark), spark)

    def model(self, name: str) -> Model:
        """The model of this name, as the settings have it. Raises ValueError where its type is unknown."""
        return registry.model_of(self.settings.model_spec(name))

    @property
    def horizon(self) -> int:
        """Days of a forecast: the warehouse's."""
        return self.warehouse.horizon

    @property
    def frequency(self) -> WindowFrequency:
        """The cadence of training windows."""
        return FREQUENCIES[self.settings.train_frequency]

    def options(self, tags: Mapping[str, str]) -> RunOptions:
        """The options that a run's tags carry."""
        return RunOptions(
            version=tags.get(VERSION_TAG, self.settings.model_version),
            overwrite=tags.get(OVERWRITE_TAG) == "true",
            signals=tags.get(SIGNAL_TAG) != LATER,
        )

    def window_start(self, day: dt.date) -> dt.date:
        """The key of the window that `day` is forecast with."""
        return self.frequency.start_of(day)

    def training_window(self, start: dt.date) -> TrainingWindow:
        """What the window that begins on `start` is fitted on."""
        first = self.frequency.back(start, self.settings.lookback_windows)
        return TrainingWindow(np.datetime64(first, "D"), np.datetime64(start, "D"))

    def series_table(self, name: str) -> SeriesTable:
        """A series' unified_data. Raises NoDataError where there is none."""
        with self._lock:
            version = self.warehouse.version(UNIFIED_DATA)
            cached = self._tables.get(name)
            if cached is None or cached[0] != version:
                cached = (version, self._read_series(self.settings.series_named(name)))
                self._tables[name] = cached
            return cached[1]

    def let_go(self) -> None:
        """Keep no table any longer: those of a run that has ended are not asked for again, and what still refers to its
        platform holds nothing large. Whatever is asked for later is read anew."""
        with self._lock:
            self._tables.clear()
            self.warehouse.let_go()

    def _read_series(self, series: SeriesSettings) -> SeriesTable:
        from forecast_platform.sources.calendars import sessions

        rows = self.warehouse.read(UNIFIED_DATA, where={"commodity": series.name})
        if rows.num_rows == 0:
            raise NoDataError(f"unified_data has no rows of {series.name}: materialize unified_data first")
        rows = rows.sort_by("date")
        dates = rows["date"].to_numpy().astype("datetime64[D]")
        skip = {"date", "commodity", "filled_columns"}
        columns = {
            column: rows[column].to_numpy(zero_copy_only=False) for column in rows.column_names if column not in skip
        }
        return SeriesTable(
            series=series,
            dates=dates,
            columns={name: values for name, values in columns.items() if values.dtype == bool or _known(values)},
            sessions=sessions(
                series.calendar, _date(dates[0]), max(_date(dates[-1]), self.settings.today()) + _CALENDAR_MARGIN
            ),
            own=_own_values(columns, rows["filled_columns"].to_pylist()),
        )

    def closes(self, name: str, first: dt.date, last: dt.date) -> tuple[Dates, NDArray[np.float64], NDArray[np.bool_]]:
        """Days first..last that are in unified_data: dates, closes in the price's unit, and whether each was a real
        session, [n] each."""
        table = self.series_table(name)
        part = slice(
            int(np.searchsorted(table.dates, np.datetime64(first, "D"))),
            int(np.searchsorted(table.dates, np.datetime64(last, "D"), side="right")),
        )
        return table.dates[part], table.columns["close"][part], table.columns["is_observed"][part]

    def stored_dates(self, name: str) -> tuple[dt.date, dt.date] | None:
        """First and last unified_data day of a series; None where it has none."""
        rows = self.warehouse.read(UNIFIED_DATA, ["date"], {"commodity": name})
        if rows.num_rows == 0:
            return None
        days = rows["date"].to_numpy().astype("datetime64[D]")
        return _date(days.min()), _date(days.max())


def _warehouse(settings: Settings, spark: SessionSource | None) -> Warehouse:
    """The tables that the settings name; nothing is opened, no session is made."""
    if settings.tables == "folder":
        from forecast_platform.warehouse.delta import DeltaWarehouse

        return DeltaWarehouse(settings.warehouse, min_free_gb=settings.min_free_gb, horizon=settings.horizon)
    from forecast_platform.warehouse.unity import UnityWarehouse

    def session() -> Any:
        if spark is not None:
            return spark.spark_session
        from forecast_platform.clients.spark import session_for

        return session_for(settings)

    return UnityWarehouse(
        session,
        catalog=settings.unity.catalog,
        liquid=settings.unity.clustering == "liquid",
        properties=settings.unity.properties,
        horizon=settings.horizon,
    )


def _own_values(columns: Mapping[str, NDArray[Any]], filled: Sequence[str]) -> dict[str, Floats]:
    """High, low and close_2 by name, [n], where each day's own are known: nan where a row carries over an older one."""
    carried = {text: set(text.split(",")) for text in set(filled)}
    found = {}
    for name in ("high", "low", "close_2"):
        if name in columns and _known(columns[name]):
            old = np.array([name in carried[text] for text in filled], np.bool_)
            found[name] = np.where(old, np.nan, columns[name])
    return found


def _known(values: NDArray[Any]) -> bool:
    return values.dtype == np.float64 and bool(np.isfinite(values).any())


def _date(day: np.datetime64) -> dt.date:
    return day.astype("datetime64[D]").astype(dt.date)
