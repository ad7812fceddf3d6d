"""The training modes as the front end lists them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from forecast_platform.api.answers import TrainingMode

_MODES = (
    ("autogluon", "AutoGluon", "A fast global model over all series with ETS beside it.", "medium", True, "autogluon"),
    ("statsforecast", "StatsForecast", "Statistical models, each series by itself.", "fast", False, "statsforecast"),
    ("neuralforecast", "NeuralForecast", "Neural networks over all series.", "slow", False, "neuralforecast"),
    ("mmf", "Many Model Forecasting", "Databricks' own, on a cluster.", "slow", False, "mmf_sa"),
    ("legacy", "Prophet and ARIMA", "What earlier versions trained with.", "medium", False, "statsforecast"),
)


def modes(delegated: Sequence[str] = ()) -> list[TrainingMode]:
    """All modes; those whose library is not installed say so, and the recommended one is one that is.

    delegated: modes whose jobs go to a cluster, which has libraries of its own.
    """
    found = [
        TrainingMode(
            value=value,
            name=name,
            description=text,
            speed=speed,
            recommended=best,
            available=value in delegated or _installed(library),
        )
        for value, name, text, speed, best, library in _MODES
    ]
    if not any(mode.recommended and mode.available for mode in found):
        found = [mode.model_copy(update={"recommended": mode.value == "statsforecast"}) for mode in found]
    return found


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False
