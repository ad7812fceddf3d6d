"""Read in ten seconds: how fresh, which price, how wide, how sure, which model, against the last close."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecast_platform.forecasting.validation import other_prices
from forecast_platform.host.prices import price_text
from forecast_platform.host.times import in_zone
from forecast_platform.pages import page
from forecast_platform.pages.series_day import Bands, SeriesDay, champion_of

_NAMED = 6
"""Series that a banner names; of more it gives the number."""


@dataclass(frozen=True)
class Said:
    """A sentence on how old what is shown is: the loudest thing on the page, unless all is fresh."""

    title: str
    text: str
    fresh: bool = False

    def __str__(self) -> str:
        return f"{self.title.upper()}: {self.text}" if not self.fresh else f"{self.title} {self.text}"

    def banner(self) -> page.Html:
        """The same across a page."""
        return page.banner(self.title, self.text, "fresh" if self.fresh else "loud")


def freshness(day: dt.date, series: Sequence[SeriesDay], today: dt.date, zone: str) -> list[page.Html]:
    """What `how_fresh` says, as banners."""
    return [one.banner() for one in how_fresh(day, series, today, zone)]


def how_fresh(day: dt.date, series: Sequence[SeriesDay], today: dt.date, zone: str) -> list[Said]:
    """Of when the data are: a page of a day that is over, closes behind the newest session due, a forecast of an
    earlier day or none; only where nothing is old, that all is fresh."""
    loud: list[Said] = []
    over = [one for one in series if one.over(day)]
    series = [one for one in series if not one.over(day)]
    if day < today:
        ended = {one.ended for one in series if one.ended is not None and one.ended <= day}
        why = f"the source has ended on {date_text(max(ended))}, nothing newer will come" if ended else "it is history"
        text = f"This page is of {date_text(day)}, and today is {date_text(today)} ({zone}): {why}."
        loud.append(Said("Not today's prices", text))
    behind = [one for one in series if one.late > 0 and one.due is not None]
    if behind:
        each = [
            f"{one.series}: newest close of {date_text(one.hit_date)}, that of {date_text(one.due)} was due "
            f"({one.late} session{'s' if one.late > 1 else ''} behind)"
            for one in behind
        ]
        stuck = [one for one in behind if one.forecast_date is not None and one.forecast_date < day]
        # What follows from the old data is said with them.
        then = "Forecasts start from those old prices."
        if stuck:
            newest = [f"{one.series} of {date_text(one.forecast_date)}" for one in stuck]
            then = f"The newest forecasts: {_some(newest)}."
        loud.append(Said("Old data", f"{_some(each)}. {then}"))
    other = [one for one in series if _other_prices(one)]
    if other:
        each = [
            f"{one.series}: the close of {date_text(one.last_date)} is {price_text(one.last_close)}" for one in other
        ]
        text = f"{_some(each)} by now. The forecast began at another, in another unit?: run `forecast-platform infer`."
        loud.append(Said("Not these prices", text))
    without = [one for one in series if one.lacks]
    if without:
        each = [f"{one.series}: from that of {date_text(one.began)}" for one in without]
        text = f"{_some(each)}; newer ones have come since: run `forecast-platform infer`."
        loud.append(Said("Forecast of an older close", text))
    nothing = [one.series for one in series if one.forecast_date is None]
    earlier = [one for one in series if one.forecast_date is not None and one.forecast_date < day and one not in behind]
    if earlier:
        each = [f"{one.series}: the newest is of {date_text(one.forecast_date)}" for one in earlier]
        loud.append(Said("No forecast of this day", f"{_some(each)}."))
    if nothing:
        loud.append(Said("No forecast", f"{_some(nothing)}: run `forecast-platform infer`."))
    lacking = [one for one in series if one.forecast_date is not None and champion_of(one) is None]
    if lacking:
        each = [f"{one.series}: none by {one.champion.name} {one.champion.version}, the {one.role}" for one in lacking]
        text = f"{_some(each)}; other models have one: run `forecast-platform infer`."
        loud.append(Said("No forecast of the model that is followed", text))
    if loud or not series:
        return loud
    closes = sorted({one.last_date for one in series if one.last_date is not None})
    made = [one.made_at for one in series if one.made_at is not None]
    when = f", made {in_zone(max(made), zone)}" if made else ""
    span = " and ".join(dict.fromkeys(date_text(each) for each in (closes[0], closes[-1]))) if closes else "no day"
    text = f"Closes to {span}, the newest session due. Forecasts of {date_text(day)}{when}."
    for one in over:
        text += f" {one.series} has ended on {date_text(one.ended)}."
    return [Said("Fresh.", text, fresh=True)]


def _other_prices(one: SeriesDay) -> bool:
    found = champion_of(one)
    if found is None:
        return False
    ends = (np.min(found.lower_95, keepdims=True), np.max(found.upper_95, keepdims=True))
    return bool(other_prices(np.array([one.last_close]), *ends)[0])


def outdated(due: dt.datetime, zone: str, newest: str | None) -> page.Html:
    """A word that shows itself from `due` on, when a newer page ought to be there; `newest` is its address where this
    page is of one day and stays."""
    text = f"A newer one was due {in_zone(due, zone)}. "
    text += "This page is kept as it was." if newest else "None was made: prices and forecasts here are old."
    more = f" {page.link(newest, 'The newest page')}" if newest else ""
    moment = due.astimezone(dt.timezone.utc).isoformat(timespec="seconds")
    return page.Html(
        f'<div class="banner loud" id="outdated" role="alert" hidden data-due="{moment}">'
        f"<b>Old page</b> {page.escape(text)}{more}</div>"
    )


def tiles(series: Sequence[SeriesDay], day: dt.date, zone: str) -> page.Html:
    """A tile a series."""
    return page.Html(f'<div class="tiles">{"".join(_tile(one, day, zone) for one in series)}</div>')


def _tile(one: SeriesDay, day: dt.date, zone: str) -> page.Html:
    found, last = champion_of(one), one.last_close
    unit = f" <small>{page.escape(one.unit)}</small>" if one.unit else ""
    chip = page.escape(f"{one.champion.name} {one.champion.version}, {one.standing}")
    head = f'<h2>{page.escape(one.series)}{unit}</h2><span class="chip">{chip}</span>'
    stale = found is None or one.late > 0 or one.lacks or one.forecast_date is None or one.forecast_date < day
    old = " old" if stale else ""
    links = {
        "fan chart": found.link if found else None,
        "day by day": one.history_link,
        "leaderboard": one.leaderboard_link,
    }
    more = "".join(page.link(target, f"{one.series} {label}") for label, target in links.items() if target)
    below = f'<p class="links">{more}</p>' if more else ""
    if found is None or one.forecast_date is None:
        seen = {"Last close": _closed(one, one.hit_close, one.hit_date)}
        inner = f'<p class="price">no forecast</p>{_listed(seen)}'
    else:
        inner = _outlook(one, found, last, day, zone)
    return page.Html(
        f'<section class="tile{old}" aria-label="{page.escape(one.series)} in short">{head}{inner}{below}</section>'
    )


def _outlook(one: SeriesDay, found: Bands, last: float, day: dt.date, zone: str) -> str:
    end = one.horizon - 1
    target = None if one.forecast_date is None else one.forecast_date + dt.timedelta(days=end)
    median = float(found.median[end])
    when = f"{'In' if one.forecast_date == day else 'After'} {one.horizon} days"
    made = f", made {in_zone(one.made_at, zone)}" if one.made_at is not None else ""
    facts = {
        "Last close": _known(one, last),
        "Forecast": f"of {date_text(one.forecast_date)}{made}",
        when: f"{price_text(median)}{move_text(median, last)} on {date_text(target)} (median)",
    }
    for level in (80, 95):
        lower, upper = (float(getattr(found, f"{side}_{level}")[end]) for side in ("lower", "upper"))
        half = f" (± {50 * (upper - lower) / last:.1f} %)" if last > 0 else ""
        facts[f"{level} % band"] = f"{price_text(lower)} to {price_text(upper)}{half}"
    facts["How sure"] = _held(one)
    to = '<span aria-hidden="true">→</span><span class="hidden">to</span>'
    arrow = f"{price_text(last)} {to} <span>{price_text(median)}</span>"
    moved = f" <small>{page.escape(move_text(median, last).strip())}</small>"
    return f'<p class="price">{arrow}{moved}</p>{_bullet(found, end, last)}{_listed(facts)}'


def _known(one: SeriesDay, last: float) -> str:
    """The close that the forecast starts from; the newest beside it where that is another."""
    newest = _closed(one, one.hit_close, one.hit_date)
    if one.last_date is None or one.last_date == one.hit_date:
        return newest
    return f"{price_text(last)} of {date_text(one.last_date)}; by now {newest}"


def _listed(facts: Mapping[str, str]) -> str:
    items = "".join(f"<dt>{page.escape(name)}</dt><dd>{page.escape(text)}</dd>" for name, text in facts.items())
    return f"<dl>{items}</dl>"


def _closed(one: SeriesDay, close: float, of: dt.date | None) -> str:
    """A close, its day, and how many sessions due are lacking after it."""
    if of is None:
        return "none is known"
    behind = f", {one.late} session{'s' if one.late > 1 else ''} behind" if one.late else ""
    return f"{price_text(close)} of {date_text(of)}{behind}"


def _held(one: SeriesDay) -> str:
    """How the champion's bands did in the year to the newest forecast."""
    rows = [] if one.board is None else one.board.to_dict("records")
    row = next((row for row in rows if (row["model_name"], row["model_version"]) == tuple(one.champion)), None)
    if row is None or np.isnan(row["coverage_80"]):
        return "not known yet: no close of a whole forecast has been seen"
    return (
        f"over the year to {date_text(one.ends)} its 80 % band held {100 * row['coverage_80']:.0f} % of closes, its "
        f"95 % band {100 * row['coverage_95']:.0f} % ({row['n_dates']:,} forecasts)"
    )


