"""Figures of the page, as plotly's plain data."""

from __future__ import annotations

from typing import Any

import pandas as pd

_BAND, _LINE, _INK = "rgba(127,176,245,.4)", "#1f5fbf", "#333"


def forecast_figure(backtest: pd.DataFrame, forecasts: pd.DataFrame, series: str, model: str, level: int) -> Any:
    """What was known at the end of a series, and a model's forecast with its band."""
    known = backtest[(backtest["series"] == series) & (backtest["model"] == model)]
    known = known.drop_duplicates("date").sort_values("date")
    ahead = forecasts[(forecasts["series"] == series) & (forecasts["model"] == model)]
    data = [
        *_band(ahead, level),
        {"type": "scatter", "x": list(known["date"]), "y": _plain(known["actual"]), "name": "actual", "line": {"color": _INK}},
        {"type": "scatter", "x": list(ahead["date"]), "y": _plain(ahead["forecast"]), "name": model, "line": {"color": _LINE}},
    ]
    return {"data": data, "layout": {"title": {"text": f"{series}: forecast and {level} % interval"}, "height": 380}}


def backtest_figure(backtest: pd.DataFrame, series: str, model: str, level: int) -> Any:
    """What a model said in each window against what happened."""
    chosen = backtest[(backtest["series"] == series) & (backtest["model"] == model)].sort_values("date")
    data: list[dict[str, Any]] = []
    for window, rows in chosen.groupby("window"):
        line = {"color": _LINE}
        data += _band(rows, level)
        data.append(
            {"type": "scatter", "x": list(rows["date"]), "y": _plain(rows["forecast"]), "name": f"window {window}", "line": line}
        )
    data.append(
        {"type": "scatter", "x": list(chosen["date"]), "y": _plain(chosen["actual"]), "name": "actual", "mode": "markers",
         "marker": {"color": _INK}}
    )  # fmt: skip
    return {"data": data, "layout": {"title": {"text": f"{series}: backtest of {model}"}, "height": 380}}


def _band(rows: pd.DataFrame, level: int) -> list[dict[str, Any]]:
    dates = list(rows["date"])
    low, high = _plain(rows[f"lower_{level}"]), _plain(rows[f"upper_{level}"])
    return [
        {
            "type": "scatter", "x": dates + dates[::-1], "y": high + low[::-1], "fill": "toself", "fillcolor": _BAND,
            "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False,
        }
    ]  # fmt: skip


def _plain(values: pd.Series[Any]) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in values]
