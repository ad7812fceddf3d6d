"""What is late: data against the sessions that are over, forecasts against the date that is due, one fact a cause."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from forecast_platform.host.severity import Severity
from forecast_platform.pipeline.champions import versions_to_run
from forecast_platform.settings import Settings
from forecast_platform.sources.base import SourceError
from forecast_platform.warehouse.base import WarehouseError
from forecast_platform.warehouse.schemas import FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work.coverage import ENDED, last_allowed
from forecast_platform.work.newest_close import unconfirmed_jump
from forecast_platform.work.platform import NoDataError, Platform

_DAY = dt.timedelta(days=1)
_LOOK = "; see whether the source delivers, then ingest"
"""What to do where the cause is not known."""


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at."""

    name: str
    severity: Severity
    text: str
    """What is the case; where it is not good, also what to do."""
    series: tuple[str, ...] = ()
    """Series that the fact is about, where what is wrong with their data is told, or what waits for them."""


def by_cause(data: Sequence[Fact], forecasts: Sequence[Fact]) -> tuple[list[Fact], list[Fact]]:
    """The facts of the data and of the forecasts, one for each root cause: forecasts that lack nothing but data are
    told with the data, where these are an error by themselves."""
    told = {name for fact in data if fact.severity == "error" for name in fact.series}
    folded = [fact for fact in forecasts if fact.series and told.issuperset(fact.series)]
    waiting = {name for fact in folded for name in fact.series}
    found = [
        replace(fact, text=f"{fact.text}; forecasts wait for them, and no run would change that")
        if waiting & set(fact.series) and fact.severity == "error"
        else fact
        for fact in data
    ]
    return found, [fact for fact in forecasts if fact not in folded]


def due_forecast(settings: Settings) -> dt.date:
    """The newest date whose forecast must be there by now: today's from the deadline of the daily run on."""
    zone = ZoneInfo(settings.timezone)
    now = settings.now().astimezone(zone)
    deadline = dt.datetime.combine(now.date(), settings.daily_time, zone)
    deadline += dt.timedelta(hours=settings.data_deadline_hours)
    day = now.date() if now >= deadline else now.date() - _DAY
    return min(day, settings.end_date or day)


def forecast_facts(platform: Platform) -> Iterator[Fact]:
    """Newest forecast of each series, model and version against the date that is due, and against the closes that are
    known before it by now."""
    settings = platform.settings
    due = due_forecast(settings)
    where = {"day_ahead": 1, "model_success": True, "has_data_leakage": False}
    rows = platform.warehouse.read(
        POINT_FORECASTS, ["commodity", "model_name", "model_version", "forecast_date"], where
    )
    keys = ["commodity", "model_name", "model_version"]
    newest = {
        (row["commodity"], row["model_name"], row["model_version"]): row["forecast_date_max"]
        for row in rows.group_by(keys).aggregate([("forecast_date", "max")]).to_pylist()
    }
    made, began = versions_to_run(platform), _began(platform, newest)
    outdated: dict[tuple[str, dt.date, dt.date, dt.date], dict[str, list[str]]] = {}
    late: dict[tuple[str, dt.date | None, dt.date], dict[str, list[str]]] = {}
    waiting: dict[tuple[dt.date, dt.date], list[str]] = {}
    for series in settings.series_names:
        expected, allowed = _expected(platform, series, due)
        used = {name for owner, name, _ in newest if owner == series}
        unused = [model for model in settings.models if not settings.automated and used and model not in used]
        # Nothing runs by itself here, and whoever ran the others left these out.
        yield from (_unused(series, model) for model in unused)
        for model, version in made:
            there = newest.get((series, model, version))
            if model in unused:
                continue
            seen = began.get((series, model, version))
            if there is not None and there >= expected:
                known = None if allowed is None else _newest_before(platform, series, there)
                if seen is None or known is None or seen >= known:
                    name = f"forecast {series} {model} {version}"
                    yield Fact(name, "good", f"newest is {there}, {expected} is due")
                elif (jump := unconfirmed_jump(platform, series)) is not None:
                    yield Fact(f"forecast {series} {model} {version}", "error", jump)
                else:
                    outdated.setdefault((version, there, seen, known), {}).setdefault(series, []).append(model)
            elif allowed is not None and (jump := unconfirmed_jump(platform, series)) is not None:
                # What holds it up is no fault of the run, and the run's command would not mend it.
                yield Fact(f"forecast {series} {model} {version}", "error", jump)
            elif allowed is not None and allowed < expected:
                if series not in waiting.setdefault((allowed, expected), []):
                    waiting[allowed, expected].append(series)
            else:
                late.setdefault((version, there, expected), {}).setdefault(series, []).append(model)
    for (_, expected), names in waiting.items():
        said = f"{expected} is due, the data are too old for it; no model and no run would change that"
        yield Fact(f"forecast {_some(names)}", "error", said, tuple(names))
    for (version, there, expected), by_series in late.items():
        yield from _late(settings, version, there, expected, by_series)
    for (version, day, seen, known), by_series in outdated.items():
        for models, names in _alike(by_series).items():
            command = f"forecast-platform infer --commodity {' '.join(names)} --models {' '.join(models)} --date {day}"
            said = f"newest is {day}, made with the close of {seen}; that of {known} has come since"
            name = f"forecast {_some(names)} {', '.join(models)} {version}"
            yield Fact(name, "warning", f"{said}; run `{command}{_tag(settings, version)}`")


