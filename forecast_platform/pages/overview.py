"""The day of many series on one page: a line each, by group, with the way to the group's own page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from forecast_platform.host.prices import price_text
from forecast_platform.pages import page
from forecast_platform.pages.daily_layout import health_section, light, problems, write_dated
from forecast_platform.pages.headline import date_text, freshness
from forecast_platform.pages.series_day import SeriesDay, When, champion_of


def write_overview(
    folder: Path,
    *,
    when: When,
    groups: Mapping[str, Sequence[SeriesDay]],
    facts: Sequence[tuple[str, str, str]],
    state: str,
) -> Path:
    """Write the overview of a day and return its path; the pages of the `groups` were written before.

    facts: (what was looked at, good | warn | bad, text) of the health report, `state` the worst of them.
    """
    day = when.day
    everything = [one for series in groups.values() for one in series]
    late = [one for one in everything if one.forecast_date is None or (one.forecast_date < day and not one.over(day))]
    content: list[str] = [*freshness(day, everything, when.today, when.zone), *problems(facts)]
    content.append(
        page.cards(
            [
                (len(everything) - len(late), f"of {len(everything)} series have a forecast of this day"),
                *_missed(everything),
                (light(state), "health"),
            ]
        )
    )
    content += [_group(name, series, day) for name, series in groups.items()]
    content.append(health_section(facts, state))
    links = {_title(name): page.file_name("daily", name or "rest", str(day)) for name in groups}
    return write_dated(folder, when, content, subtitle=f"{len(everything)} series in {len(groups)} groups", links=links)


def _title(group: str) -> str:
    return group.capitalize() if group else "Series without a group"


def _missed(series: Sequence[SeriesDay]) -> list[tuple[object, object]]:
    """How many closes fell outside the champion's 95 % band of that day."""
    verdicts = [
        hit.verdict(one.hit_close) for one in series for hit in one.hits if hit.key == one.champion and hit.ahead == 1
    ]
    return [(verdicts.count("missed"), f"of {len(verdicts)} last closes outside the champion's 95 % band")]


def _group(name: str, series: Sequence[SeriesDay], day: dt.date) -> str:
    rows = [_row(one, day) for one in series]
    columns = {"Series": "", "Unit": "", "Model": "", "Forecast of": "", "Last close": "number", "of": ""}
    columns |= {f"Day {series[0].horizon}": "number"}
    columns |= {"Move": "number", "80 % band": "number", "Last close was": ""}
    address = page.file_name("daily", name or "rest", str(day))
    more = page.Html(f'<p><a href="{page.escape(address)}">Fan charts, all models, leaderboards, what is there</a></p>')
    return page.section(_title(name), page.table(columns, rows), more)


def _row(one: SeriesDay, day: dt.date) -> list[object]:
    found = champion_of(one)
    last = float(one.history_close[-1]) if len(one.history_close) else np.nan
    name: object = one.series
    if one.leaderboard_link:
        name = page.Html(f'<a href="{page.escape(one.leaderboard_link)}">{page.escape(one.series)}</a>')
    if found is None or one.forecast_date is None:
        none = page.Html(f"{light('bad')} none")
        close = page.Amount(price_text(one.hit_close), one.hit_close)
        model = f"{one.champion.name} ({one.role})"
        return [name, one.unit or "", model, none, close, _closed(one, one.hit_date), "–", "–", "–", "–"]
    date: object = str(one.forecast_date)
    if one.forecast_date < day:
        date = page.Html(f"{light('warn')} {page.escape(one.forecast_date)}")
    move = 100 * (found.median[-1] / last - 1) if last > 0 else np.nan
    hit = next((hit for hit in one.hits if hit.key == one.champion and hit.ahead == 1), None)
    return [
        name,
        one.unit or "",
        f"{one.champion.name} ({one.role})",
        date,
        page.Amount(price_text(last), last),
        _closed(one, one.last_date),
        page.Amount(price_text(found.median[-1]), float(found.median[-1])),
        "–" if np.isnan(move) else f"{move + 0.0:+.1f} %",
        f"{price_text(found.lower_80[-1])} to {price_text(found.upper_80[-1])}",
        "–" if hit is None else hit.verdict(one.hit_close),
    ]


def _closed(one: SeriesDay, of: dt.date | None) -> object:
    """The day of a close; the newest beside it where that is another, loud where sessions due are lacking after it."""
    newer = f"; by now {price_text(one.hit_close)} of {date_text(one.hit_date)}" if of != one.hit_date else ""
    text = page.escape(f"{date_text(of)}{newer}")
    return page.Html(f"{light('bad')} {text}, {one.late} behind") if one.late > 0 else text
