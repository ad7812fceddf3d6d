"""Loads a workflow's model for `mlflow.pyfunc.load_model`; its module's name stands in each model that was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.ensembles.packaging import Ensemble

if TYPE_CHECKING:
    import pandas as pd


class LoadedEnsemble:
    """An ensemble behind MLflow's predict."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A prediction a row; see `Ensemble.predict`."""
        return self.ensemble.predict(model_input)


def _load_pyfunc(path: str) -> LoadedEnsemble:
    return LoadedEnsemble(Ensemble.load(Path(path)))
