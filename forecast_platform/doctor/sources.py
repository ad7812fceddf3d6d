"""The part of `forecast-platform doctor` that looks at the source: what is refused, suspicious, late, on which days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from forecast_platform.doctor.rolls import rolls
from forecast_platform.host.finding import Finding
from forecast_platform.settings import PREFIX, SeriesSettings, Settings

if TYPE_CHECKING:
    from forecast_platform.forecasting.history import Dates
    from forecast_platform.sources.base import RawData

RIVALS = ("XNYS", "US_COMMODITIES", "CMES", "24/5", "24/7", "XLON", "XTKS", "XSHG", "XBOM", "XSES")
"""Calendars that a series' data are compared with where its own does not fit."""
MISFITS = 2
"""Days by which another calendar must fit better to be named."""


def source(settings: Settings) -> Iterator[Finding]:
    """The source's files are there and accepted, what is odd in them, and how new they are."""
    from forecast_platform.sources.choose import source_for

    place = str(settings.landing) if settings.source == "landing" else f"source {settings.source}"
    if settings.source == "landing" and settings.landing is not None and not settings.landing.is_dir():
        mend = f"set {PREFIX}LANDING to the folder that holds market/ (docs/configuration.md)"
        yield Finding("source", "error", f"{place}: no such folder", mend)
        return
    raw = source_for(settings).read(settings.series)
    for rejection in raw.rejections:
        reach = f" (keeps out {', '.join(rejection.series)})" if rejection.series else ""
        if rejection.held:
            mend = "run doctor again then; ingest goes on with what it read of the file before"
            yield Finding("source", "warning", f"{rejection}{reach}", mend)
            continue
        mend = (
            f"correct that file in {place}, or restore its last good state; ingest refuses it whole until then"
            if settings.source == "landing"
            else f"look at the settings of {settings.source} (docs/configuration.md), and for a feed at the network"
        )
        yield Finding("source", "error", f"refused: {rejection}{reach}", mend)
    for text in raw.unread:
        yield Finding("source", "warning", text, f"files of market/ end in .csv, .parquet, .xls or .xlsx ({place})")
    if raw.market:
        count = len(raw.suspects)
        suspicious = f", {count} suspicious values, listed below" if count else ""
        yield Finding("source", "good", f"{place}: {', '.join(raw.market)} accepted{suspicious}")
    for text in raw.remarks:
        mend = "look whether it is right; a mended file is read anew, and a right one needs nothing"
        yield Finding("values", "warning", text, mend)
    yield from _held(settings, raw)
    yield from _lags(settings, raw)
    for series in settings.series:
        if series.name in raw.market:
            yield from _calendar(raw, series)
            yield from rolls(raw, series)
    yield from _ages(settings, raw)


def _held(settings: Settings, raw: RawData) -> Iterator[Finding]:
    """What the source accepts and an ingest would not write all the same: a unit that has changed, for one."""
    from forecast_platform.pipeline.ingest import read_source
    from forecast_platform.warehouse.base import WarehouseError
    from forecast_platform.work.platform import Platform

    if settings.tables == "folder" and not settings.warehouse.is_dir():
        return
    try:
        _, report = read_source(Platform.from_settings(settings), list(raw.market))
    except (WarehouseError, OSError):
        return  # what is wrong with the tables is told with them
    for name, reason in report.reasons.items():
        if name in raw.market and reason:
            what, _, mend = reason.partition("; ")
            goes_on = "until then the series keeps the data it had"
            yield Finding("source", "error", f"held: {what}", f"{mend}; {goes_on}" if mend else goes_on)


def _lags(settings: Settings, raw: RawData) -> Iterator[Finding]:
    """A column with values of one weekday only is published later than it is dated."""
    import numpy as np

    from forecast_platform.sources.meaning import one_weekday

    used = {name for one in settings.series for name in one.covariates}
    for name in raw.macro.columns if raw.macro is not None else ():
        if name not in used or settings.publication_lag_days.of(str(name), "macro") > 0 or raw.macro is None:
            continue
        known = raw.macro[np.isfinite(raw.macro[name].to_numpy("float64"))]
        weekday = one_weekday(known["date"].to_numpy().astype("datetime64[D]"))
        if weekday:
            yield Finding(
                "lags",
                "warning",
                f"{name} has values on {weekday}s only, and counts as known on that day",
                f"set its lag: `publication_lag_days: {{{name}: 3}}` (CFTC's positions of Tuesday are published on "
                "Friday); else models read it before it was public",
            )


