"""The part `library` of benchmarks/jobs.py: modes autogluon and neuralforecast beside the library's own call.

Run in the extra's environment, `.venv-automl/bin/python -m benchmarks.jobs library` (or `.venv-neural`), which is made
by `python3 tasks.py extra automl -k nothing_matches`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from forecast_platform.training_jobs import scores
from forecast_platform.training_jobs.backtest import Window, ask_of, windows_of
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.modes.base import Ask, Predicted
from forecast_platform.training_jobs.panel import Panel

Call = Callable[[Panel, Window, Ask], Any]


def beside_the_library(panel: Panel, config: JobConfig, rounds: int = 3) -> None:
    """Fit on all but the last horizon of each series and forecast that, by the mode and by the library, in turns."""
    if importlib.util.find_spec("autogluon") is not None:
        ours, theirs, name = _autogluon()
    elif importlib.util.find_spec("neuralforecast") is not None:
        ours, theirs, name = _neuralforecast()
    else:
        raise SystemExit(
            "neither AutoGluon nor NeuralForecast is installed here: run it in .venv-automl or .venv-neural"
        )
    ask, window = ask_of(panel, config), windows_of(panel, config)[0]
    few = panel, windows_of(panel, config)[-1], ask
    for call in (ours, theirs):  # imports, compilation
        call(*few)
    taken: dict[str, list[tuple[float, float]]] = {"mode": [], "library": []}
    points = {}
    for number in range(rounds):
        sides = [("mode", ours), ("library", theirs)]
        for side, call in sides if number % 2 == 0 else sides[::-1]:
            wall, processor = time.perf_counter(), time.process_time()
            points[side] = np.asarray(call(panel, window, ask))
            taken[side].append((time.perf_counter() - wall, time.process_time() - processor))
    print(
        f"{name}: {len(panel.ids)} series, {len(panel.values):,} rows, load {os.getloadavg()[0]:.1f}, least of {rounds}"
    )
    least = {}
    for side, found in taken.items():
        least[side] = [min(one[k] for one in found) for k in (0, 1)]
        mase = float(np.nanmean(scores.mase(window.actual, points[side], window.scale)))
        print(
            f"  {side:<10}{least[side][0]:8.2f} s wall {least[side][1]:8.2f} s processor   MASE {mase:.4f}", flush=True
        )
    ratios = [least["mode"][k] / least["library"][k] for k in (0, 1)]
    medians = [
        statistics.median(one[k] for one in taken["mode"]) / statistics.median(one[k] for one in taken["library"])
        for k in (0, 1)
    ]
    same = np.allclose(points["mode"], points["library"])
    print(f"  ratio     {ratios[0]:8.2f} wall   {ratios[1]:8.2f} processor (at most 1.1); of medians {medians[0]:.2f}, "
          f"{medians[1]:.2f}; the same forecasts: {same}")  # fmt: skip


def _autogluon() -> tuple[Call, Call, str]:
    import pandas as pd
    from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

    from forecast_platform.training_jobs.modes.autogluon import Gluon

    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    def ours(panel: Panel, window: Window, ask: Ask) -> Any:
        return _points(Gluon("RecursiveTabular").predict(window.cut, ask, lambda done: None))

    def theirs(panel: Panel, window: Window, ask: Ask) -> Any:
        folder = tempfile.mkdtemp()
        try:
            frame = pd.concat(
                pd.DataFrame(
                    {"item_id": f"{row:06d}", "timestamp": panel.stamps(int(k))[: len(values)], "target": values}
                )
                for row, k in enumerate(window.cut.series)
                for values in [window.cut.values(row)]
            )
            data = TimeSeriesDataFrame.from_data_frame(frame)
            predictor = TimeSeriesPredictor(
                prediction_length=ask.horizon, freq="W-MON", eval_metric="MASE", eval_metric_seasonal_period=ask.season,
                quantile_levels=list(ask.quantiles), path=f"{folder}/model", verbosity=0, log_to_file=False,
            )  # fmt: skip
            one_thread = {"model_hyperparameters": {"num_threads": 1, "n_jobs": 1}}
            predictor.fit(
                data, hyperparameters={"RecursiveTabular": one_thread}, enable_ensemble=False, random_seed=1,
                skip_model_selection=True,
            )  # fmt: skip
            given = predictor.predict(data, random_seed=1).sort_index()
            return given["mean"].to_numpy().reshape(-1, ask.horizon)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return ours, theirs, "autogluon, RecursiveTabular"


def _neuralforecast() -> tuple[Call, Call, str]:
    import neuralforecast.models as networks
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss

    from forecast_platform.training_jobs.modes.neuralforecast import PRESETS, Neural

    names, steps = PRESETS["fast_training"]
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    def ours(panel: Panel, window: Window, ask: Ask) -> Any:
        return _points(Neural(names[0], steps).predict(window.cut, ask, lambda done: None))

    def theirs(panel: Panel, window: Window, ask: Ask) -> Any:
        frame = pd.concat(
            pd.DataFrame({"unique_id": row, "ds": np.arange(len(values)), "y": values})
            for row in range(len(window.cut.series))
            for values in [window.cut.values(row)]
        )
        network = networks.NHITS(
            h=ask.horizon, input_size=max(2 * ask.horizon, min(ask.season, 5 * ask.horizon)),
            loss=MQLoss(quantiles=list(ask.quantiles)), max_steps=steps, random_seed=1, scaler_type="robust",
            start_padding_enabled=True, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
            logger=False, enable_checkpointing=False,
        )  # fmt: skip
        trained = NeuralForecast(models=[network], freq=1)
        trained.fit(frame)
        given = trained.predict().sort_values(["unique_id", "ds"])
        return given["NHITS-median"].to_numpy().reshape(-1, ask.horizon)

    return ours, theirs, f"neuralforecast, NHITS of {steps} steps"


def _points(found: Predicted) -> Any:
    if found.failed:
        raise SystemExit(f"the mode failed: {next(iter(found.failed.values()))}")
    return found.points
