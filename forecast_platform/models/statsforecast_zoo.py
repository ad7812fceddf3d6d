"""statsforecast's models by name: `type: statsforecast:MSTL`, each fitted once and carried on by its `forward`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.forecasting.horizon import LONGEST
from forecast_platform.forecasting.volatility import LIMIT, ConditionalVariance
from forecast_platform.models.arma import training_series, without_roll_moves
from forecast_platform.models.base import FittedModel, Model, TrainingWindow
from forecast_platform.models.innovations import InnovationsModel, Steps
from forecast_platform.models.library_state import packed, unpacked
from forecast_platform.models.mean_path import MeanPathFitted, by_session
from forecast_platform.models.quiet import quiet
from forecast_platform.models.random_walk import RandomWalkFitted
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags

MINIMUM_SESSIONS = 120
LARGEST_PERSISTENCE = 0.999
"""A variance whose persistence is beyond it is held to it: its level would mean nothing."""


def _whole(default: int, description: str, least: int = 0) -> Hyperparameter:
    return Hyperparameter(default, description, least=least, most=400)


def _season(default: int) -> Hyperparameter:
    return _whole(default, "Sessions of a season: 5 is a week, 21 a month.", 1)


_DECOMPOSITION = Hyperparameter(
    "additive", "How the season is taken out; prices may be negative.", choices=("additive", "multiplicative")
)
_MEAN = {
    "include_mean": Hyperparameter(True, "A constant, where nothing is differenced."),
    "include_drift": Hyperparameter(False, "A linear trend."),
}
_THETA: Hyperparameters = {"season_length": _season(1), "decomposition_type": _DECOMPOSITION}
_HOLT: Hyperparameters = {"season_length": _season(5)}

LIBRARY: Mapping[str, Hyperparameters] = {
    "AutoARIMA": {
        "season_length": _season(1),
        "max_p": _whole(5, "Most autoregressive terms."),
        "max_q": _whole(5, "Most moving-average terms."),
        "max_d": _whole(2, "Most differences."),
        "stationary": Hyperparameter(False, "No differences."),
        "ic": Hyperparameter("aicc", "What chooses among orders.", choices=("aicc", "aic", "bic")),
    },
    "ARIMA": {
        "p": _whole(1, "Autoregressive terms."),
        "d": _whole(1, "Differences."),
        "q": _whole(0, "Moving-average terms."),
        **_MEAN,
    },
    "AutoRegressive": {"lags": _whole(1, "Autoregressive terms.", 1), **_MEAN},
    "AutoETS": {
        "season_length": _season(1),
        "model": Hyperparameter("ZZZ", "Error, trend and season: A, M, N, or Z for the library's choice."),
    },
    "AutoCES": {
        "season_length": _season(1),
        "model": Hyperparameter("Z", "None, simple, partial or full season.", choices=("Z", "N", "S", "P", "F")),
    },
    "AutoTheta": _THETA,
    "Theta": _THETA,
    "OptimizedTheta": _THETA,
    "DynamicTheta": _THETA,
    "DynamicOptimizedTheta": _THETA,
    "Holt": {},
    "HoltWinters": _HOLT,
    "MSTL": _HOLT,
    "Naive": {},
    "SeasonalNaive": _HOLT,
}
"""The library's models that carry on without being fitted again, and what may be set of each."""

VARIANCES = {"GARCH": 1, "ARCH": 0}
"""Models of the variance, (1, 1) and (1): the library estimates, the platform's own recursion forecasts. (The library's
forecast of their mean is one fixed draw of normal numbers.)"""

UNFIT = {
    "ConformalSeasonalPool": "draws at random",
    "SklearnModel": "needs an object that settings cannot hold",
    "ConstantModel": "forecasts no prices",
    "ZeroModel": "forecasts no prices",
    "NaNModel": "forecasts no prices",
}
"""What the library can carry on and is no model of prices."""


class CarriedOnFitted(MeanPathFitted):
    """State: as `MeanPathFitted`; `library` is the library's fitted object, `class` its name."""

    @cached_property
    def library(self) -> Any:
        """The library's object, made once."""
        import statsforecast.models

        return unpacked(json.loads(self.state["library"]), statsforecast.models)

    def mean_path(self, history: History, origins: Dates, horizon: int, steps: Steps) -> Floats:
        """See `MeanPathFitted`: one call of the library for each close that was newest for some origin."""
        y, shift = without_roll_moves(history, self.transform.forward(history.observed_close))
        different, place = by_session(history.known_sessions(origins))
        paths = np.empty((len(different), LONGEST))
        with quiet():
            for row, count in enumerate(different):
                paths[row] = self.library.forward(y=y[:count], h=LONGEST)["mean"] + shift[count - 1]
        return paths[place]


