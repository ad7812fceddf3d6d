"""ARIMA whose orders statsforecast's stepwise search finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from forecast_platform.forecasting.history import History
from forecast_platform.models.arma import Arma, ArmaFitted, training_series
from forecast_platform.models.base import FittedModel, TrainingWindow
from forecast_platform.models.innovations import InnovationsModel

MINIMUM_SESSIONS = 120
LARGEST_ORDER = 3


class AutoArimaFitted(ArmaFitted):
    """ARIMA with the coefficients that statsforecast estimated."""


class AutoArima(InnovationsModel):
    """Hyndman and Khandakar's search (2008): d by KPSS tests, p and q by BIC, exact likelihood.

    No seasonal part (a session has no fixed season), d at most 1 (the trend of a twice differenced price takes paths
    out of any range), no drift, and BIC rather than AICc: what AICc adds on daily prices makes CRPS worse.
    """

    name: ClassVar[str] = "auto_arima"
    description: ClassVar[str] = "ARIMA with statsforecast's order search."
    algorithm_version: ClassVar[int] = 3
    fitted_type: ClassVar[type[FittedModel]] = AutoArimaFitted

    def fit(self, history: History, window: TrainingWindow) -> AutoArimaFitted:
        """See `Model.fit`."""
        from statsforecast.models import AutoARIMA

        transform, y = training_series(history, MINIMUM_SESSIONS, self.name)
        search = AutoARIMA(
            max_d=1, max_p=LARGEST_ORDER, max_q=LARGEST_ORDER, seasonal=False, allowdrift=False, ic="bic"
        )
        arma, kept = coefficients(search.fit(y).model_).or_simpler()
        state = {"scale": transform.scale, "arma": arma.to_state(), "fell_back": not kept}
        return AutoArimaFitted(window, state).calibrated(history)


def coefficients(model: Mapping[str, Any]) -> Arma:
    """What statsforecast's `model_` holds: regression with ARIMA errors, so its constant is the mean of (1-B)^d y."""
    p, q, *_, d, _ = model["arma"]
    found = model["coef"]
    return Arma(
        ar=tuple(float(found[f"ar{lag + 1}"]) for lag in range(p)),
        ma=tuple(float(found[f"ma{lag + 1}"]) for lag in range(q)),
        d=int(d),
        mean=float(found.get("intercept", found.get("drift", 0.0))),
    )
