"""The page of a portfolio: what it may lose, what each leg adds, and how that spreads over the days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.host.prices import price_text
from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.headline import date_text, outdated
from forecast_platform.pages.series_day import When
from forecast_platform.read.portfolio import PortfolioFigures

FAN = (0.025, 0.1, 0.5, 0.9, 0.975)
"""Quantiles of the profit that are drawn for each day."""

_BINS = 60


@dataclass(frozen=True)
class Book:
    """What the page shows of a portfolio."""

    name: str
    figures: PortfolioFigures
    """Of one forecast date, held to the last day."""
    fan: Floats
    """Quantiles FAN of the profit, held to each day, float64 [horizon, 5]."""


def write_portfolio(folder: Path, book: Book, *, when: When, series_links: dict[str, str] | None = None) -> Path:
    """Write the page of a portfolio and return its file. `series_links`: series to the address of its own page."""
    found = book.figures
    [day] = found.dates.astype(dt.date)
    levels = sorted(found)
    held = day + dt.timedelta(days=found.day_ahead - 1)
    content = [
        *([] if when.due is None else [outdated(when.due, when.zone, None)]),
        *_freshness(book, day, when),
        page.cards(_cards(found, levels)),
        page.section(
            f"What it may gain or lose by {date_text(held)}",
            page.plot(_histogram(found, levels), "profits", 340),
            note=f"Profit from the last closes in {found.profits.shape[-1]:,} scenarios, in {found.currency}: path p "
            "is one scenario of every series, so the legs are added up path by path. "
            f"{100 * float(found.probability_of_loss()[0]):.0f} % of them lose.",
        ),
        page.section(
            "What each leg adds",
            page.plot(_legs_chart(found, levels[0]), "legs", 120 + 44 * (len(found.legs) + 1)),
            *(_legs_table(found, level) for level in levels),
            note=f"Expected shortfall in {found.currency}, the mean of the worst {_tail(levels[0])} (a table a level): "
            "each leg held alone, and what it adds to the portfolio's, which add up to it; negative where a leg hedges "
            "the others.",
        ),
        page.section(
            "Day by day",
            page.plot(_fan(book, day), "fan", 340),
            _fan_table(book, day),
            note=f"Quantiles of the profit if held to each day, in {found.currency}.",
        ),
    ]
    return page.write_page(
        folder,
        page.file_name("portfolio", book.name),
        title=f"Portfolio {book.name}",
        subtitle=", ".join(_held_text(leg.contracts, leg.key.series) for leg in found.legs),
        content=content,
        about={"kind": "portfolio", "series": book.name},
        links={"Daily page": "daily.html", **(series_links or {})},
        zone=when.zone,
    )


def write_refused(folder: Path, name: str, why: str, *, zone: str) -> Path:
    """Write the page of a portfolio that cannot be added up, saying why: one of yesterday must not stay."""
    return page.write_page(
        folder,
        page.file_name("portfolio", name),
        title=f"Portfolio {name}",
        subtitle="no figures",
        content=[page.banner("No figures", why, "loud")],
        about={"kind": "portfolio", "series": name},
        links={"Daily page": "daily.html"},
        zone=zone,
    )


def _freshness(book: Book, day: dt.date, when: When) -> list[page.Html]:
    found, loud = book.figures, []
    if day < when.today:
        text = (
            f"The newest forecasts of all legs are of {date_text(day)}; today is {date_text(when.today)} ({when.zone})."
        )
        loud.append(page.banner("Not today's prices", text, "loud"))
    old = []
    for leg, behind, seen in zip(found.legs, found.behind, found.last_observed, strict=True):
        if behind:
            lacking = f"{behind} session{'s' * (behind > 1)} behind"
            old.append(f"{leg.key.series}: newest close of {date_text(seen[0].astype(dt.date))}, {lacking}")
    if old:
        loud.append(page.banner("Old data", f"{'; '.join(old)}. The figures start from those old prices.", "loud"))
    if loud:
        return loud
    closes = sorted({seen[0].astype(dt.date) for seen in found.last_observed})
    span = " and ".join(date_text(each) for each in dict.fromkeys((closes[0], closes[-1])))
    return [page.banner("Fresh.", f"Closes to {span}, the newest session due. Forecasts of {date_text(day)}.", "fresh")]


def _cards(found: PortfolioFigures, levels: Sequence[float]) -> list[tuple[object, object]]:
    unit = found.currency
    cards: list[tuple[object, object]] = []
    for level in levels:
        one = found[level]
        cards.append((_money(one.var[0]), f"{unit}: value at risk {100 * level:g} %, {found.day_ahead} days"))
        cards.append((_money(one.cvar[0]), f"{unit}: expected shortfall {100 * level:g} %"))
    one = found[levels[0]]
    total = float(one.sum_of_legs[0])
    saved = 100 * float(one.diversification[0]) / total if total > 0 else float("nan")
    cards.append((f"{saved:.0f} %", f"of {_money(total)} {unit}, the legs held alone, saved by holding them together"))
    return cards


def _histogram(found: PortfolioFigures, levels: Sequence[float]) -> Figure:
    profit = found.profit[0]
    counts, edges = np.histogram(profit, _BINS)
    figure = Figure()
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=100 * counts / len(profit),
        width=edges[1] - edges[0],
        marker={"color": "var(--bar)", "line": {"color": page.PANEL, "width": 1}},
        name="share of scenarios",
        hovertemplate="%{x:,.0f}: %{y:.1f} % of scenarios<extra></extra>",
    )
    for place, level in enumerate(levels):
        loss = -float(found[level].var[0])
        line = {"color": page.BAD, "width": 1.6, "dash": "dash"}
        figure.add_vline(loss, line)
        figure.add_annotation(
            f"VaR {100 * level:g} %", x=loss, y=1 - 0.1 * place, yref="y domain", xanchor="right", font={"size": 12}
        )
    figure.layout |= {
        "showlegend": False,
        "bargap": 0,
        "margin": {"l": 60, "r": 16, "t": 20, "b": 46},
        "xaxis": {"title": {"text": f"profit ({found.currency})"}, "tickformat": ",~s", "zeroline": True},
        "yaxis": {"title": {"text": "scenarios (%)"}},
    }
    return figure


def _legs_chart(found: PortfolioFigures, level: float) -> Figure:
    one = found[level]
    names = [leg.key.series for leg in found.legs]
    figure = Figure()
    for label, values, colour in (
        ("held alone", one.leg_cvar[:, 0], "var(--bar)"),
        ("adds to the portfolio", one.contribution[:, 0], page.ACCENT),
    ):
        figure.add_bar(
            y=names, x=values, orientation="h", name=label, marker={"color": colour}, hovertemplate="%{x:,.0f}"
        )
    figure.layout |= {
        "barmode": "group",
        "margin": {"l": 80, "r": 16, "t": 34, "b": 46},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": {"text": f"expected shortfall {100 * level:g} % ({found.currency})"}, "tickformat": ",~s"},
        "yaxis": {"autorange": "reversed"},
    }
    return figure


def _legs_table(found: PortfolioFigures, level: float) -> page.Html:
    one, unit = found[level], found.currency
    columns = {
        f"{100 * level:g} %": "",
        "Model": "",
        "Contracts": "number",
        "Last close": "number",
        "of": "",
    }
    columns |= {f"Exposure ({unit})": "number", "VaR alone": "number", "Shortfall alone": "number"}
    columns |= {f"Adds ({unit})": "number", "Share": "number"}
    rows: list[list[object]] = []
    for place, leg in enumerate(found.legs):
        close, adds = float(found.last_closes[place, 0]), float(one.contribution[place, 0])
        rows.append(
            [
                leg.key.series,
                f"{leg.key.model} {leg.key.version} ({leg.key.chosen.partition(',')[0]})",
                page.Amount(f"{leg.contracts:+g}", leg.contracts),
                page.Amount(f"{price_text(close)} {leg.unit or ''}".strip(), close),
                date_text(found.last_observed[place, 0].astype(dt.date)),
                _amount(close * leg.size),
                _amount(float(one.leg_var[place, 0])),
                _amount(float(one.leg_cvar[place, 0])),
                _amount(adds),
                f"{100 * adds / float(one.cvar[0]):.0f} %" if one.cvar[0] else "–",
            ]
        )
    value = float((found.last_closes[:, 0] * np.array([leg.size for leg in found.legs])).sum())
    whole = [
        _amount(value),
        _amount(float(one.var[0])),
        _amount(float(one.cvar[0])),
        _amount(float(one.cvar[0])),
        "100 %",
    ]
    rows.append(["portfolio", "", "", "", "", *whole])
    apart = [_amount(float(one.leg_var.sum(axis=0)[0])), _amount(float(one.sum_of_legs[0]))]
    rows.append(["sum of legs", "", "", "", "", "", *apart, "", ""])
    return page.table(columns, rows, {len(rows) - 2: "champion", len(rows) - 1: "reference"})


def _fan(book: Book, day: dt.date) -> Figure:
    low95, low80, median, high80, high95 = book.fan.T
    axis = [str(day + dt.timedelta(days=ahead)) for ahead in range(len(median))]
    figure = Figure()
    for level, low, high in ((95, low95, high95), (80, low80, high80)):
        figure.add_band(axis, low, high, page.BANDS[level], f"{level} % of scenarios")
    line = {"width": 3, "color": page.ACCENT}
    figure.add_scatter(x=axis, y=median, mode="lines", line=line, name="median", hovertemplate="%{y:,.0f}")
    figure.layout |= {
        "hovermode": "x unified",
        "margin": {"l": 64, "r": 16, "t": 34, "b": 30},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"showgrid": False},
        "yaxis": {"title": {"text": f"profit ({book.figures.currency})"}, "tickformat": ",~s", "zeroline": True},
    }
    return figure


def _fan_table(book: Book, day: dt.date) -> page.Html:
    columns = {"Day": "number", "Date": "", **{f"{100 * level:g} %": "number" for level in FAN}}
    rows = [
        [ahead + 1, date_text(day + dt.timedelta(days=ahead)), *(_amount(float(value)) for value in row)]
        for ahead, row in enumerate(book.fan)
    ]
    return page.table(columns, rows)


def _amount(value: float) -> page.Amount:
    return page.Amount(_money(value), value)


def _money(value: float) -> str:
    return "–" if np.isnan(value) else f"{round(value) + 0:,}"


def _tail(level: float) -> str:
    return f"{100 * (1 - level):.3g} % of scenarios"


def _held_text(contracts: float, series: str) -> str:
    return f"{'long' if contracts >= 0 else 'short'} {abs(contracts):g} {series}"
