"""A chart as it is on the screen before plotly's script is there: bands, lines and points over dates, as SVG and HTML.

plotly's script is most of a page's bytes and of the time until a chart is drawn. A still picture of the same figure, in
the same place and colours, is part of the page: it needs no script, follows the theme, and fits any width, since only
the lines are stretched and never the words.
"""

from __future__ import annotations

import datetime as dt
import html
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.pages.figure import Figure, Properties

_SCALE = 1000
"""Width and height of the drawing in its own units; it is stretched to its place."""

_Y_TICKS, _X_TICKS = 7, 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def still(figure: Figure, height: int) -> str:
    """The figure as HTML of `height` pixels; empty where it is none of lines, points and bands over dates."""
    traces = [trace for trace in figure.data if len(trace["x"])]
    if not traces or any(trace["type"] != "scatter" or not _dated(trace) for trace in traces):
        return ""
    days = _range(figure.layout.get("xaxis", {}), [value for trace in traces for value in _days(trace["x"])])
    panels = "".join(_panel(figure.layout, name, traces, days) for name in sorted({_axis(one) for one in traces}))
    margin = figure.layout.get("margin", {})
    # As page.js has them: dates are written in two lines where a year begins.
    inset = f"{margin.get('t', 40)}px {margin.get('r', 16)}px {max(margin.get('b', 0), 46)}px {margin.get('l', 60)}px"
    return (
        f'<div class="still" aria-hidden="true" style="--high:{height}px;--inset:{inset}">{_legend(traces)}'
        f'<div class="field">{panels}{_words(figure.layout)}{_dates(days)}</div></div>'
    )


def _axis(trace: Properties) -> str:
    return str(trace.get("yaxis", "y"))


def _dated(trace: Properties) -> bool:
    first = next((value for value in trace["x"] if value is not None), None)
    return isinstance(first, str) and re.match(r"\d{4}-\d\d-\d\d", first) is not None


def _days(texts: Sequence[str | None]) -> Floats:
    """Days since the epoch; NaN for a gap."""
    return np.array([np.nan if text is None else dt.date.fromisoformat(text[:10]).toordinal() for text in texts])


def _range(axis: Properties, values: Sequence[float], room: float = 0.0) -> tuple[float, float]:
    """What an axis shows: its own range, or all values with `room` about them."""
    if "range" in axis:
        low, high = (_days([end])[0] if isinstance(end, str) else float(end) for end in axis["range"])
        return float(low), float(high)
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    low = min(low, 0.0) if axis.get("rangemode") == "tozero" else low
    more = room * (high - low) or (0.0 if high > low else 0.5)
    return low - more, high + more


@dataclass(frozen=True)
class _Place:
    """A panel: what it shows of dates and values."""

    days: tuple[float, float]
    values: tuple[float, float]

    def x(self, days: Floats) -> Floats:
        """Places from left to right."""
        first, last = self.days
        return np.asarray(_SCALE * (days - first) / (last - first))

    def y(self, values: Floats) -> Floats:
        """Places from top to bottom."""
        low, high = self.values
        return np.asarray(_SCALE * (high - values) / (high - low))


def _panel(layout: Properties, name: str, traces: Sequence[Properties], days: tuple[float, float]) -> str:
    axis: Properties = layout.get(f"yaxis{name[1:]}", {})
    own = [trace for trace in traces if _axis(trace) == name]
    seen = [value for trace in own for value in np.asarray(trace["y"], np.float64)]
    place = _Place(days, _range(axis, seen, 0.05))
    bottom, top = axis.get("domain", (0.0, 1.0))
    ticks = list(_ticks(*place.values, percent="%" in axis.get("tickformat", "")))
    lines = "".join(
        f'<line class="grid" x1="0" x2="{_SCALE}" y1="{at:.1f}" y2="{at:.1f}"/>'
        for at in place.y(np.array([value for value, _ in ticks]))
    )
    shapes = "".join(_shape(shape, place) for shape in layout.get("shapes", ()) if _is_of(shape, name))
    words = "".join(
        f'<span class="y" style="top:{float(place.y(np.array(value))) / _SCALE:.2%}">{text}</span>'
        for value, text in ticks
    )
    title = axis.get("title", {}).get("text", "")
    # The layout's titles are HTML as plotly takes it: escaped already.
    named = f'<span class="of">{title}</span>' if title else ""
    return (
        f'<div class="panel" style="top:{1 - top:.2%};height:{top - bottom:.2%}">'
        f'<svg viewBox="0 0 {_SCALE} {_SCALE}" preserveAspectRatio="none">{lines}'
        f"{''.join(_drawn(trace, place) for trace in own)}{shapes}</svg>{words}{named}</div>"
    )


