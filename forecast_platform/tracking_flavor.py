"""Loads a fitted model that Tracker logged, for `mlflow.pyfunc.load_model`: JSON in, paths out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import CombinedFitted, TrainingWindow
from forecast_platform.models.saved import Saved, manifest_of
from forecast_platform.models.saved import load as open_saved
from forecast_platform.models.tags import ModelSpec


class LoadedModel:
    """A fitted model behind MLflow's predict.

    The input is a mapping with `history`, `origins`, `n_paths`, `seed`, and of a combination `base` (BasePaths);
    horizon: days that are simulated, those of the warehouse that logged it.
    """

    def __init__(self, saved: Saved, spec: ModelSpec, window: TrainingWindow, horizon: int = DEFAULT) -> None:
        self.horizon = horizon
        self.fitted = open_saved(spec, saved, window)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Simulated closes, float32 [n_origins, n_paths, horizon]."""
        shocks = Shocks(int(model_input["seed"]), self.fitted.n_slots)
        if isinstance(self.fitted, CombinedFitted):
            history, origins, n_paths = model_input["history"], model_input["origins"], int(model_input["n_paths"])
            return self.fitted.simulate_from(model_input["base"], history, origins, self.horizon, n_paths, shocks)
        return self.fitted.simulate(
            model_input["history"],
            model_input["origins"],
            self.horizon,
            int(model_input["n_paths"]),
            shocks,
        )


def _load_pyfunc(path: str) -> LoadedModel:
    from mlflow.models import Model as Logged

    file = Path(path)
    about = Logged.load(str(file.parent / "MLmodel")).metadata
    if about is None:
        raise ValueError(f"{file.parent / 'MLmodel'} names neither model nor window: it was not logged by this package")
    window = TrainingWindow(np.datetime64(about["window_start"], "D"), np.datetime64(about["window_end"], "D"))
    spec = ModelSpec.from_json(about["spec"]) if "spec" in about else registry.spec(about["model"])
    if registry.demand(spec).tags.kept == "pickle":
        raise ValueError(f"{file.parent}: {spec.type} is kept as pickles, which are opened from the warehouse alone")
    text = file.read_text()
    manifest = manifest_of(text)
    names = manifest["files"] if manifest else ()
    saved = Saved(text, {name: (file.parent / "files" / name).read_bytes() for name in names})
    return LoadedModel(saved, spec, window, int(about.get("horizon", DEFAULT)))
