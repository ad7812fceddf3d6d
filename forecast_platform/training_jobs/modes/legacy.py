"""Mode legacy: Prophet where its extra is installed, ARIMA, and what else of the front end's names can be trained."""

from __future__ import annotations

import importlib.util
import logging
import time
from pathlib import Path

import numpy as np

from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.modes.base import Ask, Cut, Method, Predicted, Tick
from forecast_platform.training_jobs.modes.statsforecast import Statistical

_STATISTICAL = {
    "arima": "AutoARIMA",
    "sarimax": "AutoARIMA",
    "exponential_smoothing": "AutoETS",
    "statsforecast": "AutoETS",
}
"""The front end's names of models that statsforecast has."""

INSTALL = "pip install 'forecast-platform[prophet]'"
_SAMPLES = 1000


class Prophet:
    """Meta's Prophet: a trend with breaks and seasons, fitted to each series; spreads from its predictive samples."""

    name = "prophet"
    cost = 0.5

    def __init__(self, seasonality_mode: str) -> None:
        self.seasonality_mode = seasonality_mode

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """Quantiles are those of Prophet's samples, drawn with a fixed seed."""
        import pandas as pd
        from prophet import Prophet as Library

        for noisy in ("cmdstanpy", "prophet"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        found = Predicted.empty(len(cut.series), ask)
        panel = cut.panel
        for row, k in enumerate(cut.series):
            began = time.perf_counter()
            values, exogenous = cut.values(row), cut.exogenous(row)
            steps = panel.first[k] + np.arange(len(values) + ask.horizon)
            frame = pd.DataFrame({"ds": panel.frequency.stamps(steps)})
            frame["y"] = np.append(values, np.full(ask.horizon, np.nan))
            positive = bool((values > 0).all())
            try:
                model = Library(
                    seasonality_mode=self.seasonality_mode if positive else "additive", uncertainty_samples=_SAMPLES
                )
                for number, name in enumerate(cut.future):
                    if exogenous is not None:
                        frame[name] = np.concatenate([exogenous[0][:, number], exogenous[1][:, number]])
                        model.add_regressor(name)
                model.fit(frame.iloc[: len(values)], seed=1)
                between = time.perf_counter()
                np.random.seed(1)
                samples = model.predictive_samples(frame.iloc[len(values) :])["yhat"]
                found.points[row] = samples.mean(1)
                found.quantiles[row] = np.quantile(samples, ask.quantiles, axis=1).T
                found.predict_seconds += time.perf_counter() - between
                found.fit_seconds += between - began
            except (ValueError, RuntimeError, TypeError) as error:
                found.failed[row] = f"{type(error).__name__}: {error}"
            tick(1)
        return found

    def save(self, folder: Path) -> bool:
        """Each prediction is a fit of its own."""
        return False


def methods(config: JobConfig) -> tuple[list[Method], list[str]]:
    """What of the config's models can be trained, ARIMA always, and what is said of the others. Raises JobError."""
    found: dict[str, Method] = {}
    notes: list[str] = []
    for name in dict.fromkeys((*config.models, "arima")):
        if name == "prophet":
            if importlib.util.find_spec("prophet") is None:
                notes.append(f"prophet is not installed here ({INSTALL}): trained without it")
            else:
                found[name] = Prophet(config.seasonality_mode)
        elif name in _STATISTICAL:
            model = _STATISTICAL[name]
            if all(not isinstance(other, Statistical) or other.model != model for other in found.values()):
                found[name] = Statistical(model, name)
        elif name in ("xgboost", "chronos", "ensemble"):
            notes.append(f"mode legacy has no {name}: trained without it")
        else:
            raise JobError(f"{name!r} is no model of mode legacy: prophet, {', '.join(_STATISTICAL)}", "models")
    return list(found.values()), notes
