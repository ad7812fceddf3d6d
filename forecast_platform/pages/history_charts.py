"""Figures of the history page: each day's forecast against what happened, scores and hit rates as time goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats
from forecast_platform.forecasting.horizon import spans
from forecast_platform.host.prices import HOVER
from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure
from forecast_platform.pages.scores import counted

if TYPE_CHECKING:
    import pandas as pd

ROLLING = 60
"""Forecasts, each last known close once, that one point of a rolling score is the mean of: about a quarter."""

_MOST_POINTS = 600
"""Points of a rolling line; of longer ones every second or third is drawn."""

_GAP = 0.07


@dataclass(frozen=True)
class Days:
    """Forecasts of one model: dates [n], quantiles by name float64 [n, horizon] (median, lower_80, ...), and the closes
    that came true, float64 [n, horizon], NaN where the market was shut or is not known yet."""

    dates: Dates
    quantiles: Mapping[str, Floats]
    actual: Floats

    @property
    def horizon(self) -> int:
        """Days that a forecast covers."""
        return self.actual.shape[1]

    def inside(self, level: int) -> Bools:
        """Whether the close fell inside the band `level`, [n, horizon]; False where it is not known."""
        lower, upper = self.quantiles[f"lower_{level}"], self.quantiles[f"upper_{level}"]
        return np.asarray((self.actual >= lower) & (self.actual <= upper))


def hits(days: Days, unit: str | None) -> Figure:
    """A panel each for the closes 1, 7 and `horizon` days ahead: bands and median as they had been forecast, by target
    date, and the close. A point's customdata is the forecast date that it belongs to."""
    ahead = spans(days.horizon)
    height = (1 - _GAP * (len(ahead) - 1)) / len(ahead)
    figure = Figure(
        layout={
            "hovermode": "closest",
            "margin": {"l": 60, "r": 16, "t": 44, "b": 30},
            "legend": {"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        }
    )
    for panel, day in enumerate(ahead):
        axis = "" if panel == 0 else str(panel + 1)
        top = 1 - panel * (height + _GAP)
        known = np.isfinite(days.actual[:, day - 1])
        targets = [str(date) for date in days.dates[known] + (day - 1) * ONE_DAY]
        made = [str(date) for date in days.dates[known]]
        place = {"xaxis": f"x{axis}", "yaxis": f"y{axis}", "showlegend": panel == 0}

        def column(name: str, day: int = day, known: Bools = known) -> Floats:
            return np.asarray(days.quantiles[name][known, day - 1])

        for level in (95, 80):
            lower, upper = column(f"lower_{level}"), column(f"upper_{level}")
            figure.add_band(targets, lower, upper, page.BANDS[level], f"{level} % band", **place)
        figure.add_scatter(
            x=targets,
            y=column("median"),
            customdata=made,
            mode="lines",
            line={"width": 1.4, "color": page.ACCENT},
            name="median",
            hovertemplate=f"%{{x}}: median %{{y:{HOVER}}}, forecast of %{{customdata}}<extra></extra>",
            **place,
        )
        close, in80, in95 = (part[known, day - 1] for part in (days.actual, days.inside(80), days.inside(95)))
        for label, chosen, colour in (
            ("close inside 80 %", in80, page.INK),
            ("outside 80 %", in95 & ~in80, page.WARN),
            ("outside 95 %", ~in95, page.BAD),
        ):
            figure.add_scatter(
                x=[target for target, one in zip(targets, chosen, strict=True) if one],
                y=close[chosen],
                customdata=[date for date, one in zip(made, chosen, strict=True) if one],
                mode="markers",
                marker={"size": 5, "color": colour},
                name=label,
                hovertemplate=f"%{{x}}: close %{{y:{HOVER}}}, {label}<br>forecast of %{{customdata}}<extra></extra>",
                **place,
            )
        share = f"{100 * in80.mean():.0f} % in 80 %, {100 * in95.mean():.0f} % in 95 %" if len(close) else ""
        figure.add_annotation(
            f"<b>{day} day{'s' if day > 1 else ''} ahead</b> {share}",
            x=0,
            xref="paper",
            xanchor="left",
            y=top,
            yref="paper",
            yanchor="bottom",
            font={"size": 12.5},
        )
        figure.layout[f"xaxis{axis}"] = {
            "anchor": f"y{axis}",
            "showgrid": False,
            "type": "date",
            "hoverformat": "%a %d %b %Y",
            **({"matches": "x"} if panel else {}),
        }
        figure.layout[f"yaxis{axis}"] = {
            "domain": [max(top - height, 0.0), top],
            "anchor": f"x{axis}",
            "tickformat": ",~r",
            "zeroline": False,
            "title": {"text": page.escape(page.priced("Close", unit)), "font": {"size": 12}},
        }
    return figure


def rolling(dates: Dates, values: Floats) -> tuple[list[str], Floats]:
    """The mean of each ROLLING values [n], in their unit, that follow one another, NaN left out, at the last one's
    date; thinned."""
    known = np.isfinite(values)
    dates, values = dates[known], values[known]
    if len(values) < ROLLING:
        return [], np.empty(0)
    total = np.concatenate([[0.0], np.cumsum(values)])
    means, ends = (total[ROLLING:] - total[:-ROLLING]) / ROLLING, dates[ROLLING - 1 :]
    step = -(-len(means) // _MOST_POINTS)
    # From the end, so that the newest is among them.
    keep = np.arange(len(means) - 1, -1, -step)[::-1]
    return [str(day) for day in ends[keep]], means[keep]


def score_lines(groups: Sequence[tuple[str, pd.DataFrame]], column: str, label: str, unit: str | None) -> Figure:
    """The rolling mean of a score, a line each of (name, scored rows); the first is the one that the page is of."""
    figure = Figure()
    for place, (name, rows) in reversed(list(enumerate(groups))):
        own = rows[counted(rows)]
        x, y = rolling(own["forecast_date"].to_numpy("datetime64[D]"), own[column].to_numpy(np.float64))
        line = {"width": 3, "color": page.ACCENT} if place == 0 else {"width": 1.6, "color": page.INK, "dash": "dash"}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name=name, hovertemplate="%{y:.4g}")
    figure.layout |= _time_layout(page.priced(label, unit))
    figure.layout["yaxis"]["rangemode"] = "tozero"
    return figure


def hit_rate_lines(rows: pd.DataFrame, suffix: str) -> Figure:
    """The rolling share of targets inside the 80 and 95 % bands, with the lines that they ought to keep to. rows:
    forecast_metadata of one model, ascending; suffix: of the span, such as `14d`."""
    figure, own = Figure(), rows[counted(rows)]
    dates = own["forecast_date"].to_numpy("datetime64[D]")
    for level, colour in ((80, page.ACCENT), (95, page.INK)):
        x, y = rolling(dates, own[f"coverage_{level}_{suffix}"].to_numpy(np.float64))
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"width": 2.4, "color": colour},
            name=f"inside {level} %",
            hovertemplate="%{y:.1%}",
        )
        figure.add_hline(level / 100, {"dash": "dash", "width": 1.3, "color": colour})
    figure.layout |= _time_layout("share of closes inside the band")
    figure.layout["yaxis"] |= {"tickformat": ".0%", "range": [0.3, 1.03]}
    return figure


def _time_layout(label: str) -> dict[str, object]:
    return {
        "hovermode": "x unified",
        "margin": {"l": 60, "r": 16, "t": 34, "b": 30},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"showgrid": False, "type": "date"},
        "yaxis": {"title": {"text": page.escape(label)}, "zeroline": False},
    }
