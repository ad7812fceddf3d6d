"""Pools of other models' forecasts: the paths are theirs, chosen by a fixed assignment."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, History
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.base import BasePaths, CombinedFitted, FittedModel, Model, Paths, TrainingWindow
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags

_KEY = np.array([0x706F6F6C, 0], np.uint64)
"""Key of the assignment's random numbers: of nothing else in the platform, and the same for every pool."""


def assignment(n_members: int, n_paths: int) -> NDArray[np.intp]:
    """The member that each path of an equal pool is taken from, [n_paths].

    Stratified: each run of `n_members` paths holds every member once, in a random order, so that also a part of the
    paths, or every k-th, is a pool. It depends on nothing but the two numbers: the same path is the same member's on
    every date and for every series, which keeps days and series joint; fewer paths are the first of more.
    """
    blocks = -(-n_paths // n_members)
    words = np.random.Philox(key=_KEY).random_raw(blocks * n_members).reshape(blocks, n_members)
    return np.argsort(words, axis=1, kind="stable").ravel()[:n_paths]


class CombineFitted(CombinedFitted):
    """State: `how` the members are combined. Which they are is the settings', and part of the model's identity."""

    def simulate_from(
        self, base: BasePaths, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks
    ) -> Paths:
        """See `CombinedFitted.simulate_from`. An origin that lacks members is pooled from those that it has."""
        if shocks.n_slots != self.n_slots:
            raise ValueError(f"n_slots is {shocks.n_slots}; the window's pool has {self.n_slots}")
        out = np.empty((len(origins), n_paths, horizon), np.float32)
        columns = np.arange(n_paths)
        for there in np.unique(base.there, axis=1).T:
            rows = np.flatnonzero((base.there == there[:, None]).all(axis=0))
            members = np.flatnonzero(there)[assignment(int(there.sum()), n_paths)]
            for row in rows:
                out[row] = base.paths[members, row, columns, :horizon]
        return out

    def training_metrics(self) -> dict[str, float]:
        """`members`: how many models are pooled."""
        return {"members": float(self.state["members"])}


class Combine(Model):
    """The equal linear pool (Gneiting and Ranjan, 2013): the mixture of the members' distributions.

    Drawn by strata: path p of the pool is path p of the member that `assignment` gives it, so each member has its share
    of the paths to one, and a path's days belong together as they did in the member.
    """

    name: ClassVar[str] = "combine"
    description: ClassVar[str] = "A pool of other models' paths."
    tags: ClassVar[ModelTags] = ModelTags(combines=True, default=False)
    hyperparameters: ClassVar[Hyperparameters] = {
        "how": Hyperparameter("linear_pool", "How members are combined.", choices=("linear_pool",)),
        "missing": Hyperparameter(
            "fail", "A date that lacks a member's forecast fails, or is pooled without it.", choices=("fail", "skip")
        ),
    }
    fitted_type: ClassVar[type[FittedModel]] = CombineFitted

    def fit(self, history: History, window: TrainingWindow) -> CombineFitted:
        """See `Model.fit`: an equal pool has nothing to estimate. Raises ValueError for fewer than two members."""
        if len(self.of) < 2:
            raise ValueError(f"combine for {history.series}: of {', '.join(self.of)}: name two models or more")
        return CombineFitted(window, {"how": self.params["how"], "members": len(self.of)})