def _calendar(raw: RawData, series: SeriesSettings) -> Iterator[Finding]:
    """Which days do not fit the exchange's calendar, and which calendar fits better."""
    import numpy as np

    from forecast_platform.sources import calendars, meaning
    from forecast_platform.sources.base import SourceError

    market = raw.market[series.name]
    days = market["date"].to_numpy().astype("datetime64[D]")[np.isfinite(market["close"].to_numpy("float64"))]
    if len(days) < meaning.FEWEST:
        return
    try:
        own = _misfits(days, calendars.sessions(series.calendar, days[0], days[-1]))
    except SourceError:
        return
    late, shut = own
    found = (
        f"{series.name} on {series.calendar}: {len(late)} sessions without a close, {len(shut)} closes on shut days"
        f"{_newest(shut)}"
    )
    if len(late) + len(shut) <= MISFITS:
        yield Finding("calendars", "good", found)
        return
    counts = {}
    for rival in RIVALS:
        if rival != series.calendar:
            counts[rival] = sum(map(len, _misfits(days, calendars.sessions(rival, days[0], days[-1]))))
    best = min(counts, key=lambda name: counts[name])
    if counts[best] + MISFITS < len(late) + len(shut):
        mend = f"`exchange: {best}` of {series.name} fits better ({counts[best]} days do not); past rows change with it"
        yield Finding("calendars", "warning", found, mend)
    else:
        yield Finding("calendars", "good", f"{found}; no known calendar fits better")


def _misfits(days: Dates, sessions: Dates) -> tuple[Dates, Dates]:
    """Sessions without a close, and closes on days that are none."""
    import numpy as np

    return np.setdiff1d(sessions, days), np.setdiff1d(days, sessions)


def _newest(days: Dates) -> str:
    return f" (the last {', '.join(map(str, days[-4:]))})" if len(days) else ""


def _ages(settings: Settings, raw: RawData) -> Iterator[Finding]:
    """How new the closes are; series that are equally late are one finding, for they have one cause."""
    alike: dict[Finding, list[SeriesSettings]] = {}
    for series in settings.series:
        if series.name in raw.market:
            alike.setdefault(_age(settings, raw, series), []).append(series)
    for found, those in alike.items():
        names, stems = (", ".join(texts) for texts in ([one.name for one in those], [one.stem for one in those]))
        yield replace(found, found=f"{names}: {found.found}", mend=found.mend.replace("{files}", stems))


def _age(settings: Settings, raw: RawData, series: SeriesSettings) -> Finding:
    """How new a series' closes are, without its name."""
    import numpy as np

    from forecast_platform.sources.base import SourceError
    from forecast_platform.sources.calendars import sessions
    from forecast_platform.sources.unify import last_observed_close

    newest = last_observed_close(raw, series.name)
    until = min(settings.today(), settings.end_of(series.name) or dt.date.max)
    try:
        scheduled = sessions(series.calendar, newest, until)
    except SourceError:
        return Finding("newest close", "good", f"{newest}")
    missed = scheduled[(scheduled > np.datetime64(newest, "D")) & (scheduled < np.datetime64(until, "D"))]
    found = f"{newest}, {len(missed)} sessions late"
    # As forecasts count: the days from the newest close to the last session due, over which no holiday is late.
    if not len(missed) or (missed[-1].item() - newest).days <= settings.max_staleness_days:
        return Finding("newest close", "good", found)
    beyond = missed[missed > np.datetime64(newest, "D") + settings.max_staleness_days]
    mend = (
        f"bring newer closes of {{files}}; or, where they have ended, set `end_date: {newest + dt.timedelta(days=1)}` "
        f"of the series ({PREFIX}END_DATE where all have)"
    )
    return Finding("newest close", "warning", f"{found}: later dates than {beyond[0]} get no forecast", mend)