def _drawn(trace: Properties, place: _Place) -> str:
    x, y = place.x(_days(trace["x"])), place.y(np.asarray([_number(value) for value in trace["y"]], np.float64))
    mode, line = trace.get("mode", "lines"), trace.get("line", {})
    found = ""
    if trace.get("fill") == "toself":
        return f'<path d="{_path(x, y)}Z" style="fill:{trace["fillcolor"]}"/>'
    if "lines" in mode:
        dash = {"dot": "2 3", "dash": "7 5"}.get(line.get("dash", ""), "none")
        style = (
            f"stroke:{line.get('color', 'var(--accent)')};stroke-width:{line.get('width', 2)};stroke-dasharray:{dash}"
        )
        found = f'<path class="line" d="{_path(x, y)}" style="{style}"/>'
    if "markers" in mode:
        marker = trace.get("marker", {})
        colour = marker.get("color") or line.get("color", "var(--accent)")
        # A line of no length with round ends: a point that is not stretched with the drawing.
        points = "".join(f"M{left:.1f} {top:.1f}h0" for left, top in zip(x, y, strict=True) if math.isfinite(top))
        style = f"stroke:{colour};stroke-width:{marker.get('size', 6)};stroke-linecap:round"
        found += f'<path class="line" d="{points}" style="{style}"/>'
    return found


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _path(x: Floats, y: Floats) -> str:
    """A line that breaks where a number is not known."""
    parts, pen = [], "M"
    for left, top in zip(x, y, strict=True):
        if math.isfinite(left) and math.isfinite(top):
            parts.append(f"{pen}{left:.1f} {top:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _is_of(shape: Properties, axis: str) -> bool:
    return str(shape["yref"]).split(" ")[0] == axis or "domain" in str(shape["yref"])


def _shape(shape: Properties, place: _Place) -> str:
    """A straight line across the panel, at a date or at a value."""
    line = shape["line"]
    style = f"stroke:{line.get('color', 'var(--ink)')};stroke-width:{line.get('width', 1)};stroke-dasharray:3 4"
    if isinstance(shape["x0"], str):
        at = float(place.x(_days([shape["x0"]]))[0])
        return f'<line class="line" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_SCALE}" style="{style}"/>'
    at = float(place.y(np.array(float(shape["y0"]))))
    return f'<line class="line" x1="0" x2="{_SCALE}" y1="{at:.1f}" y2="{at:.1f}" style="{style}"/>'


def _ticks(low: float, high: float, *, percent: bool = False) -> Iterator[tuple[float, str]]:
    """Round values within a range, with their text."""
    raw = (high - low) / _Y_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in _STEPS if power * each >= raw * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if step / power == 2.5 else 0))
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        value = number * step
        yield value, f"{value:.0%}" if percent else f"{value + 0.0:,.{decimals}f}"


def _words(layout: Properties) -> str:
    """What stands over a panel, at its left: HTML as plotly takes it."""
    return "".join(
        f'<span class="word" style="bottom:{one["y"]:.2%}">{one["text"]}</span>'
        for one in layout.get("annotations", ())
        if (one.get("xref"), one.get("yref"), one.get("x")) == ("paper", "paper", 0)
    )


def _dates(days: tuple[float, float]) -> str:
    """Dates below the panels; a year where one begins."""
    first, last = days
    step = max(1, round((last - first) / _X_TICKS))
    found, year = [], None
    for day in range(math.ceil(first + step / 3), math.floor(last) + 1, step):
        date = dt.date.fromordinal(day)
        more = "" if date.year == year else f"<br>{date.year}"
        year = date.year
        found.append(f'<span class="x" style="left:{(day - first) / (last - first):.2%}">{date:%d %b}{more}</span>')
    return "".join(found)


def _legend(traces: Sequence[Properties]) -> str:
    shown = {
        str(trace["name"]): trace for trace in traces if trace.get("name") and trace.get("showlegend") is not False
    }
    keys = []
    for name, trace in shown.items():
        colour = trace.get("fillcolor") or trace.get("line", {}).get("color") or trace.get("marker", {}).get("color")
        keys.append(f'<span class="key"><i style="background:{colour}"></i>{html.escape(name, quote=False)}</span>')
    return f'<div class="named">{"".join(keys)}</div>'
