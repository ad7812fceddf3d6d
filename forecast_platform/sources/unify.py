"""From raw data to the rows of unified_data: one a calendar day, filled forward only, every filled cell named."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forecast_platform.sources import calendars
from forecast_platform.sources.base import MARKET_COLUMNS, WEATHER_COLUMNS, RawData, SourceError
from forecast_platform.sources.contracts import roll_days
from forecast_platform.sources.formats.sheet import Kind
from forecast_platform.sources.validate import is_macro_column

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.forecasting.history import Bools, Dates, Floats
    from forecast_platform.settings import PublicationLag, SeriesSettings

LONG_FILL = 10
"""Calendar days that a cell may repeat an older value before the notes say so; a holiday week is shorter."""


@dataclass(frozen=True)
class UnifiedFrame:
    """One series' rows of unified_data.

    frame: one row a calendar day, ascending; columns in the table's order (see `unify`).
    filled_closes: exchange sessions inside the frame that have no close in the source.
    first_observed, last_observed: first and last day with a real close, up to the frame's end.
    notes: what a person should know of the data, one line each.
    """

    frame: pd.DataFrame
    filled_closes: int
    first_observed: dt.date
    last_observed: dt.date
    notes: list[str] = field(default_factory=list)


def unify(raw: RawData, series: SeriesSettings, *, start: dt.date, end: dt.date, lags: PublicationLag) -> UnifiedFrame:
    """The rows of `series` from max(start, first observed close) to `end`, both included.

    Columns: date (datetime64[ns] midnights), commodity, is_trading_day, is_observed, is_roll_day, the market columns,
    close_2 where the source has it, macro columns (vix, usd_* and the series' covariates), the weather columns as means
    over the series' regions, and
    filled_columns, the comma-separated names of the row's cells that repeat an earlier day's value.

    A value measured on day t is first seen in row t + lag, the lag of its column or else of its kind; is_observed and
    is_roll_day move with the market's lag, so that they mark the row in which the close is first seen. Cells before a
    column's first value stay null. The whole raw history is filled, then cut: a value before `start` is carried in, and
    a row depends on no later source row.

    Raises SourceError where the series was rejected, has no close before `end`, or names an unknown region.
    """
    import pandas as pd

    market = _market(raw, series.name)
    measured = _days(market)
    shift = np.timedelta64(lags.market, "D")
    last = np.datetime64(end, "D")
    real = np.isfinite(market["close"].to_numpy("float64"))
    known = real & (measured + shift <= last)
    closes = measured[known]
    if len(closes) == 0:
        raise SourceError(f"{series.name} has no close up to {end}: its data begin later; choose a later end")
    grid = np.arange(max(np.datetime64(start, "D"), closes[0] + shift), last + 1, dtype="datetime64[D]")
    if len(grid) == 0:
        raise SourceError(f"{series.name}: start {start} lies after end {end}")

    sessions = calendars.sessions(series.calendar, grid[0] - shift, last)
    contracts = market["contract"].to_numpy("float64")[known] if "contract" in market.columns else None
    rolls = roll_days(series, closes, contracts) + shift
    columns: dict[str, object] = {
        "date": grid.astype("datetime64[ns]"),
        "commodity": series.name,
        "is_trading_day": np.isin(grid, sessions),
        "is_observed": np.isin(grid, closes + shift),
        "is_roll_day": np.isin(grid, rolls),
    }
    notes: list[str] = []
    filled: dict[str, Bools] = {}
    weather = _weather(raw, series, notes)
    kinds: tuple[tuple[pd.DataFrame | None, Sequence[str], Kind], ...] = (
        (market, (*MARKET_COLUMNS, "close_2"), "market"),
        (raw.macro, _macro_names(raw, series), "macro"),
        (weather, WEATHER_COLUMNS, "weather"),
    )
    for frame, names, kind in kinds:
        for name in names:
            if frame is not None and name in frame.columns:
                seen = _days(frame) + np.timedelta64(lags.of(name, kind), "D")
                columns[name], filled[name] = _fill(grid, seen, frame[name].to_numpy("float64"))
            elif name in MARKET_COLUMNS:
                columns[name] = np.full(len(grid), np.nan)
    columns["filled_columns"] = _names_of(filled)

    inside = closes[closes + shift >= grid[0]]
    due = sessions[sessions + shift <= last]
    missing = due[~np.isin(due, inside)]
    notes += _long_fills(series, grid, filled)
    _note_calendar(series, due, missing, inside[~np.isin(inside, sessions)], notes)
    return UnifiedFrame(
        frame=pd.DataFrame(columns),
        filled_closes=len(missing),
        first_observed=closes[0].item(),
        last_observed=closes[-1].item(),
        notes=notes,
    )


def last_complete_day(last_observed: dt.date, sessions: Dates, today: dt.date, lag: int = 0) -> dt.date:
    """The last day whose row can be written: all that it should know has arrived.

    Rows run past the last close only over days on which the exchange is shut (and `lag` days more, the market's
    publication lag), and never past yesterday. `sessions` [n] must reach beyond `last_observed`; SourceError otherwise.
    """
    following = calendars.next_session_after(sessions, last_observed)
    return min(following + dt.timedelta(days=lag - 1), today - dt.timedelta(days=1))


def last_observed_close(raw: RawData, name: str) -> dt.date:
    """The newest day with a close of series `name` in the source: what `last_complete_day` starts from.

    Raises SourceError where the source has no data of it.
    """
    market = _market(raw, name)
    found: dt.date = _days(market)[np.isfinite(market["close"].to_numpy("float64"))][-1].item()
    return found


def _market(raw: RawData, name: str) -> pd.DataFrame:
    if name not in raw.market:
        reasons = "; ".join(str(rejection) for rejection in raw.rejections_of(name))
        raise SourceError(f"{name} has no market data: {reasons or 'the source did not read it'}")
    return raw.market[name]


def _days(frame: pd.DataFrame) -> Dates:
    days: Dates = frame["date"].to_numpy().astype("datetime64[D]")
    return days


def _macro_names(raw: RawData, series: SeriesSettings) -> list[str]:
    if raw.macro is None:
        return []
    return [name for name in raw.macro.columns if is_macro_column(name) or name in series.covariates]


def _fill(grid: Dates, known: Dates, values: Floats) -> tuple[Floats, Bools]:
    """The newest value known on each day of `grid`, and whether it is older than that day. `known` ascends."""
    real = np.isfinite(values)
    known, values = known[real], values[real]
    position = np.searchsorted(known, grid, side="right") - 1
    has = position >= 0
    column = np.full(len(grid), np.nan)
    column[has] = values[position[has]]
    old = np.zeros(len(grid), np.bool_)
    old[has] = known[position[has]] < grid[has]
    return column, old


def _names_of(filled: dict[str, Bools]) -> NDArray[np.object_]:
    """For each row the comma-separated names of the columns that are true in it."""
    names = list(filled)
    patterns, which = np.unique(np.column_stack([filled[name] for name in names]), axis=0, return_inverse=True)
    texts = [",".join(name for name, flag in zip(names, row, strict=True) if flag) for row in patterns]
    return np.array(texts, dtype=object)[which.reshape(-1)]


def _long_fills(series: SeriesSettings, grid: Dates, filled: dict[str, Bools]) -> list[str]:
    """One line for each column whose longest run of filled days exceeds LONG_FILL."""
    found = []
    for name, flags in filled.items():
        edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
        begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        lengths = ends - begins
        if len(lengths) and lengths.max() > LONG_FILL:
            longest = int(np.argmax(lengths))
            found.append(
                f"{series.name}: {name} repeats one value for {lengths[longest]:,} days, {grid[begins[longest]]} to "
                f"{grid[ends[longest] - 1]}"
            )
    return found


def _weather(raw: RawData, series: SeriesSettings, notes: list[str]) -> pd.DataFrame | None:
    """Weather averaged over the series' regions, one row a date; averaging first keeps returns and fills honest."""
    if raw.weather is None or series.regions == ():
        return None
    table = raw.weather
    known = sorted(table["region"].unique())
    regions: Sequence[str] = known if series.regions is None else series.regions
    unknown = [name for name in regions if name not in known]
    if unknown:
        raise SourceError(
            f"{series.name}: region {', '.join(map(repr, unknown))} is not in the weather data; "
            f"known regions: {', '.join(known)}"
        )
    chosen = table[table["region"].isin(regions)]
    columns = [name for name in WEATHER_COLUMNS if name in table.columns]
    grouped = chosen.groupby("date", sort=True)[columns]
    counts = grouped.count()
    partial = counts.index[((counts < len(regions)) & (counts > 0)).any(axis=1)]
    if len(partial):
        notes.append(
            f"{series.name}: on {len(partial):,} days ({partial[0].date()} to {partial[-1].date()}) only some of the "
            f"{len(regions)} weather regions report; the mean is over those that do"
        )
    averaged: pd.DataFrame = grouped.mean().reset_index()
    return averaged


def _note_calendar(series: SeriesSettings, due: Dates, missing: Dates, extra: Dates, notes: list[str]) -> None:
    if len(missing):
        notes.append(
            f"{series.name}: {len(missing):,} of {len(due):,} {series.calendar} sessions have no close and are filled "
            f"forward, the last on {missing[-1]}"
        )
    if len(extra):
        notes.append(
            f"{series.name}: {len(extra):,} closes on days on which {series.calendar} was shut, the last on {extra[-1]}"
        )
