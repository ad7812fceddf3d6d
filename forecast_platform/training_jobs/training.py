"""One job from its panel to its results: choose the methods, backtest, forecast, rank, keep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecast_platform.host.files import write_whole
from forecast_platform.training_jobs import predictor, results
from forecast_platform.training_jobs.backtest import Trained, train, windows_of
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.leaderboard import leaderboard
from forecast_platform.training_jobs.modes.base import Method
from forecast_platform.training_jobs.modes.choose import methods_of
from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.progress import Progress

PANEL = "panel.npz"


def check(panel: Panel, config: JobConfig) -> None:
    """Refuse, before any work, what could not be trained. Raises JobError."""
    if config.compute != "cluster":  # which has libraries of its own
        methods_of(config)
    windows_of(panel, config)


def run_job(
    folder: Path,
    config: JobConfig,
    progress: Progress,
    *,
    keep: Callable[[dict[str, Any]], str | None] = lambda found: None,
) -> dict[str, Any]:
    """Train on the folder's panel and write all results into it; returns what results.json holds.

    keep: is given the results before they are final, with every file in place, and returns the id of the MLflow run
    that it made of them, if any. Raises CancelledError, JobError.
    """
    began = time.perf_counter()
    progress.begin("reading the data")
    panel = Panel.open(folder / PANEL)
    methods, notes = methods_of(config)
    windows = windows_of(panel, config)
    trained, said = train(panel, config, methods, windows, progress)
    progress.begin("ranking the models")
    board = leaderboard(trained, windows, config)
    write_whole(folder / results.CONFIG, config.stored(), 0o644)
    found = results.write_results(folder, panel, config, trained, windows, board, [*notes, *said])
    found["training_time"] = round(time.perf_counter() - began, 3)
    _save_predictor(folder, config, methods, trained, board[0]["model"])
    progress.begin("keeping the results")
    found["mlflow_run_id"] = keep(found)
    write_whole(folder / results.RESULTS, json.dumps(found), 0o644)
    return found


def _save_predictor(folder: Path, config: JobConfig, methods: list[Method], trained: list[Trained], best: str) -> None:
    predictor.save(folder, config, best)
    for method in methods:
        if method.name == best:
            method.save(folder / predictor.FOLDER)
