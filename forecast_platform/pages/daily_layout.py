"""The daily page, for people who look rather than read: today's forecasts, yesterday's hits, what is there, health."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from forecast_platform.forecasting.history import Bools, Dates, Floats
from forecast_platform.forecasting.horizon import DEFAULT, spans
from forecast_platform.pages import charts, page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.scores import REFERENCE, ModelKey

if TYPE_CHECKING:
    import pandas as pd

_WEEK = 8


def ahead_of(horizon: int) -> tuple[int, ...]:
    """Days ahead at which a close is compared with what was forecast for it: that day, a week before, the farthest."""
    return tuple(sorted({1, min(_WEEK, horizon), horizon}))


_PALETTE = ("#b4690e", "#7a4fbf", "#0f8a8a", "#c2418c", "#5f7d1c", "#8a6d5a", "#3f6c9b", "#a33c3c", "#5d5fae")
_COLOURS = {"good": page.GOOD, "warn": page.WARN, "bad": page.BAD}


@dataclass(frozen=True)
class Bands:
    """One model's forecast: float64 [horizon] each, closes from the forecast date on."""

    key: ModelKey
    median: Floats
    lower_80: Floats
    upper_80: Floats
    lower_95: Floats
    upper_95: Floats
    link: str | None = None
    """Relative address of its fan chart."""


@dataclass(frozen=True)
class Hit:
    """What one model had said of a close, `ahead` days before it."""

    key: ModelKey
    ahead: int
    lower_80: float
    upper_80: float
    lower_95: float
    upper_95: float

    def verdict(self, close: float) -> Literal["inside 80 %", "inside 95 %", "missed"]:
        """Where the close fell; a bound belongs to its band."""
        if self.lower_80 <= close <= self.upper_80:
            return "inside 80 %"
        return "inside 95 %" if self.lower_95 <= close <= self.upper_95 else "missed"


@dataclass(frozen=True)
class SeriesDay:
    """What the page shows of one series."""

    series: str
    forecast_date: dt.date | None
    """Of the newest forecast on or before the page's day; None where there is none."""
    champion: ModelKey
    models: list[Bands]
    history_dates: Dates
    history_close: Floats
    hit_date: dt.date | None = None
    """The newest session with a close before the page's day."""
    hit_close: float = np.nan
    hits: list[Hit] = field(default_factory=list)
    board: pd.DataFrame | None = None
    """Of `scores.leaderboard`, over the trailing year."""
    expected: Sequence[dt.date] = ()
    keys: Sequence[ModelKey] = ()
    made: Bools | None = None
    failed: Bools | None = None
    leaderboard_link: str | None = None
    unit: str | None = None
    """What prices are counted in."""
    horizon: int = DEFAULT
    """Days that a forecast covers."""


def write_daily_page(
    folder: Path,
    *,
    day: dt.date,
    series: Sequence[SeriesDay],
    facts: Sequence[tuple[str, str, str]],
    state: str,
    group: str = "",
) -> Path:
    """Write the page of `day`, and the same page under a name without a date where there is none of a later day;
    returns the former. With a `group`, whose series these are, it is a page beside the overview (`write_overview`).

    facts: (what was looked at, good | warn | bad, text) of the health report, `state` the worst of them.
    """
    content: list[str] = []
    bad = [(name, text) for name, found, text in facts if found == "bad"]
    if bad:
        shown = "; ".join(f"{name}: {text}" for name, text in bad[:3])
        content.append(page.banner(f"{len(bad)} problems." if len(bad) > 1 else "A problem.", shown))
    late = [one.series for one in series if one.forecast_date is not None and one.forecast_date < day]
    if late:
        content.append(page.banner("No forecast of this day yet.", f"{', '.join(late)}: the newest one is shown."))
    content.append(page.cards([*(_card(one) for one in series), (light(state), "health")]))
    for number, one in enumerate(series):
        content += [_forecasts(one, number), _hits(one)]
    for number, one in enumerate(series):
        content.append(_board(one))
        content.append(_map(one, number))
    if not group:
        content.append(health_section(facts))
    links = {f"{one.series} leaderboard": one.leaderboard_link for one in series if one.leaderboard_link}
    if group:
        links = {"All groups": page.file_name("daily", str(day)), **links}
    return write_dated(folder, day, content, subtitle=_subtitle(series, group), links=links, group=group)


