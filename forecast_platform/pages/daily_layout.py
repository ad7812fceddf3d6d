"""The daily page, for people who look rather than read: today's forecasts, yesterday's hits, what is there, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from forecast_platform.forecasting.horizon import spans
from forecast_platform.host.prices import HOVER, price_text
from forecast_platform.pages import charts, page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.headline import date_text, freshness, outdated, tiles
from forecast_platform.pages.scores import REFERENCE, ModelKey
from forecast_platform.pages.series_day import WEEK, Bands, Hit, SeriesDay, When, ahead_of, champion_of

_COLOURS = {"good": page.GOOD, "warn": page.WARN, "bad": page.BAD}


def write_daily_page(
    folder: Path,
    *,
    when: When,
    series: Sequence[SeriesDay],
    facts: Sequence[tuple[str, str, str]],
    state: str,
    group: str = "",
) -> Path:
    """Write the page of a day, and the same page under a name without a date where there is none of a later day;
    returns the former. With a `group`, whose series these are, it is a page beside the overview (`write_overview`).

    facts: (what was looked at, good | warn | bad, text) of the health report, `state` the worst of them.
    """
    content: list[str] = [*freshness(when.day, series, when.today, when.zone), *problems(facts)]
    content.append(tiles(series, when.day, when.zone))
    for number, one in enumerate(series):
        content += [_forecasts(one, number), _hits(one)]
    for number, one in enumerate(series):
        content.append(_board(one))
        content.append(_map(one, number))
    if not group:
        content.append(health_section(facts, state))
    links = {f"{one.series} leaderboard": one.leaderboard_link for one in series if one.leaderboard_link}
    if group:
        links = {"All groups": page.file_name("daily", str(when.day)), **links}
    return write_dated(folder, when, content, subtitle=_subtitle(series, group), links=links, group=group)


def problems(facts: Sequence[tuple[str, str, str]]) -> list[page.Html]:
    """What health finds to be bad, across the page."""
    bad = [f"{name}: {text}" for name, found, text in facts if found == "bad"]
    if not bad:
        return []
    more = f" (and {len(bad) - 3} more, below)" if len(bad) > 3 else ""
    return [page.banner(f"{len(bad)} problems." if len(bad) > 1 else "A problem.", "; ".join(bad[:3]) + more)]


def _subtitle(series: Sequence[SeriesDay], group: str) -> str:
    names = ", ".join(one.series for one in series)
    return f"{group.capitalize()}: forecasts of {names}" if group else f"Forecasts of {names}"


def write_dated(
    folder: Path,
    when: When,
    content: Sequence[str],
    *,
    subtitle: str,
    links: Mapping[str, str] | None = None,
    group: str = "",
) -> Path:
    """Write a page of a day, and under its name without the date where there is none of a later day."""
    parts = ("daily", group) if group else ("daily",)
    own, undated = page.file_name(*parts, str(when.day)), page.file_name(*parts)
    # A page of the past that is made again does not stand for the newest.
    newest = all(path.name <= own for path in folder.glob(page.file_name(*parts, "DAY").replace("DAY", "????-??-??")))
    written = []
    for name in (own, undated) if newest else (own,):
        old = [] if when.due is None else [outdated(when.due, when.zone, undated if name == own else None)]
        written.append(
            page.write_page(
                folder,
                name,
                title=f"{when.day:%A} {when.day.day} {when.day:%B %Y}",
                subtitle=subtitle,
                content=[*old, *content],
                about={"kind": "daily_group" if group else "daily", "date": str(when.day)},
                links=links,
                zone=when.zone,
            )
        )
    return written[0]


def _forecasts(one: SeriesDay, number: int) -> str:
    if one.forecast_date is None or not one.models:
        return page.section(one.series, note="There is no forecast yet: run `forecast-platform infer`.")
    champion = champion_of(one)
    # The champion first, and the strongest.
    ordered = sorted(one.models, key=lambda bands: bands is not champion)
    rows, classes = [], {}
    for place, bands in enumerate(ordered):
        name: object = f"{bands.key.name} ({one.role})" if bands is champion else bands.key.name
        cells = [_outlook(bands, day - 1) for day in spans(one.horizon)]
        rows.append([name, bands.key.version, *cells, page.link(bands.link, "fan chart") if bands.link else ""])
        if bands is champion:
            classes[place] = "champion"
        elif bands.key.name == REFERENCE:
            classes[place] = "reference"
    days = {page.priced(f"Day {day}", one.unit): "number" for day in spans(one.horizon)}
    columns = {"Model": "", "Version": "", **days, "": ""}
    shown = "its bands" if champion is not None else "no bands, for it has no forecast,"
    return page.section(
        f"{one.series}: the next {one.horizon} days",
        page.plot(_figure(one, champion), f"forecast-{number}", 400),
        page.table(columns, rows, classes),
        note=f"Forecast of {date_text(one.forecast_date)}. {one.champion.name} {one.champion.version} "
        f"({one.standing}) with {shown} and the medians of the other models; the table has "
        f"{page.priced('medians and 80 % bands', one.unit)}.",
    )


def _outlook(bands: Bands, day: int) -> str:
    """Median and 80 % band of one day; a band without width is that of a day before the market opens again."""
    if bands.lower_80[day] == bands.upper_80[day]:
        return f"{price_text(bands.median[day])}  market shut"
    return f"{price_text(bands.median[day])}  [{price_text(bands.lower_80[day])} to {price_text(bands.upper_80[day])}]"


def _figure(one: SeriesDay, champion: Bands | None) -> Figure:
    figure = Figure()
    origin = np.datetime64(one.forecast_date, "D")
    start, anchor = one.history_dates[-1:], one.history_close[-1:]
    axis = [str(day) for day in np.concatenate([start, origin + np.arange(one.horizon)])]
    if champion is not None:
        for level, lower, upper in (
            (95, champion.lower_95, champion.upper_95),
            (80, champion.lower_80, champion.upper_80),
        ):
            low, high = (np.concatenate([anchor, bound]) for bound in (lower, upper))
            figure.add_band(axis, low, high, page.BANDS[level], f"{level} % band")
    for place, bands in enumerate(bands for bands in one.models if bands is not champion):
        figure.add_scatter(
            x=axis,
            y=np.concatenate([anchor, bands.median]),
            mode="lines",
            line={"width": 1.1, "color": page.OTHERS[place % len(page.OTHERS)], "dash": "dot"},
            name=_label(bands.key, one),
            hovertemplate=f"%{{y:{HOVER}}}",
        )
    figure.add_scatter(
        x=[str(day) for day in one.history_dates],
        y=one.history_close,
        mode="lines",
        line={"width": 2, "color": page.INK},
        name="close",
        hovertemplate=f"%{{y:{HOVER}}}",
    )
    if champion is not None:
        figure.add_scatter(
            x=axis,
            y=np.concatenate([anchor, champion.median]),
            mode="lines",
            line={"width": 3.2, "color": page.ACCENT},
            name=f"{_label(champion.key, one)} ({one.role})",
            hovertemplate=f"%{{y:{HOVER}}}",
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
        name = page.Html(f"<b>{page.escape(key.name)}</b> ({one.role})") if key == one.champion else key.name
        cells = [_verdict(found.get(ahead), one.hit_close) for ahead in ahead_of(one.horizon)]
        rows.append([name, key.version, *cells])
    columns = {"Model": "", "Version": "", **{_before(ahead): "" for ahead in ahead_of(one.horizon)}}
    inside = sum(hit.verdict(one.hit_close) != "missed" for hit in one.hits)
    closed = page.priced(price_text(one.hit_close), one.unit)
    return page.section(
        f"{one.series}: was the close of {date_text(one.hit_date)} inside the bands?",
        page.table(columns, rows),
        note=f"It closed at {closed}: {inside} of {len(one.hits)} forecasts had it inside 95 %. "
        "The 80 % band is shown; one close in five falls outside it, one in twenty outside 95 %.",
    )


def _before(ahead: int) -> str:
    return {1: "Made that day", WEEK: "A week before"}.get(ahead, f"{ahead - 1} days before")


def _verdict(hit: Hit | None, close: float) -> object:
    if hit is None:
        return "–"
    verdict = hit.verdict(close)
    colour = {"inside 80 %": page.GOOD, "inside 95 %": page.WARN, "missed": page.BAD}[verdict]
    return page.Html(
        f'<span class="key"><i style="background:{colour}"></i>{verdict}</span> '
        f'<span class="note">{price_text(hit.lower_80)} to {price_text(hit.upper_80)}</span>'
    )


def _board(one: SeriesDay) -> str:
    title = f"{one.series}: who forecasts best"
    if one.board is None or one.board.empty:
        return page.section(
            title, note=f"No forecast has reached the end of its {one.horizon} days with known closes yet."
        )
    columns = {"": "number", "Model": "", "Version": "", page.priced("CRPS", one.unit): "number"}
    columns |= {"Skill": "number", "In 80 %": "number", "In 95 %": "number", "Direction": "number", "Dates": "number"}
    rows, classes = [], {}
    for place, row in enumerate(one.board.to_dict("records")):
        key = ModelKey(row["model_name"], row["model_version"])
        name = f"{key.name} ({one.role})" if key == one.champion else key.name
        rows.append(
            [place + 1, name, key.version, page.Amount(f"{row['crps']:.4g}", row["crps"])]
            + [_skill(row["skill"], key.name)]
            + [_share(row[column]) for column in ("coverage_80", "coverage_95", "direction")]
            + [f"{row['n_dates']:,}"]
        )
        if key == one.champion:
            classes[place] = "champion"
        elif key.name == REFERENCE:
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
        note=f"The year to {date_text(one.ends)}. CRPS: less is better; skill: share of the {REFERENCE} model's CRPS "
        "saved.",
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


def health_section(facts: Sequence[tuple[str, str, str]], state: str) -> str:
    """The health report as a section of a page, the worst first."""
    order = {"bad": 0, "warn": 1, "good": 2}
    rows = [[light(state), name, text] for name, state, text in sorted(facts, key=lambda fact: order[fact[1]])]
    noteworthy = sum(state != "good" for _, state, _ in facts)
    table = page.table({"State": "", "What": "", "Found": "text"}, rows, stack=True)
    shown = page.Html(f"<p>{light(state)}</p>")
    return page.section("Health", shown, table, note=f"{len(facts)} facts, {noteworthy} that are not good.")


def light(state: str) -> page.Html:
    """A state with its colour."""
    return page.Html(f'<span class="key"><i style="background:{_COLOURS[state]}"></i>{page.escape(state)}</span>')


def _skill(value: float, name: str) -> str:
    return "reference" if name == REFERENCE else "–" if np.isnan(value) else f"{round(100 * value, 1) + 0.0:+.1f} %"


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.0f} %"
