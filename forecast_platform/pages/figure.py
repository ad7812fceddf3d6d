"""Figures as plotly's script reads them: traces and a layout, as plain data.

plotly's own Python classes check and copy every attribute, their template with each: a hundred times what it takes to
write the same JSON, and most of the time of a report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Floats

Properties = dict[str, Any]


@dataclass
class Figure:
    """Traces and layout by plotly.js's names (https://plotly.com/javascript/reference). Unknown numbers are gaps."""

    data: list[Properties] = field(default_factory=list)
    layout: Properties = field(default_factory=dict)

    def add_scatter(self, **trace: Any) -> None:
        """Points or lines."""
        self.data.append({"type": "scatter", **trace})

    def add_band(self, x: Sequence[str], lower: Floats, upper: Floats, colour: str, name: str, **trace: Any) -> None:
        """The area between two lines [n] over the same places, filled: there along the upper, back along the lower."""
        self.add_scatter(
            x=[*x, *x[::-1]],
            y=np.concatenate([upper, lower[::-1]]),
            fill="toself",
            fillcolor=colour,
            line={"width": 0},
            mode="lines",
            name=name,
            hoverinfo="skip",
            **trace,
        )

    def add_bar(self, **trace: Any) -> None:
        """Bars."""
        self.data.append({"type": "bar", **trace})

    def add_heatmap(self, **trace: Any) -> None:
        """Coloured cells."""
        self.data.append({"type": "heatmap", **trace})

    def add_hline(self, y: float, line: Properties, *, xref: str = "x domain", yref: str = "y") -> None:
        """A line across a panel, at `y`."""
        self._add("shapes", type="line", xref=xref, yref=yref, x0=0, x1=1, y0=y, y1=y, line=line)

    def add_vline(self, x: str | float, line: Properties) -> None:
        """A line from the bottom to the top, at `x`."""
        self._add("shapes", type="line", xref="x", yref="y domain", x0=x, x1=x, y0=0, y1=1, line=line)

    def add_annotation(self, text: str, **place: Any) -> None:
        """Text without an arrow."""
        self._add("annotations", text=text, showarrow=False, **place)

    def _add(self, kind: str, **properties: Any) -> None:
        self.layout.setdefault(kind, []).append(properties)

    def to_json(self) -> str:
        """The figure as a JSON object: data, layout."""
        return json.dumps({"data": _plain(self.data), "layout": _plain(self.layout)}, allow_nan=False)


def _plain(value: Any) -> Any:
    """Lists and numbers of Python's own for numpy's; null for what is not finite."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def package_data() -> Path:
    """The folder of plotly's script and templates. The package is found, not imported.

    Raises ModuleNotFoundError without it.
    """
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("plotly is not installed: install the package again", name="plotly")
    return Path(spec.origin).parent / "package_data"
