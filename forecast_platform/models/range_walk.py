"""A random walk whose volatility follows each day's range as fast as the window's own days say."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from forecast_platform.forecasting.history import Floats, History
from forecast_platform.forecasting.volatility import LIMIT, ConditionalVariance, range_news, range_ratio
from forecast_platform.models.base import FittedModel, TrainingWindow, require_sessions
from forecast_platform.models.innovations import BURN_IN, InnovationsModel, fitted_transform, fitted_variance
from forecast_platform.models.random_walk import MINIMUM_SESSIONS, RandomWalkFitted
from forecast_platform.models.tags import ModelTags

NEWS = (0.03, 0.05, 0.08, 0.12, 0.17, 0.23)
PERSISTENCES = (0.96, 0.975, 0.985, 0.99, 0.995)
"""Where the news' share and the persistence are looked for: from a season's memory to a week's."""


class RangeWalkFitted(RandomWalkFitted):
    """State: as the random walk's, with parameters of the variance of its own."""

    def conditional_variance(self, history: History, innovations: Floats, ranges: Floats) -> ConditionalVariance:
        """See `InnovationsFitted`: the parameters of the least QLIKE loss (Patton, 2011) of the next squared move."""
        plain = fitted_variance(history, innovations)
        squares = range_news(innovations, ranges, range_ratio(innovations, ranges, plain.level))
        level = plain.level
        # As bounded as the news: a move through zero must not decide the whole window's parameters.
        target = np.minimum(innovations**2, LIMIT * level)
        known = np.isfinite(target)
        known[:BURN_IN] = False
        best, chosen = np.inf, plain
        for persistence in PERSISTENCES:
            for news in NEWS:
                tried = ConditionalVariance((1.0 - persistence) * level, news, persistence - news, LIMIT, level)
                v = tried.filter(innovations, squares)[:-1]
                loss = float(np.mean(np.log(v[known]) + target[known] / v[known]))
                if loss < best:
                    best, chosen = loss, tried
        return chosen


class RangeWalk(InnovationsModel):
    """The random walk, its variance driven by ranges (Parkinson, 1980) at a speed fitted to the window.

    A range is a sharper look at a day's variance than its close, so more of each can be believed: `random_walk` takes
    one constant for all series, this one asks each window. Days without bars count by their closes.
    """

    name: ClassVar[str] = "range_walk"
    description: ClassVar[str] = "A random walk whose volatility follows the days' ranges, at a fitted speed."
    tags: ClassVar[ModelTags] = ModelTags(default=False)
    fitted_type: ClassVar[type[FittedModel]] = RangeWalkFitted
    algorithm_version: ClassVar[int] = 2
    continues: ClassVar[tuple[int, ...]] = (1,)

    def fit(self, history: History, window: TrainingWindow) -> RangeWalkFitted:
        """See `Model.fit`; at least 120 observed sessions."""
        require_sessions(history, MINIMUM_SESSIONS, self.name)
        return RangeWalkFitted(window, {"scale": fitted_transform(history).scale}).calibrated(history)
