"""Gathers from the tables what the daily page shows, writes it, and gives its address."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from forecast_platform.host.severity import SIGNAL, Severity
from forecast_platform.pages import page
from forecast_platform.pages.daily_layout import write_daily_page
from forecast_platform.pages.display import closes_before, history, metadata_frame
from forecast_platform.pages.headline import Said, date_text, how_fresh
from forecast_platform.pages.overview import write_overview
from forecast_platform.pages.portfolio import FAN, Book, write_portfolio, write_refused
from forecast_platform.pages.scores import ModelKey, leaderboard
from forecast_platform.pages.series_day import Bands, Hit, SeriesDay, When, ahead_of
from forecast_platform.read import Reader
from forecast_platform.read.freshness import NoForecastError, freshness
from forecast_platform.read.portfolio import PortfolioError
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import Between
from forecast_platform.warehouse.schemas import POINT_FORECASTS
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.platform import NoDataError, Platform

if TYPE_CHECKING:
    import pandas as pd


class Fact(Protocol):
    """One thing that was looked at: its name, how bad it is, and what was found."""

    @property
    def name(self) -> str:
        """What was looked at."""
        ...

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        ...

    @property
    def text(self) -> str:
        """What was found."""
        ...


class Health(Protocol):
    """How an installation is."""

    @property
    def facts(self) -> Sequence[Fact]:
        """What was looked at."""
        ...

    @property
    def severity(self) -> Severity:
        """The worst of the facts."""
        ...


_FEW = 12
"""Series up to which each one's champion has its history page made with the daily page, at a third of a second each;
of more it is made when someone asks for it (`display.asked_for`)."""

_HISTORY_DAYS = 60
_MAP_DAYS = 60
_RECENT_DAYS = 31
_BOARD_DAYS = 365
_BOUNDS = ("lower_80", "upper_80", "lower_95", "upper_95")


@dataclass(frozen=True)
class DailyPage:
    """A page that was written."""

    day: dt.date
    address: str
    file: Path
    said: Sequence[Said]
    """Of when its data are: what is old, and which series lack what; or that all is fresh."""

    def lines(self) -> list[str]:
        """What a command prints of it."""
        return [*map(str, self.said), f"page of {date_text(self.day)}: {self.address}", f"file: {self.file}"]


def daily_page(platform: Platform, health: Callable[[Settings], Health], day: dt.date | None = None) -> DailyPage:
    """Write the page of `day` (default: today, or the end where every series has ended).

    `health` looks at the installation as it is now; the page shows what it finds.
    """
    from forecast_platform.pages.index import write_index

    settings = platform.settings
    ends = [settings.end_of(name) or dt.date.max for name in settings.series_names]
    day = day or min(settings.today(), max(ends, default=dt.date.max))
    report = health(settings)
    when = When(day, settings.today(), settings.timezone, _next_due(settings, day))
    state = SIGNAL[report.severity]
    facts = [(fact.name, SIGNAL[fact.severity], fact.text) for fact in report.facts]
    groups = {
        group.name: [series_day(platform, name, day) for name in group.series] for group in settings.series_groups
    }
    if len(groups) == 1:
        [series] = groups.values()
        written = write_daily_page(settings.reports, when=when, series=series, facts=facts, state=state)
    else:
        for name, series in groups.items():
            write_daily_page(settings.reports, when=when, series=series, facts=(), state=state, group=name or "rest")
        written = write_overview(settings.reports, when=when, groups=groups, facts=facts, state=state)
    for portfolio in settings.portfolios:
        portfolio_page(platform, portfolio, when)
    write_index(settings.reports, settings.timezone)
    everything = [one for series in groups.values() for one in series]
    said = how_fresh(day, everything, when.today, when.zone)
    return DailyPage(day, f"{settings.reports_url}/{written.name}", written, said)


def _next_due(settings: Settings, day: dt.date) -> dt.datetime | None:
    """When the page of the day after `day` ought to be there; None where none will be."""
    if settings.end_date is not None and day >= settings.end_date:
        return None
    begins = dt.datetime.combine(day + dt.timedelta(days=1), settings.daily_time, ZoneInfo(settings.timezone))
    return begins + dt.timedelta(hours=settings.data_deadline_hours)


def portfolio_page(platform: Platform, name: str, when: When) -> str:
    """Write the page of a portfolio of the settings as of a day, and return its address. Where it cannot be added up
    the page says why."""
    settings = platform.settings
    reader = Reader(settings, platform.warehouse)
    try:
        positions = reader.portfolio(settings.portfolios[name])
        days = [positions.risk(horizon=ahead, on=when.day, max_age=None) for ahead in range(1, platform.horizon + 1)]
    except (PortfolioError, NoForecastError) as error:
        written = write_refused(settings.reports, name, str(error), zone=settings.timezone)
    else:
        fan = np.concatenate([day.quantiles(FAN) for day in days])
        written = write_portfolio(settings.reports, Book(name, days[-1], fan), when=when)
    return f"{settings.reports_url}/{written.name}"


def series_day(platform: Platform, name: str, day: dt.date) -> SeriesDay:
    """What the page of `day` shows of a series."""
    reader = Reader(platform.settings, platform.warehouse)
    champion, ended = ModelKey(*reader.champion(name)), platform.settings.end_of(name)
    day = min(day, ended or day)
    chosen = reader.promoted(name)
    if len(platform.settings.series) <= _FEW:
        history(platform, name, *champion)
    try:
        table = platform.series_table(name)
    except NoDataError:
        nothing = np.empty(0)
        days = nothing.astype("datetime64[D]")
        return SeriesDay(name, None, champion, [], days, nothing, horizon=platform.horizon, chosen=chosen)
    newest, models, made_at = _models(platform, name, day)
    origin = np.datetime64(newest or day, "D")
    seen = table.observed_before(day)
    shown = closes_before(table, origin, _HISTORY_DAYS)
    fresh = freshness(platform.settings, table.series, seen[-1].astype(dt.date), day) if len(seen) else None
    hit_date: dt.date | None = seen[-1].astype(dt.date) if len(seen) else None
    metadata = metadata_frame(platform, name)
    expected = [d for d in expected_dates(platform, name) if d <= day][-_MAP_DAYS:]
    # The year to the last date that the data allow, however long ago that is.
    ends = expected[-1] if expected else day
    recent = metadata[metadata["forecast_date"].between(ends - dt.timedelta(days=_BOARD_DAYS), day)]
    known = set(zip(recent["model_name"].astype(str), recent["model_version"].astype(str), strict=True))
    keys = sorted({ModelKey(*pair) for pair in known} | {bands.key for bands in models})
    made, failed = _status(recent, expected, keys)
    return SeriesDay(
        series=name,
        forecast_date=newest,
        champion=champion,
        models=models,
        history_dates=table.dates[shown],
        history_close=table.columns["close"][shown],
        hit_date=hit_date,
        hit_close=np.nan if hit_date is None else reader.last_close(name, hit_date),
        hits=[] if hit_date is None else _hits(platform, name, hit_date, keys),
        board=leaderboard(recent) if len(recent) else None,
        expected=expected,
        keys=keys,
        made=made,
        failed=failed,
        horizon=platform.horizon,
        leaderboard_link=_there(platform, "leaderboard", name),
        history_link=_there(platform, "history", name, *champion),
        chosen=chosen,
        due=None if fresh is None else fresh.due,
        late=0 if fresh is None else fresh.behind,
        ended=ended,
        made_at=made_at.get(champion),
        began=_began(metadata, champion, newest),
        unit=platform.settings.series_named(name).unit,
    )


def _began(metadata: pd.DataFrame, key: ModelKey, day: dt.date | None) -> dt.date | None:
    """The day of the newest close that a stored forecast was made of; None where that is not known."""
    if day is None:
        return None
    own = (metadata["model_name"] == key.name) & (metadata["model_version"] == key.version)
    found = metadata[own & (metadata["forecast_date"] == day)]["last_observed_date"].dropna()
    return None if found.empty else found.iloc[0]


def _there(platform: Platform, *parts: str) -> str | None:
    """The page's file where it was written."""
    name = page.file_name(*parts)
    return name if (platform.settings.reports / name).is_file() else None


