"""Loads a fitted model that Tracker logged, for `mlflow.pyfunc.load_model`: JSON in, paths out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import TrainingWindow


class LoadedModel:
    """A fitted model behind MLflow's predict.

    The input is a mapping with `history`, `origins`, `n_paths`, `seed`; horizon: days that are simulated, those of the
    warehouse that logged it.
    """

    def __init__(self, text: str, model: str, window: TrainingWindow, horizon: int = DEFAULT) -> None:
        self.horizon = horizon
        self.fitted = registry.get(model).load(text, window)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Simulated closes, float32 [n_origins, n_paths, horizon]."""
        shocks = Shocks(int(model_input["seed"]), self.fitted.n_slots)
        return self.fitted.simulate(
            model_input["history"],
            model_input["origins"],
            self.horizon,
            int(model_input["n_paths"]),
            shocks,
        )


def _load_pyfunc(path: str) -> LoadedModel:
    from mlflow.models import Model

    file = Path(path)
    about = Model.load(str(file.parent / "MLmodel")).metadata
    if about is None:
        raise ValueError(f"{file.parent / 'MLmodel'} names neither model nor window: it was not logged by this package")
    window = TrainingWindow(np.datetime64(about["window_start"], "D"), np.datetime64(about["window_end"], "D"))
    return LoadedModel(file.read_text(), about["model"], window, int(about.get("horizon", DEFAULT)))
