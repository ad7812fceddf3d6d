"""Figures of the leaderboard page: hit rates against nominal, PIT histograms, and the map of what is there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import Bools
from forecast_platform.forecasting.horizon import suffix
from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure, Properties
from forecast_platform.pages.scores import ModelKey, counted, horizon_of, scored, succeeded

if TYPE_CHECKING:
    import pandas as pd

STATES = (
    ("none made", page.EMPTY),
    ("some failed", page.BAD),
    ("some missing", page.WARN),
    ("all made", page.GOOD),
)
"""States of a cell of the coverage map, by its number, and their colours."""

_BINS = 10
_MONTHS_FROM, _WEEKS_FROM, _FEW = 400, 92, 14
_PANEL_GAP = 0.03


def hit_rate_bars(board: pd.DataFrame) -> Figure:
    """Share of targets inside the 80 % and 95 % band for each row of a leaderboard, with the nominal lines."""
    names = [f"{row.model_name}<br>{row.model_version}" for row in board.itertuples()]
    figure = Figure()
    for level, colour in ((80, "var(--bar)"), (95, "var(--bar2)")):
        values = board[f"coverage_{level}"].to_numpy(np.float64)
        figure.add_bar(
            x=names,
            y=values,
            name=f"{level} % band",
            marker={"color": colour},
            text=["" if np.isnan(value) else f"{100 * value:.0f}" for value in values],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate="%{y:.1%}",
        )
        figure.add_hline(level / 100, {"dash": "dash", "width": 1.3, "color": page.INK})
        figure.add_annotation(
            f"nominal {level} %",
            x=1,
            xref="x domain",
            xanchor="right",
            y=level / 100,
            yanchor="bottom",
            font={"size": 11},
            bgcolor=page.PANEL,
        )
    figure.layout |= {
        "barmode": "group",
        "bargap": 0.35,
        "bargroupgap": 0.06,
        "margin": {"l": 60, "r": 16, "t": 30, "b": 50},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"automargin": True},
        "yaxis": {"range": [0, 1.06], "tickformat": ".0%", "title": {"text": "targets inside the band"}},
    }
    return figure


def pit_histograms(metadata: pd.DataFrame) -> tuple[Figure, int]:
    """PIT histograms of each model with the uniform line, and how many rows of panels there are (0: no PIT known)."""
    figure = Figure(layout={"showlegend": False, "margin": {"l": 60, "r": 16, "t": 48, "b": 30}})
    values = {}
    for key, rows in scored(metadata, suffix(horizon_of(metadata))).items():
        pits = rows["pit"].to_numpy(np.float64)[counted(rows)]
        if np.isfinite(pits).any():
            values[key] = pits[np.isfinite(pits)]
    if not values:
        return figure, 0
    columns = min(3, len(values))
    n_rows = -(-len(values) // columns)
    width = (1 - _PANEL_GAP * (columns - 1)) / columns
    gap = 0.34 / n_rows
    height = (1 - gap * (n_rows - 1)) / n_rows
    edges = np.linspace(0, 1, _BINS + 1)
    for number, (key, pits) in enumerate(values.items()):
        row, column = divmod(number, columns)
        axis = "" if number == 0 else str(number + 1)
        first = row * columns
        left, top = column * (width + _PANEL_GAP), 1 - row * (height + gap)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.histogram(pits, edges)[0] * _BINS / len(pits),
            width=1 / _BINS,
            marker={"color": "var(--bar)", "line": {"color": page.PANEL, "width": 1}},
            hovertemplate="PIT %{x:.2f}: %{y:.2f} times uniform<extra></extra>",
            xaxis=f"x{axis}",
            yaxis=f"y{axis}",
        )
        figure.add_hline(1, {"dash": "dash", "width": 1.3, "color": page.INK}, xref=f"x{axis} domain", yref=f"y{axis}")
        figure.add_annotation(
            f"{key.name}<br>{key.version}, n = {len(pits):,}",
            x=left + width / 2,
            xref="paper",
            xanchor="center",
            y=top,
            yref="paper",
            yanchor="bottom",
            font={"size": 13},
        )
        figure.layout[f"xaxis{axis}"] = {
            "domain": [left, min(left + width, 1.0)],
            "anchor": f"y{axis}",
            "range": [0, 1],
            "tickvals": [0, 0.5, 1],
            "showgrid": False,
        }
        # One scale a row of panels, written beside its first.
        shared: Properties = {"title": {"text": "density"}} if column == 0 else {"showticklabels": False}
        if column:
            shared["matches"] = "y" if first == 0 else f"y{first + 1}"
        figure.layout[f"yaxis{axis}"] = {
            "domain": [max(top - height, 0.0), top],
            "anchor": f"x{axis}",
            "rangemode": "tozero",
            **shared,
        }
    return figure, n_rows


def status(metadata: pd.DataFrame, expected: Sequence[dt.date], keys: Sequence[ModelKey]) -> tuple[Bools, Bools]:
    """Which expected forecasts were made, and which failed: two bool arrays [n_models, n_dates].

    A forecast that is neither is missing; a leaked one counts as failed.
    """
    days = np.array(sorted(set(expected)), "datetime64[D]")
    made, failed = (np.zeros((len(keys), len(days)), np.bool_) for _ in range(2))
    if len(days) == 0 or len(metadata) == 0:
        return made, failed
    row_of = {key: row for row, key in enumerate(keys)}
    names = zip(metadata["model_name"].astype(str), metadata["model_version"].astype(str), strict=True)
    row = np.array([row_of.get(ModelKey(*name), -1) for name in names])
    dates = metadata["forecast_date"].to_numpy("datetime64[D]")
    column = np.minimum(np.searchsorted(days, dates), len(days) - 1)
    inside = (days[column] == dates) & (row >= 0)
    good = succeeded(metadata)
    made[row[inside & good], column[inside & good]] = True
    failed[row[inside & ~good], column[inside & ~good]] = True
    return made, failed & ~made


def coverage_map(expected: Sequence[dt.date], keys: Sequence[ModelKey], made: Bools, failed: Bools) -> Figure:
    """Heat map of models by time: a day, week or month a cell, whichever suits the span; worst state shown first.

    made, failed: bool [keys, dates], of `expected` dates ascending.
    """
    days = np.array(sorted(set(expected)), "datetime64[D]")
    unit, cells = _cells(days)
    starts, position = np.unique(cells, return_inverse=True)
    counts = np.zeros((3, len(keys), len(starts)), int)
    for kind, part in enumerate((made, failed, ~made & ~failed)):
        for row in range(len(keys)):
            counts[kind, row] = np.bincount(position, part[row], len(starts))
    n_made, n_failed, n_missing = counts
    state = np.select([n_failed > 0, n_made == 0, n_missing > 0], [1, 0, 2], 3)
    step = 1 / len(STATES)
    colours = [
        [edge, colour] for place, (_, colour) in enumerate(STATES) for edge in (place * step, (place + 1) * step)
    ]
    figure = Figure()
    figure.add_heatmap(
        x=[str(start) for start in starts],
        y=[f"{key.name} {key.version}  " for key in keys],
        z=state,
        zmin=-0.5,
        zmax=len(STATES) - 0.5,
        colorscale=colours,
        showscale=False,
        xgap=1,
        ygap=3,
        text=[
            [
                f"{unit} of {starts[c]}<br>{n_made[r, c]} made, {n_missing[r, c]} missing, {n_failed[r, c]} failed"
                for c in range(len(starts))
            ]
            for r in range(len(keys))
        ],
        hovertemplate="%{y}<br>%{text}<extra></extra>",
    )
    figure.layout |= {
        "margin": {"l": 10, "r": 16, "t": 10, "b": 34},
        # Few cells on a date axis get ticks of hours.
        "xaxis": {"type": "date" if len(starts) > _FEW else "category", "showgrid": False},
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
    }
    return figure


def _cells(days: np.ndarray) -> tuple[str, np.ndarray]:
    """The cell that each day belongs to, as its first day, and what a cell is called."""
    span = int((days[-1] - days[0]).astype(int)) if len(days) else 0
    if span >= _MONTHS_FROM:
        return "month", days.astype("datetime64[M]").astype("datetime64[D]")
    if span >= _WEEKS_FROM:
        # Day 0 of the epoch was a Thursday: three days on, weeks begin on Mondays.
        return "week", days - ((days.astype(int) + 3) % 7)
    return "day", days
