"""Models whose library gives the mean of the days ahead and no more: everything else is the random walk's.

    y[k + s] = m[s] + sum of the innovations of the s sessions,   m from the library, by what is known on the origin

The innovations are the sessions' own moves (rolls aside), so no error that the library made on data that it was fitted
on makes the paths too narrow; volatility, ranges, rolls and shocks are the framework's.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.models.innovations import Steps, trading_steps
from forecast_platform.models.random_walk import RandomWalkFitted


class MeanPathFitted(RandomWalkFitted):
    """State: as the random walk's, and what the library fitted. A subclass says `mean_path`."""

    @abstractmethod
    def mean_path(self, history: History, origins: Dates, horizon: int, steps: Steps) -> Floats:
        """The expected y after each trading day, [n_origins, n_steps], on the model's scale; what lies past an origin's
        steps is not read.

        Of the history only what `history.known_sessions(origins)` allows is read, and the values for one origin depend
        neither on the others nor on `horizon`.
        """

    def offset(self, history: History, origins: Dates, horizon: int) -> Floats | None:
        """See `InnovationsFitted`: the steps of the mean, by the calendar day of each."""
        steps = trading_steps(history.trading(origins, horizon))
        last = self.transform.forward(history.observed_close)[history.known_sessions(origins) - 1]
        n_steps = steps.column.shape[1]
        path = self.mean_path(history, origins, horizon, steps)[:, :n_steps]
        added = np.diff(path, axis=1, prepend=last[:, None])
        found = np.zeros((len(origins), horizon))
        rows, place = np.nonzero(np.arange(n_steps) < steps.reached[:, -1:])
        found[rows, steps.column[rows, place]] = added[rows, place]
        return found


def by_session(known: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The different numbers of `known` sessions [n_origins], ascending, [n_different]; and which of them each origin
    has, its position, [n_origins]."""
    different, place = np.unique(known, return_inverse=True)
    return different, place.reshape(known.shape)
