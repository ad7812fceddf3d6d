"""What the day's decisions are made from and what they come to: the rules, the state of the tables, the requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from forecast_platform.graph.automation.messages import Problem
from forecast_platform.graph.automation.requests import Attempt, Request, Standing, standing
from forecast_platform.settings.groups import SeriesGroup

Pair = tuple[str, str, str]
"""Series, model, version."""


@dataclass(frozen=True)
class Rules:
    """The settings that decide, over all series or (of `part`) over those of one group."""

    zone: ZoneInfo
    daily_time: dt.time
    wait: dt.timedelta
    attempts: int
    retry: dt.timedelta
    series: tuple[str, ...]
    max_staleness_days: int
    end_date: dt.date | None = None
    ends: Mapping[str, dt.date] = field(default_factory=dict)
    """Last forecast date of the series that end, or have ended, by themselves."""
    groups: tuple[SeriesGroup, ...] = ()
    """Every group; none where these are the rules of one, or all series are in the group without a name."""
    group: str = ""
    combined: Mapping[str, int] = field(default_factory=dict)
    """Models that are made of others' forecasts, and how many such stand one above the other: 1 for a pool, 2 for a
    pool of pools."""
    ui_url: str = ""
    """Where the UI is: problems link there."""

    def ended(self, day: dt.date) -> frozenset[str]:
        """Series of which `day` is no forecast date any more."""
        return frozenset(name for name, end in self.ends.items() if end < day and name in self.series)

    def part(self, group: SeriesGroup) -> Rules:
        """The rules of one group."""
        return replace(self, series=group.series, group=group.name, groups=())

    def parts(self) -> list[Rules]:
        """The rules of each group."""
        return [self.part(group) for group in self.groups] or [self]

    def local(self, now: dt.datetime) -> dt.datetime:
        """`now` in the platform's zone."""
        return now.astimezone(self.zone)

    def start(self, day: dt.date) -> dt.datetime:
        """When `day` is run, as UTC: a wall-clock time, whatever the offset of that day."""
        return dt.datetime.combine(day, self.daily_time, self.zone).astimezone(dt.timezone.utc)

    def deadline(self, day: dt.date) -> dt.datetime:
        """Until when late data of `day` are waited for, as UTC."""
        return self.start(day) + self.wait

    def judge(
        self, request: Request, attempts: Sequence[Attempt], now: dt.datetime, most: int = 0, missing: bool = False
    ) -> Standing:
        """Where `request` stands."""
        return standing(request, attempts, now, most=most or self.attempts, wait=self.retry, missing=missing)


@dataclass(frozen=True)
class SeriesState:
    """One series' data: the newest close there is, and the one there ought to be today (and yesterday)."""

    name: str
    due: dt.date
    due_yesterday: dt.date
    last_observed: dt.date | None = None

    @property
    def late(self) -> bool:
        """Whether the last session before today is not in unified_data."""
        return self.last_observed is None or self.last_observed < self.due

    @property
    def staleness(self) -> int | None:
        """Calendar days from the newest close to the one due; None where there is no close at all."""
        return None if self.last_observed is None else max((self.due - self.last_observed).days, 0)


@dataclass(frozen=True)
class Pending:
    """Days that an ingest would write now, by series (first, last), and the content of the source they are in."""

    days: Mapping[str, tuple[dt.date, dt.date]] = field(default_factory=dict)
    source: str = ""
    unsettled: str = ""
    """Why the source is not read now: a file in it is still being written."""

    def part(self, rules: Rules) -> Pending:
        """What is pending of the rules' series."""
        return replace(self, days={name: span for name, span in self.days.items() if name in rules.series})


@dataclass(frozen=True)
class DayState:
    """What the tables hold.

    data: names the content of unified_data, over all series. missing: forecasts that there are not, by forecast date,
    of the dates that are caught up (today among them). hopeless: dates and series without data that would do, with
    the reason. training: why a model that today needs is not there yet but will be; empty where none is on its way.
    """

    today: dt.date
    series: tuple[SeriesState, ...]
    data: str
    versions: tuple[str, ...]
    missing: Mapping[dt.date, Set[Pair]]
    hopeless: Mapping[dt.date, Mapping[str, str]]
    score_windows: tuple[dt.date, dt.date]
    pending: Pending = Pending()
    training: str = ""
    models_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models that a version is run with, where they are not all: those of a champion's version."""
    data_of: Mapping[str, str] = field(default_factory=dict)
    """`data` of a group's series alone."""
    training_of: Mapping[str, str] = field(default_factory=dict)
    """`training` of a group's series alone."""

    def part(self, rules: Rules) -> DayState:
        """What the tables hold of the rules' series."""
        names = frozenset(rules.series)
        missing = {day: frozenset(pair for pair in pairs if pair[0] in names) for day, pairs in self.missing.items()}
        hopeless = {
            day: {name: why for name, why in found.items() if name in names} for day, found in self.hopeless.items()
        }
        return replace(
            self,
            series=tuple(one for one in self.series if one.name in names),
            data=self.data_of.get(rules.group, self.data),
            training=self.training_of.get(rules.group, self.training),
            missing={day: pairs for day, pairs in missing.items() if pairs},
            hopeless={day: found for day, found in hopeless.items() if found},
            pending=self.pending.part(rules),
        )


@dataclass
class Decision:
    """What to request now (with the number of tries before), what is waited for, and what people must know."""

    requests: list[tuple[Request, int]] = field(default_factory=list)
    reason: str = ""
    problems: list[Problem] = field(default_factory=list)
    keep: set[str] = field(default_factory=set)
    """Problems that cannot be judged now, because work that may end them is under way: they stay as they are."""
