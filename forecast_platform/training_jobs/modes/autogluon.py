"""Mode autogluon (extra automl): one model over all series, fast, with ETS beside it; more by presets or by name.

The library's own presets try to fetch hub models and hold DeepAR, whose paths depend on what else is forecast with
them; those here do neither. Its local models fit again whenever they predict: statsforecast's own stand in their place.
One thread and a fixed seed, so that the same data give the same forecast.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.modes.base import Ask, Cut, Method, Predicted, Tick
from forecast_platform.training_jobs.modes.statsforecast import Statistical

INSTALL = "pip install 'forecast-platform[automl]'"
PRESETS = {
    "fast_training": ("RecursiveTabular",),
    "medium_quality": ("RecursiveTabular", "AutoETS"),
    "high_quality": ("RecursiveTabular", "DirectTabular", "AutoETS", "DynamicOptimizedTheta"),
    "best_quality": ("RecursiveTabular", "DirectTabular", "PatchTST", "TiDE", "AutoETS", "DynamicOptimizedTheta"),
}
COSTS = {
    "RecursiveTabular": 0.01,
    "DirectTabular": 0.02,
    "PatchTST": 0.1,
    "TiDE": 0.1,
    "TemporalFusionTransformer": 0.2,
}
TORCH = ("PatchTST", "TiDE", "TemporalFusionTransformer", "DLinear", "SimpleFeedForward", "WaveNet")
_STATISTICAL = ("AutoETS", "DynamicOptimizedTheta", "AutoARIMA", "AutoCES", "MSTL")
_ONE_THREAD = {"num_threads": 1, "n_jobs": 1}


class Gluon:
    """One of AutoGluon's global models."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cost = COSTS.get(name, 0.1)

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """Fit on all series of the cut at once, on all that is known, and forecast each."""
        from autogluon.timeseries import TimeSeriesPredictor

        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        found = Predicted.empty(len(cut.series), ask)
        frame = _frame(cut, ask)
        folder = tempfile.mkdtemp(prefix="fp-autogluon-")
        left = ask.seconds_left()
        try:
            began = time.perf_counter()
            predictor = TimeSeriesPredictor(
                prediction_length=ask.horizon,
                freq=_alias(cut),
                eval_metric="MASE",
                eval_metric_seasonal_period=ask.season,
                quantile_levels=list(ask.quantiles),
                known_covariates_names=list(cut.future) or None,
                path=f"{folder}/model",
                verbosity=0,
                log_to_file=False,
            )
            # A series that is too short to learn from is forecast all the same.
            long = frame.num_timesteps_per_item() >= 2 * ask.horizon + 1
            learnt = frame.loc[long[long].index]
            predictor.fit(
                learnt,
                hyperparameters={self.name: _parameters(self.name)},
                enable_ensemble=False,
                # The job has its own backtest: the library's would fit once more and is not looked at.
                skip_model_selection=True,
                random_seed=1,
                time_limit=None if left == float("inf") else max(1.0, left),
            )
            between = time.perf_counter()
            known = _ahead(cut, ask, frame) if cut.future else None
            given = predictor.predict(frame, known_covariates=known, random_seed=1)
            shape = (len(cut.series), ask.horizon)
            ordered = given.loc[[_item(row) for row in range(len(cut.series))]]
            found.points = ordered["mean"].to_numpy(np.float64).reshape(shape)
            columns = [ordered[str(q)].to_numpy(np.float64).reshape(shape) for q in ask.quantiles]
            found.quantiles = np.sort(np.stack(columns, axis=2), axis=2)
            found.fit_seconds, found.predict_seconds = between - began, time.perf_counter() - between
        except (ValueError, RuntimeError, AssertionError, KeyError) as error:
            found.failed = {row: f"{type(error).__name__}: {error}" for row in range(len(cut.series))}
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        tick(len(cut.series))
        return found

    def save(self, folder: Path) -> bool:
        """The library keeps pickles, which are not opened from elsewhere: it is fitted again, to the same bits."""
        return False


def methods(config: JobConfig) -> tuple[list[Method], list[str]]:
    """The models that the config names, else those of its presets. Raises JobError."""
    if importlib.util.find_spec("autogluon") is None:
        raise JobError(f"mode autogluon needs AutoGluon, which is not installed here: {INSTALL}", "training_mode")
    from autogluon.timeseries.models.registry import ModelRegistry

    names = config.chosen_models or PRESETS[config.presets]
    known = set(ModelRegistry.available_aliases())
    notes: list[str] = []
    found: list[Method] = []
    for name in dict.fromkeys(names):
        if name in _STATISTICAL:
            found.append(Statistical(name))
        elif name == "DeepAR" or name not in known or name.startswith(("Chronos", "Toto")):
            raise JobError(f"{name!r} is no model of mode autogluon; there are {', '.join(COSTS)}", "models")
        elif name in TORCH and importlib.util.find_spec("torch") is None:
            if config.chosen_models:
                raise JobError(f"{name!r} needs torch, which is not installed here: {INSTALL}", "models")
            notes.append(f"{name} needs torch, which is not installed here: trained without it")
        else:
            found.append(Gluon(name))
    return found, notes


def _parameters(name: str) -> dict[str, Any]:
    if name in ("RecursiveTabular", "DirectTabular"):
        return {"model_hyperparameters": dict(_ONE_THREAD)}
    return {"trainer_kwargs": {"accelerator": "cpu"}}


def _item(row: int) -> str:
    """Sorts as the rows do."""
    return f"{row:06d}"


def _alias(cut: Cut) -> str:
    """A frequency that the library knows the seasons of; the stamps that it sees are of its own calendar."""
    alias = cut.panel.frequency.alias
    return alias if not alias[0].isdigit() else "D"


def _stamps(cut: Cut, start: int, n: int) -> Any:
    """The n stamps from this number on the grid, in the library's calendar."""
    import pandas as pd

    alias = _alias(cut)
    if alias == cut.panel.frequency.alias:
        return pd.DatetimeIndex(cut.panel.frequency.stamps(np.arange(start, start + n)))
    first = int(cut.panel.first.min())
    return pd.date_range("2000-01-01", periods=start - first + n, freq=alias)[start - first :]


def _frame(cut: Cut, ask: Ask) -> Any:
    import pandas as pd
    from autogluon.timeseries import TimeSeriesDataFrame

    parts = []
    for row, k in enumerate(cut.series):
        values = cut.values(row)
        columns: dict[str, Any] = {
            "item_id": _item(row),
            "timestamp": _stamps(cut, int(cut.panel.first[k]), len(values)),
            "target": values,
        }
        exogenous = cut.exogenous(row)
        if exogenous is not None:
            columns |= {name: exogenous[0][:, number] for number, name in enumerate(cut.future)}
        parts.append(pd.DataFrame(columns))
    return TimeSeriesDataFrame.from_data_frame(pd.concat(parts, ignore_index=True))


def _ahead(cut: Cut, ask: Ask, frame: Any) -> Any:
    import pandas as pd
    from autogluon.timeseries import TimeSeriesDataFrame

    parts = []
    for row, k in enumerate(cut.series):
        after = int(cut.panel.first[k] + cut.ends[row])
        columns = {"item_id": _item(row), "timestamp": _stamps(cut, after, ask.horizon)}
        parts.append(pd.DataFrame({**columns, **{name: values[row] for name, values in cut.future.items()}}))
    return TimeSeriesDataFrame.from_data_frame(pd.concat(parts, ignore_index=True))
