"""What a landing file's numbers mean, applied: what refuses a series, what is read as missing, what is pointed out."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.sources import calendars, climate, meaning, validate
from forecast_platform.sources.base import WEATHER_COLUMNS, RawData, Rejection, SourceError, Suspect
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
    zero, sign = (found(closes) & ~np.isin(days, confirmed) for found in (meaning.zeros, meaning.sentinels))
    if zero.any() or sign.any():
        reasons = {"is an exact 0 among prices": zero, "stands for missing": sign}
        raw.suspects += [
            _suspect(real, int(at), "close", f"{reason}: read as missing")
            for reason, those in reasons.items()
            for at in np.flatnonzero(those)
        ]
        frame = frame.copy()
        frame.loc[real.index[zero], "close"] = np.nan
        frame.loc[real.index[sign], "close"] = np.nan
        real, days, closes = shown()
    frame = _without_signs(raw, frame)
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
    raw.suspects += [
        _suspect(real, found.first, "close", f"changes the level: {meaning.level_text(found.factor)}")
        for found in meaning.levels(closes)
        if days[found.first] not in confirmed
    ]
    if text := meaning.restless(closes):
        raw.warnings.append(f"{frame[FILE].iloc[0]}: closes {text}")
    raw.suspects += _turned(frame)
    raw.suspects += glitches(str(frame[FILE].iloc[0]), frame, ["close"], frame[ROW].tolist())
    raw.rejections += [Rejection(item.file, item.row, item.reason, (one.name,)) for item in rejections]
    return None if rejections else frame


def _turned(frame: pd.DataFrame) -> list[Suspect]:
    """Days whose high is below their low: two columns that were taken for one another, or a slip."""
    if not {"high", "low"} <= set(frame.columns):
        return []
    turned = frame["high"].to_numpy("float64") < frame["low"].to_numpy("float64")
    return [_suspect(frame, int(at), "high", "is below the low: columns mixed up?") for at in np.flatnonzero(turned)]


def twins(raw: RawData, series: Sequence[SeriesSettings]) -> None:
    """Say in `raw` which series have the same closes though their files are two: one saved under two names."""
    known: dict[bytes, str] = {}
    stems: dict[str, str] = {}
    for one in series:
        stems.setdefault(one.stem.lower(), one.name)
    for name in stems.values():
        frame = raw.market.get(name)
        if frame is None or len(frame) < meaning.FEWEST:
            continue
        content = frame["date"].to_numpy().tobytes() + frame["close"].to_numpy("float64").tobytes()
        if content in known:
            raw.warnings.append(f"{name} has the same closes as {known[content]} on all days: one file saved twice?")
        known.setdefault(content, name)


def macro(raw: RawData, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with -999 and the like read as missing, and so exact zeros among volatilities and exchange rates,
    which are never 0; both are said in `raw`. frame: date, FILE, ROW and a float column a covariate, ascending."""
    for name in frame.columns:
        if name in ("date", FILE, ROW):
            continue
        values = frame[name].to_numpy("float64")
        never = meaning.zeros(values) if validate.is_macro_column(str(name)) else np.zeros(len(values), bool)
        for reason, those in (
            ("is an exact 0 among figures", never),
            ("stands for missing", meaning.sentinels(values)),
        ):
            for at in np.flatnonzero(those):
                raw.suspects.append(_suspect(frame, int(at), name, f"{reason}: read as missing"))
            if those.any():
                frame = frame.copy()
                frame.loc[frame.index[those], name] = np.nan
    return frame


