"""Figures of the page, as plotly's plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_BAND, _LINE, _INK = "rgba(127,176,245,.4)", "#1f5fbf", "#333"


def forecast_figure(backtest: pd.DataFrame, forecasts: pd.DataFrame, series: str, model: str, level: int) -> Any:
    """What was known at the end of a series, and a model's forecast with its band of `level` percent.

    backtest, forecasts: a job's tables of these names, with the columns series, model and date.
    """
    known = backtest[(backtest["series"] == series) & (backtest["model"] == model)]
    known = known.drop_duplicates("date").sort_values("date")
    ahead = forecasts[(forecasts["series"] == series) & (forecasts["model"] == model)]
    data = [
        *_band(ahead, level),
        _line(known, "actual", "actual", _INK),
        _line(ahead, "forecast", model, _LINE),
    ]
    return {"data": data, "layout": {"title": {"text": f"{series}: forecast and {level} % interval"}, "height": 380}}


def backtest_figure(backtest: pd.DataFrame, series: str, model: str, level: int) -> Any:
    """What a model said in each window against what happened, with its band of `level` percent.

    backtest: a job's table of this name, with the columns series, model, window and date.
    """
    chosen = backtest[(backtest["series"] == series) & (backtest["model"] == model)].sort_values("date")
    data: list[dict[str, Any]] = []
    for window, rows in chosen.groupby("window"):
        data += [*_band(rows, level), _line(rows, "forecast", f"window {window}", _LINE)]
    data.append({**_line(chosen, "actual", "actual", _INK), "mode": "markers"})
    return {"data": data, "layout": {"title": {"text": f"{series}: backtest of {model}"}, "height": 380}}


def _line(rows: pd.DataFrame, column: str, name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": list(rows["date"]),
        "y": _plain(rows[column]),
        "name": name,
        "line": {"color": colour},
    }


def _band(rows: pd.DataFrame, level: int) -> list[dict[str, Any]]:
    dates = list(rows["date"])
    low, high = _plain(rows[f"lower_{level}"]), _plain(rows[f"upper_{level}"])
    return [
        {
            "type": "scatter", "mode": "lines", "x": dates + dates[::-1],
            "y": high + low[::-1], "fill": "toself", "fillcolor": _BAND,
            "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False,
        }
    ]  # fmt: skip


def _plain(values: pd.Series[Any]) -> list[float | None]:
    return [None if value != value else float(value) for value in values]
