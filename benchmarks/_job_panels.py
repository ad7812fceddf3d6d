"""The parts `m4`, `presets` and `graph` of benchmarks/jobs.py: modes and models of the extras on whole panels.

Run in an extra's environment: `.venv-automl/bin/python -m benchmarks.jobs m4 --m4 FOLDER`.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.training_jobs import scores
from forecast_platform.training_jobs.backtest import Trained, ask_of, whole, windows_of
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.leaderboard import leaderboard
from forecast_platform.training_jobs.modes.base import Method, SeasonalNaive
from forecast_platform.training_jobs.modes.choose import methods_of
from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.panel import build as panel_of
from forecast_platform.training_jobs.reading import Columns, Limits

HORIZON = 13


class Clock:
    """Wall and processor seconds, other processes' that were started among them, of what is done within it."""

    def __enter__(self) -> Clock:
        self._wall, self._processor = time.perf_counter(), _processor()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.processor = time.perf_counter() - self._wall, _processor() - self._processor


def _processor() -> float:
    """Seconds of this process and of all that it started, ended or not."""
    import psutil

    found = 0.0
    for one in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += sum(one.cpu_times()[:4])
    return found


def weekly(series: Sequence[Any]) -> Columns:
    """Series as a table of Mondays that end together: the competition keeps their stamps in a file of its own."""
    last = np.datetime64("2024-12-30", "s")
    stamps = [last - 7 * 86_400 * np.arange(len(one))[::-1] for one in series]
    ids = np.repeat([f"s{k:05d}" for k in range(len(series))], [len(one) for one in series])
    return Columns(np.concatenate(stamps), np.concatenate(series), ids, {})


def read_m4(folder: Path) -> tuple[list[Any], Any]:
    """The weekly series of the M4 competition and what then happened, [n_series, 13]."""

    def rows(name: str) -> dict[str, Any]:
        with (folder / name).open(encoding="utf-8", newline="") as stream:
            _, *lines = csv.reader(stream)
        return {line[0]: np.array([float(cell) for cell in line[1:] if cell.strip()]) for line in lines}

    known, then = rows("Weekly-train.csv"), rows("Weekly-test.csv")
    return list(known.values()), np.stack([then[name] for name in known])


_ARIMA = "AutoARIMA, the library's own call"


def m4(folder: Path, config: JobConfig, n_arima: int) -> None:
    """Mode autogluon's default on M4 weekly, held out, beside the library's AutoARIMA.

    MASE is the competition's, relative to naive within each history. Of the final fit and forecast both of the
    default's models are counted; the job's own backtest, which chooses one, is timed apart and done last. n_arima: so
    many series, drawn by a seed, are AutoARIMA's, whose processor time goes by the series.
    """
    import pandas as pd
    from statsforecast import StatsForecast
    from statsforecast.models import AutoARIMA

    series, actual = read_m4(folder)
    panel = panel_of(weekly(series), config, Limits())
    scale = np.array([scores.seasonal_scale(one, 1) for one in series])
    print(f"M4 weekly, {len(series)} series, {len(panel.values):,} rows, load {os.getloadavg()[0]:.1f}", flush=True)
    spent, points = final(panel, config, rivals(config))
    for name, given in points.items():
        _tell(name, spent[name], actual, given, scale)
    drawn = np.arange(len(series))
    if n_arima < len(series):
        drawn = np.sort(np.random.default_rng(1).choice(len(series), n_arima, replace=False))
    frame = pd.concat(pd.DataFrame({"unique_id": k, "ds": np.arange(len(series[k])), "y": series[k]}) for k in drawn)
    library = StatsForecast([AutoARIMA(season_length=1)], freq=1, n_jobs=1)
    library.forecast(df=frame[frame["unique_id"] == drawn[0]], h=HORIZON, level=list(config.levels))  # compilation
    with Clock() as arima:
        found = library.forecast(df=frame, h=HORIZON, level=list(config.levels))
    given = found.sort_values(["unique_id", "ds"])["AutoARIMA"].to_numpy().reshape(-1, HORIZON)
    print(f"of {len(drawn)} of the series:")
    _tell(_ARIMA, arima, actual[drawn], given, scale[drawn])
    for name, ours in points.items():
        print(f"  {name:<36}MASE {np.nanmean(scores.mase(actual[drawn], ours[drawn], scale[drawn])):.3f}")
    ours = sum(one.processor for one in spent.values())
    whole_arima = arima.processor * len(series) / len(drawn)
    print(
        f"final fit and forecast of the default: {ours:.1f} s of processor, {ours / whole_arima:.2f} times the "
        f"{whole_arima:.0f} that AutoARIMA takes (at most 0.5)",
        flush=True,
    )
    best = by_backtest(panel, config)
    mase = float(np.nanmean(scores.mase(actual, points[best], scale)))
    print(f"the default forecasts with {best}: MASE {mase:.3f} (at most 2.25)")


