"""Prophet's trend and season of the year as the mean of the days ahead, anchored at the last close."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Dates, Floats, History
from forecast_platform.models.arma import training_series, without_roll_moves
from forecast_platform.models.base import FittedModel, TrainingWindow
from forecast_platform.models.innovations import InnovationsModel, Steps
from forecast_platform.models.mean_path import MeanPathFitted
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags

MINIMUM_SESSIONS = 300

BLOCK_DAYS = 64
"""Days that the library is asked for at once, counted from the window's end: the same products, hence the same bits,
whichever of them are wanted."""


class ProphetFitted(MeanPathFitted):
    """State: as `MeanPathFitted`; `library` is Prophet's own JSON."""

    @cached_property
    def library(self) -> Any:
        """Prophet's object, made once, without its samples of uncertainty."""
        from prophet.serialize import model_from_json

        model = model_from_json(self.state["library"])
        model.uncertainty_samples = 0
        return model

    def expected(self, days: Dates) -> Floats:
        """Prophet's mean of y, on the model's scale, on each of `days`: datetime64[D] [...] to [...]."""
        import pandas as pd

        offset = (days - self.window.end).astype(np.int64)
        found = np.empty(days.shape)
        for block in np.unique(offset // BLOCK_DAYS):
            first = self.window.end + block * BLOCK_DAYS * ONE_DAY
            asked = pd.DataFrame({"ds": (first + np.arange(BLOCK_DAYS)).astype("datetime64[ns]")})
            values = self.library.predict(asked)["yhat"].to_numpy()
            own = offset // BLOCK_DAYS == block
            found[own] = values[offset[own] - block * BLOCK_DAYS]
        return found

    def mean_path(self, history: History, origins: Dates, horizon: int, steps: Steps) -> Floats:
        """See `MeanPathFitted`: the last close and what Prophet says that changes from its day on.

        Prophet's state does not roll: its own level is that of the window's end, months old.
        """
        known = history.known_sessions(origins)
        last = self.transform.forward(history.observed_close)[known - 1]
        before = self.expected(history.observed_dates[known - 1])
        return last[:, None] + self.expected(origins[:, None] + steps.column * ONE_DAY) - before[:, None]


class Prophet(InnovationsModel):
    """Trend with changepoints and a season of the year (Taylor and Letham, 2018), by its maximum a posteriori fit.

    Prophet's own samples are independent day by day, which no price is: only its mean is taken. The volatility is the
    platform's.
    """

    name: ClassVar[str] = "prophet"
    description: ClassVar[str] = "Prophet's trend and yearly season, anchored at the last close."
    tags: ClassVar[ModelTags] = ModelTags(extra="prophet", requires=("prophet",), default=False)
    algorithm_version: ClassVar[int] = 2
    continues: ClassVar[tuple[int, ...]] = (1,)
    hyperparameters: ClassVar[Hyperparameters] = {
        "changepoint_prior_scale": Hyperparameter(0.05, "How much the trend may bend.", least=1e-4, most=10.0),
        "n_changepoints": Hyperparameter(25, "Days on which it may.", least=0, most=500),
        "yearly_seasonality": Hyperparameter(True, "A season of the year."),
        "seasonality_prior_scale": Hyperparameter(10.0, "How large the season may be.", least=1e-3, most=100.0),
    }
    fitted_type: ClassVar[type[FittedModel]] = ProphetFitted

    def fit(self, history: History, window: TrainingWindow) -> ProphetFitted:
        """See `Model.fit`; at least 300 observed sessions."""
        import pandas as pd
        import prophet
        from prophet.serialize import model_to_json

        for name in ("prophet", "cmdstanpy"):
            logging.getLogger(name).setLevel(logging.ERROR)
        transform, _ = training_series(history, MINIMUM_SESSIONS, self.name)
        y, _ = without_roll_moves(history, transform.forward(history.observed_close))
        model = prophet.Prophet(**self.params, weekly_seasonality=False, daily_seasonality=False, uncertainty_samples=0)
        model.fit(pd.DataFrame({"ds": history.observed_dates.astype("datetime64[ns]"), "y": y}), seed=1)
        return ProphetFitted(window, {"scale": transform.scale, "library": model_to_json(model)}).calibrated(history)