def _subtitle(series: Sequence[SeriesDay], group: str) -> str:
    names = ", ".join(one.series for one in series)
    return f"{group.capitalize()}: forecasts of {names}" if group else f"Forecasts of {names}"


def write_dated(
    folder: Path,
    day: dt.date,
    content: Sequence[str],
    *,
    subtitle: str,
    links: Mapping[str, str] | None = None,
    group: str = "",
) -> Path:
    """Write a page of a day, and under its name without the date where there is none of a later day."""
    parts = ("daily", group) if group else ("daily",)
    own = page.file_name(*parts, str(day))
    # A page of the past that is made again does not stand for the newest.
    newest = all(path.name <= own for path in folder.glob(page.file_name(*parts, "DAY").replace("DAY", "????-??-??")))
    written = [
        page.write_page(
            folder,
            name,
            title=f"{day:%A %d %B %Y}",
            subtitle=subtitle,
            content=content,
            about={"kind": "daily_group" if group else "daily", "date": str(day)},
            links=links,
        )
        for name in ((own, page.file_name(*parts)) if newest else (own,))
    ]
    return written[0]


def champion_of(one: SeriesDay) -> Bands | None:
    """The champion's forecast; None where it has none."""
    return next((bands for bands in one.models if bands.key == one.champion), None)


def _card(one: SeriesDay) -> tuple[object, object]:
    found = champion_of(one)
    if found is None:
        return "no forecast", f"{one.series} by {one.champion.name}"
    last = float(one.history_close[-1]) if len(one.history_close) else np.nan
    move = 100 * (found.median[-1] / last - 1) if last > 0 else np.nan
    arrow = "" if np.isnan(move) else f" ({move + 0.0:+.1f} %)"
    return (
        f"{price(found.median[-1])}{arrow}",
        f"{page.priced(one.series, one.unit)} in {one.horizon} days, {one.champion.name}; 80 %: "
        f"{price(found.lower_80[-1])} to {price(found.upper_80[-1])}",
    )


def _forecasts(one: SeriesDay, number: int) -> str:
    if one.forecast_date is None or not one.models:
        return page.section(one.series, note="There is no forecast yet: run `forecast-platform infer`.")
    champion = champion_of(one)
    rows, classes = [], {}
    for place, bands in enumerate(one.models):
        name: object = bands.key.name
        if bands.key == one.champion:
            name = page.Html(f"<b>{page.escape(bands.key.name)}</b> (champion)")
        cells = [_outlook(bands, day - 1) for day in spans(one.horizon)]
        link = page.Html(f'<a href="{page.escape(bands.link)}">fan chart</a>') if bands.link else ""
        rows.append([name, bands.key.version, *cells, link])
        if bands.key.name == REFERENCE:
            classes[place] = "reference"
    days = {f"Day {day}": "number" for day in spans(one.horizon)}
    columns = {"Model": "", "Version": "", **days, "": ""}
    shown = "its bands" if champion is not None else "no bands, for the champion has no forecast,"
    return page.section(
        f"{one.series}: the next {one.horizon} days",
        page.plot(_figure(one, champion), f"forecast-{number}", 430),
        page.table(columns, rows, classes),
        note=f"Forecast of {one.forecast_date}. The champion {one.champion.name} {one.champion.version} with {shown} "
        "and the medians of the other models; the table has "
        f"{page.priced('medians and 80 % bands', one.unit)}.",
    )