def rivals(config: JobConfig) -> list[Method]:
    """What a job of this config trains."""
    return [SeasonalNaive(), SeasonalNaive("Naive", 1), *methods_of(config)[0]]


def final(panel: Panel, config: JobConfig, methods: Sequence[Method]) -> tuple[dict[str, Clock], dict[str, Any]]:
    """What each method's final fit and forecast take, and its points."""
    spent, points = {}, {}
    for method in methods:
        with Clock() as clock:
            found = method.predict(whole(panel), ask_of(panel, config), lambda done: None)
        if found.failed:
            raise SystemExit(f"{method.name} failed {len(found.failed)} times: {next(iter(found.failed.values()))}")
        spent[method.name], points[method.name] = clock, found.points
    return spent, points


def by_backtest(panel: Panel, config: JobConfig) -> str:
    """The model that a job of this config forecasts with, and what its backtest takes, printed."""
    windows, ask = windows_of(panel, config), ask_of(panel, config)
    with Clock() as clock:
        trained = [
            Trained(method.name, [method.predict(window.cut, ask, lambda done: None) for window in windows])
            for method in rivals(config)
        ]
    board = leaderboard(trained, windows, config)
    told = ", ".join(f"{row['model']} {row['mase']:.3f}" for row in board)
    print(
        f"backtest of {len(windows)} windows: {clock.wall:.1f} s wall {clock.processor:.1f} s processor; MASE {told}",
        flush=True,
    )
    return str(board[0]["model"])


def _tell(name: str, clock: Clock, actual: Any, points: Any, scale: Any) -> None:
    print(
        f"  {name:<36}{clock.wall:8.1f} s wall {clock.processor:8.1f} s processor   MASE "
        f"{np.nanmean(scores.mase(actual, points, scale)):.3f} sMAPE {np.nanmean(scores.smape(actual, points)):.2f}",
        flush=True,
    )


def presets(panel: Panel, config: JobConfig) -> None:
    """Mode autogluon's default beside AutoGluon's `medium_quality` without the models of its hub: all but each series'
    last horizon is known, that is forecast and scored."""
    import pandas as pd
    from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    window = windows_of(panel, config)[0]
    kept = [window.cut.values(row) for row in range(len(window.cut.series))]
    cut = panel_of(weekly(kept), config, Limits())
    print(f"{len(kept)} series, {len(cut.values):,} rows, load {os.getloadavg()[0]:.1f}")
    final(panel_of(weekly(kept[:3]), config, Limits()), config, rivals(config))  # imports, compilation
    spent, points = final(cut, config, rivals(config))
    with Clock() as backtest:
        best = by_backtest(cut, config)
    for name, given in points.items():
        _tell(name, spent[name], window.actual, given, window.scale)
    folder = tempfile.mkdtemp()
    try:
        with Clock() as clock:
            frame = pd.DataFrame(
                {
                    "item_id": np.repeat([f"{k:06d}" for k in range(len(kept))], cut.lengths),
                    "timestamp": np.concatenate([cut.stamps(k) for k in range(len(kept))]),
                    "target": cut.values,
                }
            )
            data = TimeSeriesDataFrame.from_data_frame(frame)
            predictor = TimeSeriesPredictor(
                prediction_length=HORIZON, freq="W-MON", eval_metric="MASE", eval_metric_seasonal_period=cut.season,
                quantile_levels=list(config.quantiles), path=f"{folder}/model", verbosity=0, log_to_file=False,
            )  # fmt: skip
            predictor.fit(data, presets="medium_quality", excluded_model_types=["Chronos2", "Toto2"], random_seed=1)
            given = predictor.predict(data, random_seed=1).sort_index()["mean"].to_numpy().reshape(-1, HORIZON)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    theirs = f"medium_quality ({predictor.model_best})"
    _tell(theirs, clock, window.actual, given, window.scale)
    mase = {name: float(np.nanmean(scores.mase(window.actual, found, window.scale)))
            for name, found in {"ours": points[best], "theirs": given}.items()}  # fmt: skip
    wall, processor = (sum(getattr(one, kind) for one in spent.values()) for kind in ("wall", "processor"))
    more = 100 * (mase["ours"] / mase["theirs"] - 1)
    print(
        f"the default forecasts with {best}: {wall / clock.wall:.2f} times the wall time (at most 0.5), "
        f"{processor / clock.processor:.2f} of processor, with its backtest {(wall + backtest.wall) / clock.wall:.2f}; "
        f"MASE {mase['ours']:.4f} against {mase['theirs']:.4f} ({more:+.1f} %, at most +3)"
    )
