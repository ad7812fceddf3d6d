"""Pictures of a job's forecast: SVG, one a series, without a library."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.results import FORECAST

SERIES = 6
"""Series that are drawn: the first ones."""
_WIDTH, _HEIGHT, _EDGE = 720, 260, 40


def write_plots(folder: Path) -> None:
    """plots/<number>.svg: the end of a series' history, its forecast, and its widest interval."""
    panel = Panel.open(folder / "panel.npz")
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (folder / FORECAST).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            rows[row["series"]].append(row)
    (folder / "plots").mkdir(exist_ok=True)
    for k, name in enumerate(panel.ids[:SERIES]):
        picture = _picture(name, panel.series(k)[-5 * len(rows[name]) - 20 :], rows[name])
        (folder / "plots" / f"{k + 1}.svg").write_text(picture, encoding="utf-8")


def _picture(name: str, history: NDArray[np.float64], rows: list[dict[str, str]]) -> str:
    widest = max((column for column in rows[0] if column.startswith("lower_")), key=lambda one: int(one[6:]))
    low, middle, high = (
        np.array([float(row[column]) for row in rows])
        for column in (widest, "forecast", widest.replace("lower", "upper"))
    )
    bottom, top = min(history.min(), low.min()), max(history.max(), high.max())
    total = len(history) + len(rows)

    def points(start: int, values: NDArray[np.float64]) -> list[str]:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * (start + np.arange(len(values))) / max(total - 1, 1)
        y = _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * (values - bottom) / max(top - bottom, 1e-12)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    ahead = len(history)
    band = [*points(ahead, low), *reversed(points(ahead, high))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
        f'<text x="{_EDGE}" y="20" font-size="14">{escape(name)}: {rows[0]["model"]}, {widest[6:]} % interval</text>'
        f'<text x="4" y="{_EDGE}" font-size="10">{top:.4g}</text>'
        f'<text x="4" y="{_HEIGHT - _EDGE}" font-size="10">{bottom:.4g}</text>'
        f'<text x="{_WIDTH - _EDGE}" y="{_HEIGHT - 12}" font-size="10" text-anchor="end">{rows[-1]["date"]}</text>'
        f'<polygon points="{" ".join(band)}" fill="#7fb0f5" opacity="0.4"/>'
        f'<polyline points="{" ".join(points(0, history))}" fill="none" stroke="#333"/>'
        f'<polyline points="{" ".join(points(ahead, middle))}" fill="none" stroke="#1f5fbf" stroke-width="2"/></svg>'
    )
