"""Loads a fitted model that Tracker logged, for `mlflow.pyfunc.load_model`: JSON in, paths out."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import TrainingWindow


class LoadedModel:
    """A fitted model behind MLflow's predict: the input is a mapping with `history`, `origins`, `n_paths`, `seed`."""

    def __init__(self, text: str, model: str, window: TrainingWindow) -> None:
        self.fitted = registry.get(model).load(text, window)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Simulated closes, float32 [n_origins, n_paths, 14]."""
        shocks = Shocks(int(model_input["seed"]), self.fitted.n_slots)
        return self.fitted.simulate(
            model_input["history"], model_input["origins"], 14, int(model_input["n_paths"]), shocks
        )


def _load_pyfunc(path: str) -> LoadedModel:
    from mlflow.models import Model

    from forecast_platform.pipeline.platform import Platform

    file = Path(path)
    described = Model.load(str(file.parent / "MLmodel")).metadata
    if described is None:
        raise ValueError(f"{file.parent / 'MLmodel'} names neither model nor window: it was not logged by this package")
    window = Platform.from_settings().training_window(dt.date.fromisoformat(described["window"]))
    return LoadedModel(file.read_text(), described["model"], window)
