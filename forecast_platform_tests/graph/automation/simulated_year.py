"""A year over one simulation: outages, a revision, a crash, restarts, two daemons, a second series, a new version."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from dagster import DagsterInstance

from forecast_platform.graph.keys import FORECAST, Keys
from forecast_platform.settings import Settings, build
from forecast_platform.sources.calendars import sessions
from forecast_platform_tests.graph.automation.simulation import Landing, Simulation

ZONE = ZoneInfo("America/Los_Angeles")
MODELS = ("naive", "random_walk")
FIRST, LAST = dt.date(2021, 1, 4), dt.date(2022, 1, 23)
FILES = ("market/coffee.csv", "macro.csv")
DAY = dt.timedelta(days=1)


def at(year: int, month: int, day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, tzinfo=ZONE)


OUTAGES = {
    "past the deadline": (dt.date(2021, 3, 10), at(2021, 3, 11, 14)),
    "before the deadline": (dt.date(2021, 4, 14), at(2021, 4, 15, 9, 30)),
    "beyond the staleness limit": (dt.date(2021, 5, 11), at(2021, 5, 20, 4)),
    "on a half-year boundary": (dt.date(2021, 6, 30), at(2021, 7, 1, 14)),
    "over the end of daylight saving": (dt.date(2021, 11, 5), at(2021, 11, 7, 9, 30)),
}
"""First session that is held back, and until when."""

REVISED, NOTICED, REFRESHED = dt.date(2021, 9, 1), dt.date(2021, 9, 15), dt.date(2021, 9, 17)
CRASHED = dt.date(2021, 10, 20)
OFF = (dt.date(2021, 8, 10), dt.date(2021, 8, 12))
"""The machine is off on these days, and comes back on the next at 09:00."""

RESTARTED = {dt.date(2021, 2, 16), dt.date(2021, 6, 15), dt.date(2022, 1, 14)}
"""The daemon and its code server start anew between two sensors' ticks."""
DIED = dt.date(2021, 12, 22)
"""The daemon is killed once its sensor's runs are launched, before it has kept the cursor."""
TWO_DAEMONS = dt.date(2021, 12, 29)
"""A second daemon runs all day: both look before either has acted, and both launch what they found."""
JOINED = dt.date(2021, 12, 20)
"""From here on there is a second series, on an exchange that is shut on 27 and 28 December and 3 January, when New York
trades, and open on 24 December, when New York does not."""
VERSION = dt.date(2022, 1, 10)
"""From here on the model version is v1.1."""
LONDON = "market/london.csv"

SPECIAL = {
    DIED,
    TWO_DAEMONS,
    JOINED,
    VERSION,
    *(first + n * DAY for first, until in OUTAGES.values() for n in range((until.date() - first).days + 2)),
    NOTICED,
    REFRESHED,
    REFRESHED + DAY,
    CRASHED,
    OFF[1] + DAY,
    dt.date(2022, 1, 1),
}


def london(source: Path, folder: Path) -> None:
    """A market file on London's sessions: sugar's closes, the last one where New York was shut."""
    rows = [line.split(",") for line in (source / "market" / "sugar.csv").read_text().splitlines()]
    at_close = rows[0].index("close")
    closes = {row[0]: float(row[at_close]) for row in rows[1:] if row[0] >= "2019-12-01"}
    lines, known = ["date,close"], 0.0
    for day in map(str, sessions("XLON", dt.date(2019, 12, 2), LAST)):
        known = closes.get(day, round(known * 1.001, 4))
        lines.append(f"{day},{known}")
    (folder / "market").mkdir(parents=True, exist_ok=True)
    (folder / LONDON).write_text("\n".join(lines) + "\n")