def _without_signs(raw: RawData, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with -999 and the like among opens, highs and lows read as missing."""
    for name in ("open", "high", "low"):
        if name in frame.columns and (sign := meaning.sentinels(frame[name].to_numpy("float64"))).any():
            for at in np.flatnonzero(sign):
                raw.suspects.append(_suspect(frame, int(at), name, "stands for missing: read as missing"))
            frame = frame.copy()
            frame.loc[frame.index[sign], name] = np.nan
    return frame


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
    if not recent.verdict:
        raw.warnings += [f"{file}: {text}" for text in meaning.odd_years(days, sessions, one.calendar)]
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
    """The frame with sentinels read as missing, and why it is refused: one line a cause, however many values it has.

    frame: date, region, FILE, ROW and the columns of WEATHER_COLUMNS that are there, in their units.
    """
    columns = [name for name in WEATHER_COLUMNS if name in frame.columns]
    frame = frame.copy()
    impossible: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    rejections: list[Rejection] = []
    warm: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in columns:
        values = frame[name].to_numpy("float64").copy()
        missing = climate.sentinels(name, values)
        for at in np.flatnonzero(missing):
            service = climate.SENTINELS[float(values[at])]
            reason = f"stands for missing in {service}: read as missing, better leave the cell blank"
            raw.suspects.append(_suspect(frame, int(at), name, reason))
        wrong = climate.beyond(name, values) & ~missing
        if wrong.any():
            for file, those in _by_file(frame, np.flatnonzero(wrong)):
                # Columns of a file in one wrong unit have one cause.
                hint = climate.unit_hint(name, values[frame[FILE] == file])
                impossible.setdefault((file, hint or name), {})[name] = those
        values[missing] = np.nan
        frame[name] = values
        if climate.fraction(name, values):
            reason = f"{name} is {np.nanmax(values):g} at most: a share of 1? multiply by 100"
            rejections.append(_rejection(frame, 0, reason))
        for region, own in frame.groupby("region")[name]:
            if not wrong.any() and climate.too_warm(name, own.to_numpy("float64")):
                first = int(own.index[0])
                warm.setdefault((str(frame[FILE].iloc[first]), name), []).append(
                    (first, f"{own.mean():.1f} in {region}")
                )
    rejections += [_impossible(frame, cause, found) for (_, cause), found in impossible.items()]
    for (_, name), places in warm.items():
        means = ", ".join(text for _, text in places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
        reason = f"the mean of {name} is {means}, warmer than any place: convert °F to °C"
        rejections.append(_rejection(frame, places[0][0], reason))
    if {"temp_min_c", "temp_max_c"} <= set(columns):
        turned = np.flatnonzero(frame["temp_min_c"].to_numpy() > frame["temp_max_c"].to_numpy())
        for _, those in _by_file(frame, turned):
            low, high = frame["temp_min_c"].iloc[those[0]], frame["temp_max_c"].iloc[those[0]]
            reason = f"temp_min_c {low:g} is above temp_max_c {high:g}{_others(frame, those)}"
            rejections.append(_rejection(frame, int(those[0]), reason))
    return frame, rejections


def _by_file(frame: pd.DataFrame, at: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Positions by the file that their rows are of."""
    files = frame[FILE].to_numpy()[at]
    return [(str(file), at[files == file]) for file in dict.fromkeys(files.tolist())]


def _impossible(frame: pd.DataFrame, cause: str, found: dict[str, np.ndarray]) -> Rejection:
    """Why the values of these columns (positions, ascending) cannot be; cause: a hint, or the column."""
    (name, rows), *others = found.items()
    values = frame[name].to_numpy("float64")
    low, high = climate.LIMITS[name]
    hint = "" if cause == name else cause
    reason = f"{name} is {values[rows[0]]:g}, possible is {low:g} to {high:g}" + (f": {hint}" if hint else "")
    reason += _others(frame, rows)
    if others:
        reason += "; likewise " + ", ".join(f"{other} ({len(at):,} values)" for other, at in others)
    return _rejection(frame, int(rows[0]), reason)


def _others(frame: pd.DataFrame, at: np.ndarray) -> str:
    """The rows after the first at which the same is wrong."""
    return f"; {validate.more_rows(frame[ROW].iloc[at].tolist())}" if len(at) > 1 else ""
