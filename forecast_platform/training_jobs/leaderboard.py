"""The leaderboard of a job: each method's scores over the same windows, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from forecast_platform.training_jobs import scores
from forecast_platform.training_jobs.backtest import Trained, Window
from forecast_platform.training_jobs.config import JobConfig, Metric


def leaderboard(trained: Sequence[Trained], windows: Sequence[Window], config: JobConfig) -> list[dict[str, Any]]:
    """One row a method, ordered by config.metric; figures that cannot be computed (mape of zeros) are None.

    score_val is the figure of the metric, positive, lower is better; seconds are those of the final fit and forecast,
    total_seconds with the backtest.
    """
    rows = [_row(one, windows, config) for one in trained]
    return sorted(rows, key=lambda row: float("inf") if row["score_val"] is None else row["score_val"])


def _row(trained: Trained, windows: Sequence[Window], config: JobConfig) -> dict[str, Any]:
    actual = np.concatenate([window.actual for window in windows])
    scale = np.concatenate([window.scale for window in windows])
    points = np.concatenate([predicted.points for predicted in trained.windows])
    quantiles = np.concatenate([predicted.quantiles for predicted in trained.windows])
    figures: dict[Metric, float] = {
        "mase": _mean(scores.mase(actual, points, scale)),
        "smape": _mean(scores.smape(actual, points)),
        "mape": _mean(scores.mape(actual, points)),
        "wql": scores.wql(actual, quantiles, config.quantiles),
    }
    covered = {
        f"coverage_{level}": _or_none(scores.coverage(actual, quantiles, config.quantiles, level))
        for level in config.levels
    }
    everything = [*trained.windows, *([trained.forecast] if trained.forecast else [])]
    return {
        "model": trained.name,
        "score_val": _or_none(figures[config.metric]),
        "metric": config.metric,
        **{name: _or_none(value) for name, value in figures.items()},
        **covered,
        "fit_time_marginal": round(trained.fit_seconds, 4),
        "predict_time": round(trained.predict_seconds, 4),
        "total_seconds": round(sum(one.fit_seconds + one.predict_seconds for one in everything), 4),
        "windows": len(windows),
        "fallbacks": trained.fallbacks,
    }


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _or_none(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