def _status(metadata: Any, expected: list[dt.date], keys: list[ModelKey]) -> tuple[Any, Any]:
    from forecast_platform.pages.charts import status

    return status(metadata, expected, keys)


def _models(
    platform: Platform, series: str, day: dt.date
) -> tuple[dt.date | None, list[Bands], dict[ModelKey, dt.datetime]]:
    """The newest forecast date on or before `day`, every model's bands of it, and when they were made."""
    columns = ["model_name", "model_version", "forecast_date", "day_ahead", "forecast_median", *_BOUNDS]
    columns.append("generation_timestamp")
    where: dict[str, Any] = {"commodity": series, "model_success": True, "has_data_leakage": False}
    # The newest may be months old; nearly always it is of the last days, which are read at once.
    for first in (day - dt.timedelta(days=_RECENT_DAYS), dt.date(1900, 1, 1)):
        dated = {**where, "forecast_date": Between(first, day), "day_ahead": 1}
        dates = platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], dated)["forecast_date"]
        if len(dates):
            break
    else:
        return None, [], {}
    newest = max(dates.to_pylist())
    rows = platform.warehouse.read(POINT_FORECASTS, columns, {**where, "forecast_date": newest})
    by_key: dict[ModelKey, dict[int, dict[str, Any]]] = {}
    for row in rows.to_pylist():
        by_key.setdefault(ModelKey(row["model_name"], row["model_version"]), {})[row["day_ahead"]] = row
    order = {name: place for place, name in enumerate(platform.settings.models)}
    bands = []
    for key in sorted(by_key, key=lambda key: (order.get(key.name, len(order)), key)):
        days = [by_key[key][ahead] for ahead in range(1, platform.horizon + 1)]
        values = {name: np.array([row[name] for row in days]) for name in ("forecast_median", *_BOUNDS)}
        link = _there(platform, "fan-chart", series, *key, str(newest))
        bands.append(Bands(key, values.pop("forecast_median"), **values, link=link))
    return newest, bands, {key: days[1]["generation_timestamp"] for key, days in by_key.items()}


def _hits(platform: Platform, series: str, day: dt.date, keys: list[ModelKey]) -> list[Hit]:
    """What was forecast for `day`, that day and days before (`ahead_of`)."""
    columns = ["model_name", "model_version", "day_ahead", *_BOUNDS]
    where = {
        "commodity": series,
        "target_date": day,
        "day_ahead": list(ahead_of(platform.horizon)),
        "model_success": True,
    }
    where["has_data_leakage"] = False
    rows = platform.warehouse.read(POINT_FORECASTS, columns, where).to_pylist()
    order = {name: place for place, name in enumerate(platform.settings.models)}
    found = [
        Hit(ModelKey(row["model_name"], row["model_version"]), row["day_ahead"], *(row[name] for name in _BOUNDS))
        for row in rows
    ]
    return sorted(found, key=lambda hit: (order.get(hit.key.name, len(order)), hit.key, hit.ahead))