def _began(
    platform: Platform, newest: Mapping[tuple[str, str, str], dt.date]
) -> dict[tuple[str, str, str], dt.date | None]:
    """The day of the newest close that each of the newest forecasts was made of."""
    columns = ["commodity", "model_name", "model_version", "forecast_date", "last_observed_date"]
    where = {"model_success": True, "forecast_date": sorted(set(newest.values()))}
    rows = platform.warehouse.read(FORECAST_METADATA, columns, where).to_pylist() if newest else []
    found = {}
    for row in rows:
        key = row["commodity"], row["model_name"], row["model_version"]
        if newest.get(key) == row["forecast_date"]:
            found[key] = row["last_observed_date"]
    return found


def _newest_before(platform: Platform, series: str, day: dt.date) -> dt.date | None:
    """The newest day before `day` with a close; None where there is none."""
    seen = platform.series_table(series).observed_before(day)
    return seen[-1].item() if len(seen) else None


def _expected(platform: Platform, series: str, due: dt.date) -> tuple[dt.date, dt.date | None]:
    """The forecast that must be there of a series by now, and the last that its data allow; None without data."""
    try:
        newest, allowed = platform.series_table(series).last_observed, last_allowed(platform, series)
    except NoDataError:
        return due, None
    end = platform.settings.end_of(series)
    # A source that has ended: what its data allow.
    return (due if end is None else min(due, end, newest + _DAY)), allowed


def _late(
    settings: Settings, version: str, newest: dt.date | None, due: dt.date, by_series: Mapping[str, Sequence[str]]
) -> Iterator[Fact]:
    """What is equally late of a version, in one fact for all series that lack the same models."""
    tag = _tag(settings, version)
    for models, names in _alike(by_series).items():
        those = f"--train --commodity {' '.join(names)} --models {' '.join(models)}"
        # The end is named: by itself backfill ends on the day after the newest close, which over a weekend is before
        # `due`. Where there is none yet, all years are nothing that is late.
        command = (
            f"forecast-platform infer {those} --date {due}{tag}"
            if newest is None
            else f"forecast-platform backfill {those} --start-date {newest + _DAY} --end-date {due}{tag}"
        )
        said = (
            f"none yet, {due} is due"
            if newest is None
            else f"newest is {newest}, {due} is due ({(due - newest).days} days late)"
        )
        name = f"forecast {_some(names)} {', '.join(models)} {version}"
        yield Fact(name, "error", f"{said}; run `{command}`, and look at the failed runs")


