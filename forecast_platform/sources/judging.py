"""What a landing file's numbers mean, applied: what refuses a series, what is read as missing, what is pointed out."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.sources import calendars, climate, meaning
from forecast_platform.sources.base import LISTED, WEATHER_COLUMNS, RawData, Rejection, SourceError, Suspect
from forecast_platform.sources.parts import FILE, ROW
from forecast_platform.sources.steps import misfit
from forecast_platform.sources.validate import glitches

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.settings import SeriesSettings

CREDIBLE = dt.timedelta(days=4)
"""How long before the newest close a file may have been changed for that to say anything: unpacked and copied files
keep times of their own."""


def market(raw: RawData, one: SeriesSettings, frame: pd.DataFrame, folder: Path) -> pd.DataFrame | None:
    """The frame of `one` less what is no close, or None where it is refused; both are said in `raw`.

    frame: date, prices, FILE and ROW, ascending. folder: the landing folder, for the files' times of change.
    """
    _know_sessions(one, frame)
    frame = _without_running_bar(raw, one, frame, folder)
    rejections: list[Rejection] = []
    confirmed = np.array(sorted(str(day) for day in one.confirmed), "datetime64[D]")

    def shown() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        real = frame[np.isfinite(frame["close"].to_numpy("float64"))]
        return real, real["date"].to_numpy().astype("datetime64[D]"), real["close"].to_numpy("float64")

    real, days, closes = shown()
    zero = meaning.zeros(closes) & ~np.isin(days, confirmed)
    if zero.any():
        raw.suspects += [
            _suspect(real, int(at), "close", "is an exact 0 among prices: read as missing")
            for at in np.flatnonzero(zero)
        ]
        frame = frame.copy()
        frame.loc[real.index[zero], "close"] = np.nan
        real, days, closes = shown()
    if len(closes) == 0:
        raw.rejections.append(Rejection(str(frame[FILE].iloc[0]), None, "close has no value in any row", (one.name,)))
        return None
    for stretch in meaning.unconfirmed(meaning.tenfold(closes), days, one.confirmed):
        rejections.append(_tenfold(real, days, closes, stretch))
    last = days[-1]
    if meaning.cut_short(closes) and last not in confirmed and not any(str(last) in one.reason for one in rejections):
        rejections.append(
            _rejection(
                real,
                -1,
                f"the last close, {closes[-1]:g} on {last}, is {closes[-1] / closes[-2]:.3g} of the one before "
                f"({closes[-2]:g}): a number that broke off? mend it; the next day's close confirms it, or "
                f"`confirmed: [{last}]` of the series",
            )
        )
    rejections += _calendar(raw, one, real, days)
    raw.suspects += [
        _suspect(real, end, "close", f"stands still for {end - begin + 1} sessions: since {days[begin]}")
        for begin, end in meaning.standing(closes)
    ]
    raw.suspects += glitches(str(frame[FILE].iloc[0]), frame, ["close"], frame[ROW].tolist())
    raw.rejections += [Rejection(item.file, item.row, item.reason, (one.name,)) for item in rejections]
    return None if rejections else frame


def _suspect(real: pd.DataFrame, at: int, column: str, reason: str) -> Suspect:
    row = real.iloc[at]
    return Suspect(str(row[FILE]), int(row[ROW]), column, str(row["date"].date()), float(row[column]), reason)


def _rejection(real: pd.DataFrame, at: int, reason: str) -> Rejection:
    return Rejection(str(real[FILE].iloc[at]), int(real[ROW].iloc[at]), reason)


def _tenfold(real: pd.DataFrame, days: np.ndarray, closes: np.ndarray, found: meaning.Stretch) -> Rejection:
    first, last = found.first, found.last
    span = f"on {days[first]}" if first == last else f"from {days[first]} to {days[last]} (row {real[ROW].iloc[last]})"
    beside = f"{closes[first - 1]:g} before, {closes[first]:g} here"
    return _rejection(
        real,
        first,
        f"closes {span} are {found.factor:g} of those around them ({beside}): another unit, or the point slipped; "
        f"mend the file, or say `confirmed: [{days[first]}]` of the series if they are right",
    )


def _calendar(raw: RawData, one: SeriesSettings, real: pd.DataFrame, days: np.ndarray) -> list[Rejection]:
    """Why the days with a close are not the exchange's: a refusal, or a warning where only older days are not."""
    file = str(real[FILE].iloc[-1])
    try:
        sessions = calendars.sessions(one.calendar, days[0], days[-1])
        other_step = misfit(one, days)
    except SourceError:
        return []  # doctor and ingest name an unknown exchange
    if other_step is not None:
        return [Rejection(file, None, other_step)]
    recent = meaning.recent_fit(days, sessions, one.calendar)
    if recent.verdict and recent.refused:
        return [Rejection(file, None, recent.verdict)]
    whole = meaning.fit(days, sessions, one.calendar)
    if recent.verdict:
        raw.warnings.append(f"{file}: {recent.verdict}")
    elif whole.verdict:
        raw.warnings.append(f"{file}: over the whole file, {whole.verdict} (the newest {meaning.RECENT} sessions fit)")
    return []


