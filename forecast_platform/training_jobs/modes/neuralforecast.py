"""Mode neuralforecast (extra neural): Nixtla's neural networks, one over all series, with a quantile loss."""

from __future__ import annotations

import importlib.util
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.modes.base import Ask, Cut, Method, Predicted, Tick

INSTALL = "pip install 'forecast-platform[neural]'"
PRESETS = {
    "fast_training": (("NHITS",), 100),
    "medium_quality": (("NHITS",), 500),
    "high_quality": (("NHITS", "TFT"), 1000),
    "best_quality": (("NHITS", "TFT", "PatchTST"), 2000),
}
"""Models and training steps."""
COSTS = {"NHITS": 0.1, "TFT": 0.5, "PatchTST": 0.3}
_MULTIVARIATE = ("StemGNN", "TSMixer", "TSMixerx", "MLPMultivariate", "iTransformer", "SOFTS", "TimeMixer", "RMoK")


class Neural:
    """One network."""

    def __init__(self, name: str, steps: int) -> None:
        self.name, self.steps = name, steps
        self.cost = COSTS.get(name, 0.3)

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """Fit on all series of the cut at once and forecast each; quantiles that cross are put in order."""
        import neuralforecast.models as networks
        import pandas as pd
        from neuralforecast import NeuralForecast
        from neuralforecast.losses.pytorch import MQLoss

        for noisy in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        found = Predicted.empty(len(cut.series), ask)
        began = time.perf_counter()
        parts = []
        for row in range(len(cut.series)):
            values, exogenous = cut.values(row), cut.exogenous(row)
            columns: dict[str, Any] = {"unique_id": row, "ds": np.arange(len(values)), "y": values}
            if exogenous is not None:
                columns |= {name: exogenous[0][:, k] for k, name in enumerate(cut.future)}
            parts.append(pd.DataFrame(columns))
        network = getattr(networks, self.name)(
            h=ask.horizon,
            input_size=max(2 * ask.horizon, min(ask.season, 5 * ask.horizon)),
            loss=MQLoss(quantiles=list(ask.quantiles)),
            max_steps=self.steps,
            random_seed=1,
            scaler_type="robust",
            start_padding_enabled=True,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            **({"futr_exog_list": list(cut.future)} if cut.future else {}),
        )
        try:
            trained = NeuralForecast(models=[network], freq=1)
            trained.fit(pd.concat(parts, ignore_index=True))
            between = time.perf_counter()
            given = trained.predict(futr_df=_ahead(cut, ask) if cut.future else None).sort_values(["unique_id", "ds"])
            columns_of = [name for name in given.columns if name not in ("unique_id", "ds")]
            shape = (len(cut.series), ask.horizon, len(ask.quantiles))
            found.quantiles = np.sort(given[columns_of].to_numpy(np.float64).reshape(shape), axis=2)
            found.points = found.quantiles[:, :, list(ask.quantiles).index(0.5)]
            found.fit_seconds, found.predict_seconds = between - began, time.perf_counter() - between
        except (ValueError, RuntimeError, IndexError) as error:
            found.failed = {row: f"{type(error).__name__}: {error}" for row in range(len(cut.series))}
        tick(len(cut.series))
        return found

    def save(self, folder: Path) -> bool:
        """It is fitted again, with the same seed."""
        return False


def methods(config: JobConfig) -> list[Method]:
    """The networks that the config names, else those of its presets. Raises JobError."""
    if importlib.util.find_spec("neuralforecast") is None:
        raise JobError(
            f"mode neuralforecast needs NeuralForecast, which is not installed here: {INSTALL}", "training_mode"
        )
    names, steps = PRESETS[config.presets]
    if config.chosen_models:
        import neuralforecast.models as networks

        known = [one for one in networks.__all__ if one not in _MULTIVARIATE]
        for name in config.chosen_models:
            if name not in known:
                raise JobError(f"{name!r} is no model of mode neuralforecast; there are {', '.join(known)}", "models")
        names = config.chosen_models
    return [Neural(name, steps) for name in dict.fromkeys(names)]


def _ahead(cut: Cut, ask: Ask) -> Any:
    import pandas as pd

    parts = [
        pd.DataFrame(
            {
                "unique_id": row,
                "ds": np.arange(cut.ends[row], cut.ends[row] + ask.horizon),
                **{name: values[row] for name, values in cut.future.items()},
            }
        )
        for row in range(len(cut.series))
    ]
    return pd.concat(parts, ignore_index=True)