class StatsForecast(InnovationsModel):
    """One model of statsforecast on y = asinh(close / scale) without the moves of rolls, one step a session.

    The library is asked for the mean; with what the paths are spread is the platform's (`mean_path`). A subclass per
    name is made by `variant`.
    """

    name: ClassVar[str] = "statsforecast"
    description: ClassVar[str] = "Any model of statsforecast by name."
    tags: ClassVar[ModelTags] = ModelTags(default=False, slow_fit=True)
    kind: ClassVar[str] = "statsforecast"
    algorithm_version: ClassVar[int] = 2
    continues: ClassVar[tuple[int, ...]] = (1,)
    library_name: ClassVar[str] = ""
    fitted_type: ClassVar[type[FittedModel]] = CarriedOnFitted

    @classmethod
    def variant(cls, library_name: str) -> type[Model]:
        """The model of this name. Raises ValueError: the library cannot carry it on, or has none of that name."""
        return _variant(library_name)

    def fit(self, history: History, window: TrainingWindow) -> CarriedOnFitted:
        """See `Model.fit`; at least 120 observed sessions."""
        import statsforecast.models

        transform, y = training_series(history, MINIMUM_SESSIONS, self.name)
        with quiet():
            fitted = getattr(statsforecast.models, self.library_name)(**self._arguments()).fit(y)
        kept = json.dumps(packed(fitted, statsforecast.models), allow_nan=False, sort_keys=True)
        return CarriedOnFitted(window, {"scale": transform.scale, "library": kept}).calibrated(history)

    def _arguments(self) -> dict[str, Any]:
        if self.library_name != "ARIMA":
            return dict(self.params)
        given = dict(self.params)
        return {"order": (given.pop("p"), given.pop("d"), given.pop("q")), **given}


class FittedVariance(RandomWalkFitted):
    """State: as the random walk's, the variance's parameters estimated by the library."""

    def conditional_variance(self, history: History, innovations: Floats, ranges: Floats) -> ConditionalVariance:
        """See `InnovationsFitted`: omega, alpha and beta by the library's likelihood.

        Raises ValueError where the series does not move.
        """
        from statsforecast.garch import garch_model

        known = innovations[np.isfinite(innovations)]
        level = float(np.mean(known**2)) if len(known) else 0.0
        if not level > 0.0:
            raise ValueError(f"{history.series}, {history.dates[0]} to {history.dates[-1]}: the series does not move")
        # In units of its own deviation: the library starts its search at 0.1 for each parameter.
        found = garch_model(known / np.sqrt(level), 1, int(self.state["q"]))["coeff"]
        alpha = float(np.clip(found[1], 0.0, LARGEST_PERSISTENCE))
        beta = float(np.clip(found[2], 0.0, LARGEST_PERSISTENCE - alpha)) if len(found) > 2 else 0.0
        return ConditionalVariance((1.0 - alpha - beta) * level, alpha, beta, LIMIT, level)


class StatsForecastVariance(StatsForecast):
    """GARCH (Bollerslev, 1986) and ARCH (Engle, 1982) of one lag, around the last close."""

    fitted_type: ClassVar[type[FittedModel]] = FittedVariance

    def fit(self, history: History, window: TrainingWindow) -> FittedVariance:  # type: ignore[override]
        """See `Model.fit`; at least 120 observed sessions."""
        transform, _ = training_series(history, MINIMUM_SESSIONS, self.name)
        state = {"scale": transform.scale, "q": VARIANCES[self.library_name]}
        return FittedVariance(window, state).calibrated(history)


@cache
def _variant(library_name: str) -> type[Model]:
    if library_name not in LIBRARY and library_name not in VARIANCES:
        why = UNFIT.get(library_name)
        reason = f"it {why}" if why else "the library has no `forward` for it, or no such model"
        raise ValueError(
            f"statsforecast:{library_name} cannot be used ({reason}); there are {', '.join([*LIBRARY, *VARIANCES])}"
        )
    base = StatsForecast if library_name in LIBRARY else StatsForecastVariance
    members = {
        "__module__": base.__module__,
        "__qualname__": StatsForecast.__qualname__,
        "__doc__": base.__doc__,
        "name": f"{StatsForecast.name}:{library_name}",
        "description": f"statsforecast's {library_name}, fitted once a window and carried on.",
        "library_name": library_name,
        "hyperparameters": LIBRARY.get(library_name, {}),
    }
    return type(f"{base.__name__}{library_name}", (base,), members)