def _know_sessions(one: SeriesSettings, frame: pd.DataFrame) -> None:
    """Have the exchange's calendar made once, over the file's whole span: what is asked below lies within it."""
    if frame.empty:
        return
    with contextlib.suppress(SourceError):  # doctor and ingest name an unknown exchange
        calendars.sessions(one.calendar, *np.array(frame["date"].iloc[[0, -1]], "datetime64[D]"))


def _without_running_bar(raw: RawData, one: SeriesSettings, frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The frame less the newest session's row where its file was changed before that session closed."""
    if frame.empty:
        return frame
    newest = frame["date"].iloc[-1]
    file = str(frame[FILE].iloc[-1])
    try:
        closed = calendars.closing(one.calendar, np.datetime64(newest, "D"))
        changed = dt.datetime.fromtimestamp((folder / file).stat().st_mtime, dt.timezone.utc)
    except (SourceError, OSError):
        return frame
    if closed is None or not closed - CREDIBLE <= changed < closed or newest.date() in one.confirmed:
        return frame
    raw.warnings.append(
        f"{file}: left out: row {frame[ROW].iloc[-1]}: the file was changed at {changed:%Y-%m-%d %H:%M} UTC, before "
        f"{one.calendar} closed on {newest.date()} ({closed:%H:%M} UTC): a running bar; renew the file"
    )
    return frame.iloc[:-1]


def weather(raw: RawData, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejection]]:
    """The frame, a row a day and region, with sentinels in its weather columns read as missing, and why it is refused."""
    rejections: list[Rejection] = []
    columns = [name for name in WEATHER_COLUMNS if name in frame.columns]
    frame = frame.copy()
    for name in columns:
        values = frame[name].to_numpy("float64").copy()
        missing = climate.sentinels(name, values)
        for at in np.flatnonzero(missing):
            service = climate.SENTINELS[float(values[at])]
            reason = f"stands for missing in {service}: read as missing, better leave the cell blank"
            raw.suspects.append(_suspect(frame, int(at), name, reason))
        wrong = climate.beyond(name, values) & ~missing
        low, high = climate.LIMITS[name]
        hint = climate.unit_hint(name, values)
        for at in np.flatnonzero(wrong)[:LISTED]:
            reason = f"{name} is {values[at]:g}, possible is {low:g} to {high:g}" + (f": {hint}" if hint else "")
            rejections.append(_rejection(frame, at, reason))
        if wrong.sum() > LISTED:
            reason = f"and {int(wrong.sum()) - LISTED:,} more values of {name} that cannot be"
            rejections.append(Rejection(str(frame[FILE].iloc[0]), None, reason))
        values[missing] = np.nan
        frame[name] = values
        for region, own in frame.groupby("region")[name]:
            if not wrong.any() and climate.too_warm(name, own.to_numpy("float64")):
                reason = f"{name} of {region} is {own.mean():.1f} in the mean, warmer than any place: convert °F to °C"
                rejections.append(_rejection(frame, int(own.index[0]), reason))
    if {"temp_min_c", "temp_max_c"} <= set(columns):
        turned = np.flatnonzero(frame["temp_min_c"].to_numpy() > frame["temp_max_c"].to_numpy())
        for at in turned[:LISTED]:
            low_, high_ = frame["temp_min_c"].iloc[at], frame["temp_max_c"].iloc[at]
            rejections.append(_rejection(frame, at, f"temp_min_c {low_:g} is above temp_max_c {high_:g}"))
    return frame, rejections