class Year:
    """The events of `first` to `last` over one simulation; `make` opens the Dagster instance."""

    def __init__(
        self, root: Path, landing: Path, make: Callable[[Path], DagsterInstance], first: dt.date, last: dt.date
    ) -> None:
        self.first, self.last, self.root, self.make = first, last, root, make
        london(landing, root / "london")
        self.landing = Landing(root / "landing", landing, "2020-01-01", FILES)
        self.second = Landing(root / "landing", root / "london", "2020-01-01", (LONDON,))
        self.landed = first - DAY
        start = dt.datetime.combine(first, dt.time(0, 5), ZONE)
        for name in FILES:
            self.landing.land(name, self.landed, start - dt.timedelta(hours=1))
        self.sim = Simulation(self._settings(), make(root / "dagster"), start.astimezone(dt.timezone.utc))

    def _settings(self, **changes: object) -> Settings:
        values: dict[str, object] = {
            "source": "landing",
            "landing": self.root / "landing",
            "warehouse": self.root / "warehouse",
            "models": MODELS,
            "n_paths": 100,
            "lookback_years": 1,
            "start_date": dt.date(self.first.year, 1 if self.first.month < 7 else 7, 1),
            "series": [{"name": "Coffee", "regions": []}],
            "notifiers": ("recorder",),
            "min_free_gb": 0,
        }
        return build(**{**values, **changes})

    @property
    def settings(self) -> Settings:
        """As they are on the last day that was run."""
        return self.sim.settings

    @property
    def days(self) -> Iterator[dt.date]:
        """Every day."""
        return (self.first + n * DAY for n in range((self.last - self.first).days + 1))

    def go(self) -> Year:
        """Run them all."""
        self.sim.tick_all()
        for day in self.days:
            self.run(day)
        return self

    def set_up(self, day: dt.date) -> None:
        """What an operator changes on a day, with the restart that it takes; or a restart alone."""
        series = [{"name": "Coffee", "regions": []}, {"name": "London", "regions": [], "exchange": "XLON"}]
        if day == JOINED:
            self.second.land(LONDON, day - 3 * DAY, self.sim.clock.at)
            self.sim.restart(self._settings(series=series))
        elif day == VERSION:
            self.sim.restart(self._settings(series=series, model_version="v1.1"))
        elif day in RESTARTED:
            self.sim.restart()
        self.sim.daemons = 2 if day == TWO_DAEMONS else 1

    def deliver(self, day: dt.date, hour: int, minute: int = 0) -> None:
        """The feed brings what it has at this time."""
        self.sim.local(day, hour, minute)
        now = self.sim.clock.at
        newest = day - DAY
        for first, until in OUTAGES.values():
            if now < until:
                newest = min(newest, first - DAY)
        if newest != self.landed or day == NOTICED:
            self.landed = newest
            for name in FILES:
                self.landing.land(name, newest, now)
            if day >= JOINED:
                self.second.land(LONDON, newest, now)

    def run(self, day: dt.date) -> None:
        sim = self.sim
        sim.local(day, 4)
        self.set_up(day)
        if OFF[0] <= day <= OFF[1]:
            return
        if day == OFF[1] + DAY:
            self.come_back(day)
            return
        if sim.settings.start_date < day and day.day == 1 and day.month in (1, 7):
            sim.local(day, 0)
            statuses, message = sim.schedule("training")
            waits = f"window {day}: waits for the close of {{}} of {day - DAY} (newest {day - 2 * DAY})"
            assert statuses == []
            assert message.startswith(waits.format("Coffee")), message
        if day == NOTICED:
            self.landing.revise("market/coffee.csv", REVISED, lambda row: [*row[:4], str(float(row[4]) + 3), *row[5:]])
        self.deliver(day, 5)
        sim.local(day, 5, 0, 5)
        if day == DIED:
            sim.forgets = "new_data"
        sim.sensor("new_data")
        sim.local(day, 5, 1)
        sim.until_quiet("new_data")
        if day in SPECIAL:
            sim.until_quiet("train_missing_windows")
        if day == CRASHED:
            sim.crash_next = "forecast"
        sim.local(day, 8)
        sim.schedule("daily")
        sim.local(day, 8, 2)
        sim.until_quiet("daily_forecast")
        sim.until_quiet("alerts")
        if day in SPECIAL:
            self.long_day(day)

    def long_day(self, day: dt.date) -> None:
        """Looks through the rest of the day."""
        sim = self.sim
        for hour, minute in ((8, 20), (9, 31), (11, 1), (11, 20), (14, 1), (16, 0), (23, 50)):
            self.deliver(day, hour, minute)
            sim.clock.at += dt.timedelta(seconds=25)
            sim.sensor("new_data")
            sim.clock.at += dt.timedelta(seconds=25)
            sim.tick_all()
            if day == REFRESHED and hour == 9:
                keys = Keys().of_job(FORECAST, MODELS, actuals=False)
                sim.command("forecast", keys, REVISED - 12 * DAY, day, ("Coffee",))

    def come_back(self, day: dt.date) -> None:
        """The machine comes back: the daemon makes up the missed tick, the sensors the missed days."""
        sim = self.sim
        self.deliver(day, 9)
        sim.local(day, 9, 1)
        sim.sensor("alerts")
        sim.sensor("new_data")
        sim.schedule("daily", due=at(day.year, day.month, day.day, 8))
        sim.local(day, 9, 5)
        sim.tick_all()
