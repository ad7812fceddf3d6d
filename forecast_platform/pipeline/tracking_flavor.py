"""Loads a fitted model that Tracker logged, for `mlflow.pyfunc.load_model`: JSON in, paths out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import Model, TrainingWindow
from forecast_platform.models.tags import ModelSpec


class LoadedModel:
    """A fitted model behind MLflow's predict: the input is a mapping with `history`, `origins`, `n_paths`, `seed`."""

    def __init__(self, text: str, model: Model, window: TrainingWindow) -> None:
        self.fitted = model.load(text, window)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Simulated closes, float32 [n_origins, n_paths, 14]."""
        shocks = Shocks(int(model_input["seed"]), self.fitted.n_slots)
        return self.fitted.simulate(
            model_input["history"], model_input["origins"], 14, int(model_input["n_paths"]), shocks
        )


def _load_pyfunc(path: str) -> LoadedModel:
    from mlflow.models import Model as Logged

    file = Path(path)
    about = Logged.load(str(file.parent / "MLmodel")).metadata
    if about is None:
        raise ValueError(f"{file.parent / 'MLmodel'} names neither model nor window: it was not logged by this package")
    window = TrainingWindow(np.datetime64(about["window_start"], "D"), np.datetime64(about["window_end"], "D"))
    spec = ModelSpec.from_json(about["spec"]) if "spec" in about else registry.spec(about["model"])
    return LoadedModel(file.read_text(), registry.demand(spec), window)
