"""What a job leaves in its folder: forecast.csv, leaderboard.csv, metrics.json, backtest.csv, results.json, predictor/.

Everything is text or a library's own open format, written whole; results.json comes last and says that all is there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.host.files import write_whole
from forecast_platform.training_jobs.backtest import Trained, Window
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.frequency import DAY, Frequency
from forecast_platform.training_jobs.panel import Panel

RESULTS = "results.json"
NEEDED = ("best_model", "leaderboard", "horizon", "levels", "data_hash", "mlflow_run_id")
"""Keys of results.json that the tables and the API cannot do without."""
FORECAST = "forecast.csv"
FORECASTS = "forecasts.csv"
LEADERBOARD = "leaderboard.csv"
BACKTEST = "backtest.csv"
METRICS = "metrics.json"
CONFIG = "config.json"
DOWNLOADS = (FORECAST, FORECASTS, LEADERBOARD, BACKTEST, METRICS, CONFIG)

SHOWN = 20_000
"""Rows of the forecast that an answer holds at most; forecast.csv has them all."""


def write_results(
    folder: Path,
    panel: Panel,
    config: JobConfig,
    trained: Sequence[Trained],
    windows: Sequence[Window],
    board: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Write all files but results.json; returns what belongs into that."""
    by_name = {one.name: one for one in trained}
    best = str(board[0]["model"])
    rows = list(forecast_rows(panel, config, by_name[best]))
    _csv(folder / FORECAST, rows)
    _csv(folder / FORECASTS, (row for row in board for row in forecast_rows(panel, config, by_name[row["model"]])))
    _csv(folder / LEADERBOARD, board)
    _csv(folder / BACKTEST, _backtest_rows(panel, config, trained, windows))
    metrics = {key: value for key, value in board[0].items() if key not in ("model", "metric")}
    write_whole(folder / METRICS, json.dumps({"best_model": best, **metrics}, indent=1))
    return {
        "best_model": best,
        "mape": board[0]["mape"],
        "metric": config.metric,
        "leaderboard": list(board),
        "forecast": rows[:SHOWN],
        "forecast_rows": len(rows),
        "series": len(panel.ids),
        "frequency": str(panel.frequency),
        "season_length": panel.season,
        "horizon": config.horizon,
        "levels": list(config.levels),
        "backtest_windows": len(windows),
        "data_hash": panel.fingerprint,
        "notes": [*panel.notes, *notes],
    }


def forecast_rows(panel: Panel, config: JobConfig, trained: Trained) -> Iterator[dict[str, Any]]:
    """One row a series and step: series, date, model, forecast, median, and the ends of each interval."""
    if trained.forecast is None:
        return
    stamps = panel.stamps_ahead(config.horizon)
    texts = stamp_texts(stamps.ravel(), panel.frequency).reshape(stamps.shape)
    places = {round(q, 6): k for k, q in enumerate(config.quantiles)}
    for k, name in enumerate(panel.ids):
        for step in range(config.horizon):
            quantiles = trained.forecast.quantiles[k, step]
            yield {
                "series": name,
                "date": str(texts[k, step]),
                "model": trained.name,
                "forecast": _plain(trained.forecast.points[k, step]),
                "median": _plain(quantiles[places[0.5]]),
                **_ends(quantiles, places, config.levels),
            }


def _ends(quantiles: Any, places: Mapping[float, int], levels: Sequence[int]) -> dict[str, float]:
    found = {}
    for level in levels:
        found[f"lower_{level}"] = _plain(quantiles[places[round((100 - level) / 200, 6)]])
        found[f"upper_{level}"] = _plain(quantiles[places[round((100 + level) / 200, 6)]])
    return found


def _backtest_rows(
    panel: Panel, config: JobConfig, trained: Sequence[Trained], windows: Sequence[Window]
) -> Iterator[dict[str, Any]]:
    places = {round(q, 6): k for k, q in enumerate(config.quantiles)}
    for number, window in enumerate(windows):
        cut = window.cut
        steps = (panel.first[cut.series] + cut.ends)[:, None] + np.arange(config.horizon)[None, :]
        texts = stamp_texts(panel.frequency.stamps(steps.ravel()), panel.frequency).reshape(steps.shape)
        for row, k in enumerate(cut.series):
            for step in range(config.horizon):
                actual = window.actual[row, step]
                for one in trained:
                    yield {
                        "window": window.number,
                        "series": panel.ids[k],
                        "date": str(texts[row, step]),
                        "model": one.name,
                        "actual": "" if np.isnan(actual) else _plain(actual),
                        "forecast": _plain(one.windows[number].points[row, step]),
                        **_ends(one.windows[number].quantiles[row, step], places, config.levels),
                    }


def stamp_texts(stamps: Any, frequency: Frequency) -> Any:
    """Stamps as text: days where the grid is of whole days, else with the time."""
    whole = frequency.unit != "seconds" or (frequency.step % DAY == 0 and frequency.anchor % DAY == 0)
    return np.datetime_as_string(stamps.astype("datetime64[D]" if whole else "datetime64[s]"))


def _plain(value: Any) -> float:
    return float(f"{float(value):.10g}")


def _csv(path: Path, rows: Any) -> None:
    """Write rows of the same columns, a file at a time."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    write_whole(path, text.getvalue(), 0o644)