def _alike(by_series: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    """The series by the models that are told of each."""
    found: dict[tuple[str, ...], list[str]] = {}
    for series, models in by_series.items():
        found.setdefault(tuple(models), []).append(series)
    return found


def _tag(settings: Settings, version: str) -> str:
    """The option of a command for this version; empty where it is the configured one."""
    return "" if version == settings.model_version else f" --model-version-tag {version}"


def _some(names: Sequence[str]) -> str:
    """The names, of many the first."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _unused(series: str, model: str) -> Fact:
    mend = f"`forecast-platform backfill --train --commodity {series} --models {model}` makes its forecasts"
    return Fact(f"forecast {series} {model}", "good", f"not in use; {mend}")


def data_facts(platform: Platform) -> list[Fact]:
    """Newest close of each series against the last exchange session that is over, with what was refused of the late
    ones; what is equally late is one fact."""
    settings = platform.settings
    facts = {name: _newest_close(platform, name) for name in settings.series_names}
    late = [name for name, fact in facts.items() if fact.severity != "good"]
    refused = _refused(platform, [name for name in late if _known(platform, name)])
    found = [fact for name, fact in facts.items() if name not in late]
    alike: dict[tuple[Severity, str], list[str]] = {}
    for name in late:
        text = facts[name].text
        if name in refused:
            # The cause is known: there is nothing else to look for.
            text = f"{text.removesuffix(_LOOK)}; {refused[name]}"
        alike.setdefault((facts[name].severity, text), []).append(name)
    return found + [Fact(f"data {_some(names)}", state, text, tuple(names)) for (state, text), names in alike.items()]


def _known(platform: Platform, series: str) -> bool:
    try:
        return len(platform.series_table(series).dates) > 0
    except (NoDataError, SourceError, WarehouseError):
        return False


def _refused(platform: Platform, names: Sequence[str]) -> dict[str, str]:
    """Why the landing folder does not give the newest days of these series, where a file is refused."""
    from forecast_platform.pipeline.ingest import read_source
    from forecast_platform.pipeline.up_to_date import SourceMark

    if not names or platform.settings.source != "landing":
        return {}
    try:
        if SourceMark(platform, names).is_up_to_date():
            return {}
        _, report = read_source(platform, names)
    except (SourceError, WarehouseError, OSError) as error:
        return dict.fromkeys(names, f"the cause: {error}")
    return {
        name: f"the cause: a file is held: {reason}"
        if name in report.held
        else f"the cause: the source refused {reason}; mend it and it is read"
        for name, reason in report.reasons.items()
        if reason
    }


def _newest_close(platform: Platform, series: str) -> Fact:
    from forecast_platform.sources.calendars import last_session_on_or_before

    settings = platform.settings
    name = f"data {series}"
    try:
        table = platform.series_table(series)
        end = settings.end_of(series)
        last = min(settings.today(), end or dt.date.max) - _DAY
        # A close is first seen that many days after its session.
        lag = dt.timedelta(days=settings.publication_lag_days.market)
        due = last_session_on_or_before(table.sessions, last - lag) + lag
        newest = table.last_observed
        jump = unconfirmed_jump(platform, series)
    except (NoDataError, SourceError, WarehouseError) as error:
        return Fact(name, "error", str(error))
    if jump is not None:
        return Fact(name, "error", jump)
    late = (due - newest).days
    if end is not None and late > 0 and settings.today() > end:
        return Fact(name, "good", f"newest close {newest}; the source has ended (end_date {end})")
    if late <= 0:
        return Fact(name, "good", f"newest close {newest}, due {due}")
    severity: Severity = "error" if late > settings.max_staleness_days else "warning"
    mend = _LOOK.removeprefix("; ")
    if late > ENDED.days:
        mend = (
            f"put newer data in place, or where they have ended set `end_date: {newest + _DAY}` of the series "
            f"(FORECAST_PLATFORM_END_DATE={newest + _DAY} where those of all series have)"
        )
    return Fact(name, severity, f"newest close {newest}, due {due}: {late} days late; {mend}")