def _outlook(bands: Bands, day: int) -> str:
    """Median and 80 % band of one day; a band without width is that of a day before the market opens again."""
    if bands.lower_80[day] == bands.upper_80[day]:
        return f"{price(bands.median[day])}  market shut"
    return f"{price(bands.median[day])}  [{price(bands.lower_80[day])} to {price(bands.upper_80[day])}]"


def _figure(one: SeriesDay, champion: Bands | None) -> Figure:
    figure = Figure()
    origin = np.datetime64(one.forecast_date, "D")
    start, anchor = one.history_dates[-1:], one.history_close[-1:]
    axis = [str(day) for day in np.concatenate([start, origin + np.arange(one.horizon)])]
    if champion is not None:
        for label, lower, upper, opacity in (
            ("95 % band", champion.lower_95, champion.upper_95, 0.14),
            ("80 % band", champion.lower_80, champion.upper_80, 0.22),
        ):
            low, high = (np.concatenate([anchor, bound]) for bound in (lower, upper))
            figure.add_scatter(
                x=axis + axis[::-1],
                y=np.concatenate([high, low[::-1]]),
                fill="toself",
                fillcolor=f"rgba(31,111,235,{opacity})",
                line={"width": 0},
                mode="lines",
                name=label,
                hoverinfo="skip",
            )
    for place, bands in enumerate(bands for bands in one.models if bands is not champion):
        figure.add_scatter(
            x=axis,
            y=np.concatenate([anchor, bands.median]),
            mode="lines",
            line={"width": 1.3, "color": _PALETTE[place % len(_PALETTE)], "dash": "dot"},
            name=_label(bands.key, one),
            hovertemplate="%{y:,.2f}",
        )
    figure.add_scatter(
        x=[str(day) for day in one.history_dates],
        y=one.history_close,
        mode="lines",
        line={"width": 2, "color": page.INK},
        name="close",
        hovertemplate="%{y:,.2f}",
    )
    if champion is not None:
        figure.add_scatter(
            x=axis,
            y=np.concatenate([anchor, champion.median]),
            mode="lines",
            line={"width": 2.6, "color": page.ACCENT},
            name=f"{_label(champion.key, one)} (champion)",
            hovertemplate="%{y:,.2f}",
        )
    figure.add_vline(x=str(origin), line={"width": 1, "dash": "dot", "color": page.MUTED})
    figure.layout |= {
        "hovermode": "x unified",
        "margin": {"l": 60, "r": 16, "t": 56, "b": 30},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        "yaxis": {"tickformat": ",~r", "title": {"text": page.escape(page.priced("Close", one.unit))}},
        "xaxis": {"showgrid": False},
    }
    return figure


def _label(key: ModelKey, one: SeriesDay) -> str:
    """The model's name, with its version only where there are several."""
    several = len({bands.key.version for bands in one.models}) > 1
    return f"{key.name} {key.version}" if several else key.name


def _hits(one: SeriesDay) -> str:
    if one.hit_date is None or not one.hits:
        return page.section(f"{one.series}: hits and misses", note="No close has been forecast and seen yet.")
    by_key: dict[ModelKey, dict[int, Hit]] = {}
    for hit in one.hits:
        by_key.setdefault(hit.key, {})[hit.ahead] = hit
    rows = []
    for key, found in by_key.items():
        name = page.Html(f"<b>{page.escape(key.name)}</b>") if key == one.champion else key.name
        cells = [_verdict(found.get(ahead), one.hit_close) for ahead in ahead_of(one.horizon)]
        rows.append([name, key.version, *cells])
    columns = {"Model": "", "Version": "", **{_before(ahead): "" for ahead in ahead_of(one.horizon)}}
    inside = sum(hit.verdict(one.hit_close) != "missed" for hit in one.hits)
    closed = page.priced(price(one.hit_close), one.unit)
    return page.section(
        f"{one.series}: was the close of {one.hit_date:%A %d %B} inside the bands?",
        page.table(columns, rows),
        note=f"It closed at {closed}: {inside} of {len(one.hits)} forecasts had it inside 95 %. "
        "The 80 % band is shown; one close in five falls outside it, one in twenty outside 95 %.",
    )


