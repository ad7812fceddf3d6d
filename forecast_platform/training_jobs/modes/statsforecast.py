"""Mode statsforecast: Nixtla's statistical models, one fit a series, by their own names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.modes.base import Ask, Cut, Method, Predicted, Tick

PRESETS = {
    "fast_training": ("AutoETS",),
    "medium_quality": ("AutoETS", "DynamicOptimizedTheta"),
    "high_quality": ("AutoETS", "DynamicOptimizedTheta", "AutoARIMA"),
    "best_quality": ("AutoETS", "DynamicOptimizedTheta", "AutoARIMA", "AutoCES", "MSTL"),
}
COSTS = {"AutoETS": 0.06, "DynamicOptimizedTheta": 0.02, "AutoARIMA": 0.8, "AutoCES": 0.4, "MSTL": 0.07}
"""Seconds that a series of 500 rows takes."""

_LONGEST_SEASON = {"AutoETS": 24, "AutoARIMA": 24, "AutoCES": 24}
"""Beyond it a search over seasonal models takes minutes a series, or the library leaves the season out itself."""

_NO_INTERVALS = (
    *("CrostonClassic", "CrostonOptimized", "CrostonSBA", "ADIDA", "IMAPA", "TSB"),
    *("SimpleExponentialSmoothing", "SimpleExponentialSmoothingOptimized"),
    *("SeasonalExponentialSmoothing", "SeasonalExponentialSmoothingOptimized"),
)


class Statistical:
    """One of statsforecast's models."""

    def __init__(self, model: str, name: str | None = None) -> None:
        self.model = model
        self.name = name or model
        self.cost = COSTS.get(model, 0.1)

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """Fit each series by itself, with the covariates that are known ahead where the model takes them.

        Raises JobError for a model that gives no intervals.
        """
        kind = model_class(self.model)
        found = Predicted.empty(len(cut.series), ask)
        for row in range(len(cut.series)):
            values, exogenous = cut.values(row), cut.exogenous(row)
            began = time.perf_counter()
            try:
                model = _made(self.model, kind, _season(self.model, ask.season, len(values)))
                used = exogenous is not None and getattr(model, "uses_exog", False)
                past, ahead = exogenous if used and exogenous is not None else (None, None)
                fitted = model.fit(y=values, X=past)
                between = time.perf_counter()
                given = fitted.predict(h=ask.horizon, X=ahead, level=list(ask.levels))
                found.points[row] = given["mean"]
                found.quantiles[row] = _quantiles(given, ask)
                if not np.isfinite(found.quantiles[row]).all() or not np.isfinite(found.points[row]).all():
                    raise ValueError("it forecasts values that are not finite")
                found.predict_seconds += time.perf_counter() - between
                found.fit_seconds += between - began
            except (ValueError, TypeError, ZeroDivisionError, IndexError, RuntimeError, np.linalg.LinAlgError) as error:
                found.failed[row] = f"{type(error).__name__}: {error}"
            tick(1)
        return found

    def save(self, folder: Path) -> bool:
        """Each prediction is a fit of its own."""
        return False


def methods(config: JobConfig) -> list[Method]:
    """The models that the config names, else those of its presets. Raises JobError."""
    names = config.chosen_models or PRESETS[config.presets]
    for name in names:
        model_class(name)
    return [Statistical(name) for name in dict.fromkeys(names)]


def model_class(name: str) -> Any:
    """statsforecast's class of this name. Raises JobError where there is none that gives intervals."""
    from statsforecast import models

    known = [one for one in models.__all__ if one not in _NO_INTERVALS and "Conformal" not in one]
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        raise JobError(f"{name!r} is no model of mode statsforecast with prediction intervals; {hint}", "models")
    return getattr(models, name)


def _season(model: str, season: int, rows: int) -> int:
    """The season that a model searches: none where two of them do not fit into the history."""
    return season if season <= _LONGEST_SEASON.get(model, season) and rows > 2 * season else 1


def _made(name: str, kind: Any, season: int) -> Any:
    if name == "MSTL":
        from statsforecast.models import AutoETS

        return kind(season_length=[max(season, 2)], trend_forecaster=AutoETS(model="ZZN"))
    try:
        return kind(season_length=season)
    except TypeError:
        return kind()


def _quantiles(given: dict[str, Any], ask: Ask) -> Any:
    """[horizon, q] from means and the ends of intervals, in order."""
    columns: Sequence[Any] = [
        given["mean"] if q == 0.5 else given[f"{'lo' if q < 0.5 else 'hi'}-{round(abs(1 - 2 * q) * 100)}"]
        for q in ask.quantiles
    ]
    return np.sort(np.column_stack(columns), axis=1)