def _bullet(found: Bands, end: int, last: float) -> str:
    """The bands of the last day as a bar, with the median and the last close on it."""
    values = [float(found.lower_95[end]), float(found.upper_95[end]), float(found.median[end])]
    known = [value for value in (*values, last) if np.isfinite(value)]
    low, high = min(known), max(known)
    if not high > low:
        return ""

    def at(value: float) -> float:
        return 20 + 960 * (value - low) / (high - low)

    def bar(name: str, lower: float, upper: float, top: int, height: int) -> str:
        wide = at(upper) - at(lower)
        return f'<rect class="{name}" x="{at(lower):.1f}" y="{top}" width="{wide:.1f}" height="{height}"/>'

    def mark(name: str, value: float) -> str:
        place = f"{at(value):.1f}"
        return f'<line class="{name}" x1="{place}" x2="{place}" y1="2" y2="32" vector-effect="non-scaling-stroke"/>'

    label = page.escape(
        f"80 % band {price_text(found.lower_80[end])} to {price_text(found.upper_80[end])}, "
        f"95 % band {price_text(values[0])} to {price_text(values[1])}; "
        f"solid line: median {price_text(values[2])}; dashed line: last close {price_text(last)}"
    )
    return (
        f'<svg class="bullet" viewBox="0 0 1000 34" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"<title>{label}</title>"
        + bar("b95", values[0], values[1], 9, 16)
        + bar("b80", float(found.lower_80[end]), float(found.upper_80[end]), 9, 16)
        + (mark("last", last) if np.isfinite(last) else "")
        + mark("median", values[2])
        + "</svg>"
    )


def move_text(value: float, last: float) -> str:
    """How far `value` lies from the last close: ` (+1.2 %)`; empty where that cannot be said."""
    return f" ({round(100 * (value / last - 1), 1) + 0.0:+.1f} %)" if last > 0 and np.isfinite(value) else ""


def date_text(day: dt.date | None) -> str:
    """A date with its weekday."""
    return "no day" if day is None else f"{day:%a} {day.day} {day:%b %Y}"


def _some(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - _NAMED} more"] if len(texts) > _NAMED else []
    return "; ".join([*texts[:_NAMED], *more])
