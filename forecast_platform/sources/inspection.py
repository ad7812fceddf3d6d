"""What would be read of one file, for a person to look at: facts, what is left out, first and last rows, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.settings import Settings
from forecast_platform.settings.landing import Found
from forecast_platform.settings.parts import SeriesSettings
from forecast_platform.sources import calendars, judging, meaning, validate
from forecast_platform.sources.base import WEATHER_COLUMNS, RawData, Rejection, SourceError
from forecast_platform.sources.files import FileProblem, read_table
from forecast_platform.sources.formats import cftc
from forecast_platform.sources.formats.sheet import Kind, Meaning, RawTable
from forecast_platform.sources.parts import FILE, ROW, Parts, load
from forecast_platform.sources.steps import spacing_of

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3
_BARS = "▁▂▃▄▅▆▇█"
_HEIGHT, _WIDTH = 6, 72


@dataclass
class Inspection:
    """What was found of a file.

    facts: in the order of printing. said: what is left out or odd. sample: the first and last rows as text cells.
    values: float64 [n] of the column shown, from `first` to `last`.
    """

    facts: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    sample: list[list[str]] = field(default_factory=list)
    column: str = ""
    first: str = ""
    last: str = ""
    values: Floats = field(default_factory=lambda: np.empty(0))


def inspect(
    path: Path, settings: Settings, series: SeriesSettings | None = None, kind: Kind | None = None
) -> Inspection:
    """Read `path` as the landing source would, without writing anything. Raises SourceError where there is no file.

    series: whose columns, dates and exchange count (default: the one that the file is of, else the defaults).
    kind: what the file is (default: its vendor's data, else by its columns).
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    stem = path.stem.split(" (")[0].lower()
    known = series or next((one for one in settings.series if one.stem.lower() == stem), None)
    one = known or SeriesSettings(name="Unnamed")
    kind = kind or _kind(path, settings, one)
    today = settings.today()
    declared = {*settings.files.macro.values(), *(name for item in settings.series for name in item.covariates)}
    # As in a landing folder: the name of any other file is no place.
    named = path.stem.lower() == kind or path.stem.lower().startswith(f"{kind}_")
    place = path.stem.partition("_")[2] if named else ""
    said = Meaning(
        columns=one.columns if kind == "market" else settings.files.macro if kind == "macro" else {},
        regions=settings.files.regions,
        dates=one.dates if kind == "market" else settings.files.dates,
        decimal=one.decimal if kind == "market" else settings.files.decimal,
        place=place or None,
        today=today,
    )

    def check(table: RawTable) -> tuple[pd.DataFrame | None, list[Rejection]]:
        if kind == "market":
            return validate.check_market(table, today)
        if kind == "macro":
            return validate.check_macro(table, today, declared - {*WEATHER_COLUMNS, "date"})
        return validate.check_weather(table, today)

    parts = load([Found(path.stem, (path,))], "", kind, check, lambda _: said, (today, *sorted(declared)))
    found = _found(path, kind, one, known is not None, parts)
    if kind != "market" and not named:
        found.said.append(f"in a landing folder it is read by the name {kind}.csv or {kind}_<name>.csv, beside market/")
    return found


def _kind(path: Path, settings: Settings, one: SeriesSettings) -> Kind:
    """What a file looks like: its name's where it says so, else weather where it has weather's columns, else market."""
    for kind in ("macro", "weather"):
        if path.stem.lower() == kind or path.stem.lower().startswith(f"{kind}_"):
            return kind
    try:
        table = read_table(path, path.name, "weather", Meaning(regions=settings.files.regions, place="here"))
    except FileProblem:
        return "market"
    if set(table.columns) & set(WEATHER_COLUMNS):
        return "weather"
    if table.format == cftc.NAME:
        return "macro"
    own = {name for name in table.columns if validate.is_macro_column(name)}
    return "macro" if own and "close" not in table.columns and not one.columns else "market"


def _found(path: Path, kind: Kind, one: SeriesSettings, configured: bool, parts: Parts) -> Inspection:
    found = Inspection(rejections=list(parts.rejections))
    found.facts["file"] = str(path)
    found.facts["kind"] = kind + (f" of {one.name}" if kind == "market" and configured else "")
    found.facts["format"] = next(iter(parts.formats.values()), "not recognised")
    raw = RawData(market={})
    frame = parts.frame
    if frame is not None and kind == "market":
        frame = judging.market(raw, one, frame, path.parent)
    elif frame is not None and kind == "weather":
        frame, impossible = judging.weather(raw, frame)
        raw.rejections += impossible
    elif frame is not None:
        frame = judging.macro(raw, frame)
    found.rejections += [replace(item, series=()) for item in raw.rejections]
    shown = frame if frame is not None else parts.frame
    if shown is not None:
        _describe(found, shown, kind, one)
    unit = one.unit or ", ".join(sorted(parts.units))
    if kind == "market":
        found.facts["unit"] = unit or "not said: set `unit` of the series, such as US cents/lb"
    found.said = [text.removeprefix(f"{path.name}: ") for text in (*parts.notes, *parts.warnings, *raw.remarks)]
    return found


def _describe(found: Inspection, frame: pd.DataFrame, kind: Kind, one: SeriesSettings) -> None:
    names = [name for name in frame.columns if name not in (FILE, ROW)]
    figures = [name for name in names if name not in ("date", "region")]
    column = "close" if kind == "market" else figures[0]
    real = frame[np.isfinite(frame[column].to_numpy("float64"))]
    days = np.unique(real["date"].to_numpy().astype("datetime64[D]"))
    found.facts["rows"] = f"{len(frame):,}, {len(real):,} with {column}"
    found.facts["columns"] = ", ".join(names)
    if len(days):
        found.facts["span"] = f"{days[0]} to {days[-1]}"
        found.facts["step"] = spacing_of(days)
        found.first, found.last = str(days[0]), str(days[-1])
    if kind == "market" and len(days):
        sessions = calendars.sessions(one.calendar, days[0], days[-1])
        fit = meaning.fit(days, sessions, one.calendar)
        found.facts["calendar"] = (
            f"{one.calendar}: a close on {100 * fit.share:.0f} % of its sessions, {len(fit.shut)} on shut days"
        )
    if kind == "weather":
        found.facts["regions"] = ", ".join(sorted(frame["region"].unique()))
        real = real[real["region"] == real["region"].iloc[0]] if len(real) else real
    found.column, found.values = column, real[column].to_numpy("float64")
    edge = frame if len(frame) <= 2 * _SHOWN else frame.iloc[[*range(_SHOWN), *range(-_SHOWN, 0)]]
    cells = [["row", *names], *([str(row[ROW]), *(_cell(row[name]) for name in names)] for _, row in edge.iterrows())]
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    found.sample = [[text.rjust(width) for text, width in zip(line, widths, strict=True)] for line in cells]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}" if abs(value) < 1e5 else f"{value:.0f}"
    return str(value)[:10] if hasattr(value, "year") else str(value)


def picture(values: Sequence[float] | Floats, height: int = _HEIGHT, width: int = _WIDTH) -> list[str]:
    """Lines of block characters that show `values` [n] from left to right, with the largest and the least beside them.

    height: in lines; width: in characters.
    """
    numbers = np.asarray(values, np.float64)
    at = np.linspace(0, len(numbers), min(width, len(numbers)) + 1).astype(int)
    means = np.array([numbers[a:b].mean() for a, b in pairwise(at)])
    low, high = float(means.min()), float(means.max())
    share = np.full(len(means), 0.5) if high == low else (means - low) / (high - low)
    filled = np.rint(share * (height * len(_BARS) - 1)).astype(int) + 1
    lines = []
    for line in range(height - 1, -1, -1):
        steps = np.clip(filled - line * len(_BARS), 0, len(_BARS))
        label = f"{numbers.max():.6g}" if line == height - 1 else f"{numbers.min():.6g}" if line == 0 else ""
        lines.append(f"{label:>10} " + "".join(" " if step == 0 else _BARS[step - 1] for step in steps))
    return lines