def _before(ahead: int) -> str:
    return {1: "Made that day", _WEEK: "A week before"}.get(ahead, f"{ahead - 1} days before")


def _verdict(hit: Hit | None, close: float) -> object:
    if hit is None:
        return "–"
    verdict = hit.verdict(close)
    colour = {"inside 80 %": page.GOOD, "inside 95 %": page.WARN, "missed": page.BAD}[verdict]
    return page.Html(
        f'<span class="key"><i style="background:{colour}"></i>{verdict}</span> '
        f'<span class="note">{price(hit.lower_80)} to {price(hit.upper_80)}</span>'
    )


def _board(one: SeriesDay) -> str:
    title = f"{one.series}: who forecasts best"
    if one.board is None or one.board.empty:
        return page.section(
            title, note=f"No forecast has reached the end of its {one.horizon} days with known closes yet."
        )
    columns = {"": "number", "Model": "", "Version": "", "CRPS": "number", "Skill": "number"}
    columns |= {"In 80 %": "number", "In 95 %": "number", "Direction": "number", "Dates": "number"}
    rows, classes = [], {}
    for place, row in enumerate(one.board.to_dict("records")):
        key = ModelKey(row["model_name"], row["model_version"])
        name = page.Html(f"<b>{page.escape(key.name)}</b> (champion)") if key == one.champion else key.name
        rows.append(
            [place + 1, name, key.version, f"{row['crps']:.4g}", _skill(row["skill"], key.name)]
            + [_share(row[column]) for column in ("coverage_80", "coverage_95", "direction")]
            + [f"{row['n_dates']:,}"]
        )
        if key.name == REFERENCE:
            classes[place] = "reference"
    more = (
        page.Html(f'<p><a href="{page.escape(one.leaderboard_link)}">All figures</a></p>')
        if one.leaderboard_link
        else ""
    )
    return page.section(
        title,
        page.table(columns, rows, classes),
        more,
        note=f"The trailing year. CRPS: less is better; skill: share of the {REFERENCE} model's CRPS saved.",
    )


def _map(one: SeriesDay, number: int) -> str:
    if one.made is None or one.failed is None or not one.expected or not one.keys:
        return ""
    return page.section(
        f"{one.series}: what is there",
        page.colour_key((colour, text) for text, colour in reversed(charts.STATES)),
        page.plot(
            charts.coverage_map(one.expected, one.keys, one.made, one.failed), f"map-{number}", 60 + 28 * len(one.keys)
        ),
        note=f"Forecast dates {min(one.expected)} to {max(one.expected)}.",
    )


def health_section(facts: Sequence[tuple[str, str, str]]) -> str:
    """The health report as a section of a page, the worst first."""
    order = {"bad": 0, "warn": 1, "good": 2}
    rows = [[light(state), name, text] for name, state, text in sorted(facts, key=lambda fact: order[fact[1]])]
    noteworthy = sum(state != "good" for _, state, _ in facts)
    table = page.table({"State": "", "What": "", "Found": "text"}, rows)
    return page.section("Health", table, note=f"{len(facts)} facts, {noteworthy} that are not good.")


def light(state: str) -> page.Html:
    """A state with its colour."""
    return page.Html(f'<span class="key"><i style="background:{_COLOURS[state]}"></i>{page.escape(state)}</span>')


def _skill(value: float, name: str) -> str:
    return "reference" if name == REFERENCE else "–" if np.isnan(value) else f"{round(100 * value, 1) + 0.0:+.1f} %"


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.0f} %"


def price(value: float) -> str:
    """A price for people; a dash where it is not known."""
    return "–" if np.isnan(value) else f"{value:,.2f}"
