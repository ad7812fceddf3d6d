"""What the tables, the source and the runs hold now: the states that the pure decisions are made from."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from forecast_platform.graph.automation.day_state import DayState, Pair, Pending, Rules, SeriesState
from forecast_platform.graph.automation.requests import Claims, short_hash
from forecast_platform.graph.automation.revisions import Revisions
from forecast_platform.graph.automation.training import WindowState
from forecast_platform.graph.automation.watch import Look, look, signature
from forecast_platform.host.memory import lean_allocators
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from forecast_platform.pipeline.ingest import Changes
    from forecast_platform.work.platform import Platform, SeriesTable

_DAY = dt.timedelta(days=1)


def rules_of(settings: Settings) -> Rules:
    """The settings that decide."""
    return Rules(
        zone=ZoneInfo(settings.timezone),
        daily_time=settings.daily_time,
        wait=dt.timedelta(hours=settings.data_deadline_hours),
        attempts=settings.run_attempts,
        retry=dt.timedelta(minutes=settings.retry_minutes),
        series=settings.series_names,
        max_staleness_days=settings.max_staleness_days,
        end_date=settings.end_date,
        ends={one.name: one.end_date for one in settings.series if one.end_date is not None},
        groups=settings.series_groups,
        combined=_depths(settings),
        ui_url=settings.ui_url,
    )


def _depths(settings: Settings) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in settings.models:  # members stand before what is made of them
        if of := settings.model_spec(name).of:
            found[name] = 1 + max(found.get(member, 0) for member in of)
    return found


@dataclass
class SourceReading:
    """What the source would change in unified_data, and what it refused."""

    content: str
    changes: dict[str, Changes]
    rejections: list[str]
    lookback_end: dt.date

    @property
    def pending(self) -> Pending:
        """The partitions to ingest."""
        spans = {name: change.partitions(self.lookback_end) for name, change in self.changes.items()}
        return Pending(spans, self.content)


@dataclass
class Observer:
    """Looks at one platform; keeps what has not changed since the last look."""

    settings: Settings
    claims: Claims = field(default_factory=Claims)
    """What the schedules and sensors have just requested: each run is one's own."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _look: Look | None = None
    _reading: tuple[object, SourceReading] | None = None
    _digests: dict[tuple[str, dt.date | None], tuple[object, str]] = field(default_factory=dict)

    @cached_property
    def platform(self) -> Platform:
        """The platform, opened at the first tick and not when the definitions load."""
        from forecast_platform.work.platform import Platform

        lean_allocators()
        return Platform.from_settings(self.settings)

    @cached_property
    def _settled(self) -> Settings:
        """The settings to read files by which `look` has found settled, also where their clock is ahead of ours."""
        return self.settings.model_copy(update={"file_settle_seconds": 0.0})

    @cached_property
    def revised(self) -> Revisions:
        """Where revised days are kept until the forecasts made from them are made anew."""
        return Revisions(self.settings.warehouse / "_alerts")

    def read_source(self, files: Mapping[str, tuple[int, int]], content: str | None = None) -> SourceReading:
        """What an ingest would change now; read again only where the source, the date or unified_data changed.

        Raises SourceError as `ingest.read_source`.
        """
        from forecast_platform.pipeline.ingest import changes
        from forecast_platform.warehouse.schemas import UNIFIED_DATA

        with self._lock:
            place = (
                tuple(sorted(files.items())) or (content or self.content()),
                self.settings.today(),
                self.platform.warehouse.version(UNIFIED_DATA),
            )
            if self._reading is None or self._reading[0] != place:
                # The content first: a file that changes in between is then seen as changed at the next look.
                found = content or self.content()
                read = changes(replace(self.platform, settings=self._settled), self.settings.series_names)
                reading = SourceReading(found, *read, self.settings.lookback_end)
                self.revised.add(reading.changes, self.settings.now(), self.unified_version())
                self._reading = (place, reading)
            return self._reading[1]

    def content(self) -> str:
        """A hash of the source's content. Raises SourceError where no source can be made."""
        from forecast_platform.sources.choose import source_for

        found = source_for(self._settled).fingerprint(self.settings.series)
        return short_hash(*(f"{name}={digest}" for name, digest in sorted(found.items())))

    def pending(self, now: dt.datetime) -> Pending:
        """Days that an ingest would write, unless a file is still being written.

        Raises SourceError as `read_source`.
        """
        files = signature(self.settings)
        with self._lock:
            self._look, unsettled = look(self._look, files, now, self.settings.file_settle_seconds)
        return Pending(unsettled=unsettled) if unsettled else self.read_source(files).pending

    def table(self, name: str) -> SeriesTable | None:
        """A series' unified_data; None where it has none."""
        from forecast_platform.work.platform import NoDataError

        try:
            return self.platform.series_table(name)
        except NoDataError:
            return None

    def data(self, before: dt.date | None = None, series: Sequence[str] | None = None) -> str:
        """A hash of what models may read of unified_data (its days before `before`), over `series` (all where None)."""
        return short_hash(*(self._digest(name, before) for name in series or self.settings.series_names))

    def data_of(self, before: dt.date | None = None) -> dict[str, str]:
        """The same for each group."""
        return {group.name: self.data(before, group.series) for group in self.settings.series_groups}

    def _digest(self, name: str, before: dt.date | None) -> str:
        import numpy as np

        table = self.table(name)
        if table is None:
            return name
        with self._lock:
            known = self._digests.get((name, before))
            if known is not None and known[0] is table:
                return known[1]
            count = len(table.dates)
            if before is not None:
                count = int(np.searchsorted(table.dates, np.datetime64(before, "D")))
            own = ("close", "is_observed", "is_roll_day")
            from forecast_platform.sources.base import WEATHER_COLUMNS

            names = [column for column in (*own, *table.series.covariates, *WEATHER_COLUMNS) if column in table.columns]
            parts = [np.ascontiguousarray(table.columns[column][:count]).tobytes().hex() for column in names]
            digest = short_hash(name, str(table.dates[0]), str(count), *names, *parts)
            self._digests[name, before] = (table, digest)
            return digest

    def unified_version(self) -> int:
        """The version of unified_data; -1 where there is none yet."""
        from forecast_platform.warehouse.schemas import UNIFIED_DATA

        return _or_none(self.platform.warehouse.version(UNIFIED_DATA))

    def forecast_version(self) -> int:
        """The version of point_forecasts; -1 where there is none yet."""
        from forecast_platform.warehouse.schemas import POINT_FORECASTS

        return _or_none(self.platform.warehouse.version(POINT_FORECASTS))

    def series_state(self, name: str, today: dt.date) -> SeriesState:
        """How far a series' closes reach, and how far they should. Raises SourceError for an unknown exchange."""
        table = self.table(name)
        due, earlier = (self.due(name, day) for day in (today, today - _DAY))
        return SeriesState(name, due, earlier, None if table is None else table.last_observed)

    def due(self, name: str, before: dt.date) -> dt.date:
        """The row of unified_data in which the newest close before `before` is first seen: the last session's day,
        moved by the market's publication lag.

        Raises SourceError for an unknown exchange.
        """
        from forecast_platform.sources.calendars import sessions

        lag = dt.timedelta(days=self.settings.publication_lag_days.market)
        exchange = self.settings.series_named(name).calendar
        last = before - _DAY - lag
        found = sessions(exchange, last - dt.timedelta(days=30), last)
        day: dt.date = found[-1].item()
        return day + lag

    def expected(self) -> dict[str, set[tuple[str, str]]]:
        """Version -> series and models that the daily run covers: the configured and active versions with every
        model, the champions, and what a rollback would return to. A champion of one series is expected of all of
        them, because one run makes a version's forecasts of all series."""
        from forecast_platform.pipeline.champions import versions_to_run

        found: dict[str, set[tuple[str, str]]] = {}
        for model, version in versions_to_run(self.platform):
            found.setdefault(version, set()).update((series, model) for series in self.settings.series_names)
        return found

    def missing(self, days: list[dt.date]) -> dict[dt.date, frozenset[Pair]]:
        """Expected forecasts that point_forecasts lacks, by date."""
        from forecast_platform.warehouse.base import Between
        from forecast_platform.warehouse.schemas import POINT_FORECASTS

        where = {"forecast_date": Between(days[0], days[-1]), "day_ahead": self.settings.horizon, "model_success": True}
        columns = ("commodity", "model_name", "model_version", "forecast_date")
        rows = self.platform.warehouse.read(POINT_FORECASTS, columns, where).to_pylist()
        there = {tuple(row[name] for name in columns) for row in rows}
        expected = self.expected()
        found: dict[dt.date, frozenset[Pair]] = {}
        for day in days:
            pairs = frozenset(
                (series, model, version)
                for version, wanted in expected.items()
                for series, model in wanted
                if (series, model, version, day) not in there and not self._over(series, day)
            )
            if pairs:
                found[day] = pairs
        return found

    def _over(self, name: str, day: dt.date) -> bool:
        """Whether the series has ended before `day`."""
        end = self.settings.end_of(name)
        return end is not None and end < day

    def hopeless(self, days: Iterable[dt.date], windows: Iterable[WindowState]) -> dict[dt.date, dict[str, str]]:
        """Dates and series that no run can forecast now, with the reason: data too old, or a window untrained."""
        waiting = {window.start: window.waits_for for window in windows}
        found: dict[dt.date, dict[str, str]] = {}
        for day in days:
            start = self.platform.window_start(day)
            waits = waiting.get(start, {})
            untrained = {name: f"no model for window {start}: {reason}" for name, reason in waits.items()}
            old = {name: self._too_old(name, day) for name in self.settings.series_names}
            reasons = {**untrained, **{name: reason for name, reason in old.items() if reason}}
            reasons = {name: reason for name, reason in reasons.items() if not self._over(name, day)}
            if reasons:
                found[day] = reasons
        return found

    def _too_old(self, name: str, day: dt.date) -> str:
        """Why the data of a series allow no forecast of `day`; empty where they do."""
        table, due, limit = self.table(name), self.due(name, day), self.settings.max_staleness_days
        if table is None:
            return f"unified_data has no rows of {name}"
        known = table.observed_before(day)
        if len(known) == 0:
            return f"data of {name} begin on {table.dates[0]}"
        if (due - known[-1].item()).days <= limit:
            return ""
        # Without the number of days, which would make each date's reason one of its own.
        return (
            f"data of {name} end on {known[-1]}, more than the {limit} days before the session due that "
            "max_staleness_days allows"
        )

    def windows(self, today: dt.date) -> list[WindowState]:
        """The newest windows up to `today` that lack a model."""
        from forecast_platform.work.fits import trained_owners

        settings, frequency = self.settings, self.platform.frequency
        starts = [frequency.start_of(today)]
        while len(starts) < settings.catch_up_windows and starts[-1] > settings.start_date:
            starts.append(frequency.start_of(starts[-1] - _DAY))
        starts = [start for start in starts if start >= settings.start_date]
        lacking: dict[dt.date, dict[str, set[Pair]]] = {start: {} for start in starts}
        trained = trained_owners(self.platform, starts)
        for version, pairs in self.expected().items():
            for start in starts:
                due = {pair for pair in pairs if not self._over(pair[0], start)}
                wanted = {(series, model, version) for series, model in due} - trained[start]
                if wanted:
                    lacking[start][version] = wanted
        return [
            WindowState(
                start,
                {version: frozenset(pairs) for version, pairs in found.items()},
                self._waits_for(start),
                self.data(before=start),
                self.data_of(before=start),
            )
            for start, found in lacking.items()
            if found
        ]

    def _waits_for(self, start: dt.date) -> dict[str, str]:
        found = {}
        for name in self.settings.series_names:
            table, due = self.table(name), self.due(name, start)
            newest = None if table is None else table.last_observed
            if newest is None or newest < due:
                found[name] = f"waits for the close of {name} of {due} (newest {newest})"
        return found

    def day_state(
        self, now: dt.datetime, windows: list[WindowState], training: Mapping[str, str], pending: Pending
    ) -> DayState:
        """The state that the day's next step is decided from. training: by group, of `training_underway`."""
        settings = self.settings
        today = now.astimezone(ZoneInfo(settings.timezone)).date()
        back = range(settings.catch_up_days - 1, -1, -1)
        days = [day for day in (today - n * _DAY for n in back) if day >= settings.start_date]
        missing = self.missing(days)
        expected = self.expected()
        everything = len(settings.models) * len(settings.series_names)
        return DayState(
            today=today,
            series=tuple(
                self.series_state(name, today) for name in settings.series_names if not self._over(name, today)
            ),
            data=self.data(),
            versions=tuple(expected),
            missing=missing,
            hopeless=self.hopeless({*missing, today}, windows),
            # The date a horizon back gained its last target yesterday.
            score_windows=(
                max(self.platform.window_start(today - settings.horizon * _DAY), settings.start_date),
                self.platform.window_start(today),
            ),
            pending=pending,
            data_of=self.data_of(),
            training_of=training,
            models_of={
                version: tuple(sorted({model for _, model in pairs}))
                for version, pairs in expected.items()
                if len(pairs) < everything
            },
        )


def _or_none(version: int | None) -> int:
    return -1 if version is None else version
