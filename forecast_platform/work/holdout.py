"""How good a fit is: CRPS against the naive bootstrap on the tail of its window, in sample and held out."""

from __future__ import annotations

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Dates, History
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.forecasting.summary import sorted_paths
from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Model, TrainingWindow

_HORIZON = DEFAULT
"""Days that a fit is measured over, whatever the warehouse's horizon: a fit serves all, and so its figures compare."""

_N_PATHS = 400
_TAIL_DAYS = 126
"""Calendar days at the end of a window that are held out: enough for ten forecasts that hardly overlap."""

_MIN_SESSIONS = 300
"""Sessions that must remain for the holdout's own fit."""


def holdout_metrics(
    model: Model, fitted: FittedModel, history: History, window: TrainingWindow, seed: int
) -> dict[str, float]:
    """CRPS over the tail of the window: `insample_crps` of `fitted`, which has seen the tail; `holdout_crps` of a fit
    on what lies before it; `holdout_crps_naive` of the naive model there. Empty where the history is too short."""
    cut = window.end - np.timedelta64(_TAIL_DAYS, "D")
    earlier = history.before(cut) if history.dates[0] < cut else None
    if earlier is None or len(earlier.observed_close) < _MIN_SESSIONS:
        return {}
    tail = history.observed_dates[history.observed_dates >= cut]
    origins = tail[tail <= history.dates[-1] - (_HORIZON - 1) * ONE_DAY][::5]
    if len(origins) == 0:
        return {}
    reduced = TrainingWindow(window.start, cut)
    held = fitted if model.name == "naive" else model.fit(earlier, reduced)
    naive = registry.get("naive").fit(earlier, reduced)
    scores = {
        "insample_crps": mean_crps(fitted, history, origins, seed),
        "holdout_crps": mean_crps(naive if model.name == "naive" else held, history, origins, seed),
        "holdout_crps_naive": mean_crps(naive, history, origins, seed),
    }
    return {**scores, "holdout_skill": 1.0 - scores["holdout_crps"] / scores["holdout_crps_naive"]}


def mean_crps(fitted: FittedModel, history: History, origins: Dates, seed: int) -> float:
    """Mean CRPS, in the price's unit, over the observed sessions within _HORIZON days of each of `origins` [n]."""
    paths = fitted.simulate(history, origins, _HORIZON, _N_PATHS, Shocks(seed, fitted.n_slots))
    first = (origins - history.dates[0]).astype(np.int64)
    targets = first[:, None] + np.arange(_HORIZON)
    scores = crps(sorted_paths(paths), history.close[targets])
    return float(scores[history.observed[targets]].mean())
