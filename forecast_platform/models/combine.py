"""Pools of other models' forecasts: the paths are theirs, or have the mean of their quantiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Bools, Dates, Floats, History
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.forecasting.trailing import (
    MemberScores,
    aggregation_weights,
    best,
    standing,
    volatility_routes,
)
from forecast_platform.models.base import BasePaths, CombinedFitted, FittedModel, Model, Paths, TrainingWindow
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags

_KEY = np.array([0x706F6F6C, 0], np.uint64)
"""Key of the assignment's random numbers: of nothing else in the platform, and the same for every pool."""

_GOLDEN = (5.0**0.5 - 1.0) / 2.0

WEIGHTED = ("crps_weights", "route")
"""The ways of combining that read how good the members were."""

_READ_BY = {"half_life": WEIGHTED, "rate": ("crps_weights",), "shrink": ("crps_weights",), "routes": ("route",)}
"""The ways of combining that read a hyperparameter, where not all do."""

LEAST_DAYS = 20.0
"""Remembered days of scores in its regime that a route needs; before that a date is pooled in equal shares."""


def assignment(n_members: int, n_paths: int) -> NDArray[np.intp]:
    """The member that each path of an equal pool is taken from, its position, [n_paths].

    Stratified: each run of `n_members` paths holds every member once, in a random order, so that also a part of the
    paths, or every k-th, is a pool. It depends on nothing but the two numbers: the same path is the same member's on
    every date and for every series, which keeps days and series joint; fewer paths are the first of more.
    """
    blocks = -(-n_paths // n_members)
    words = np.random.Philox(key=_KEY).random_raw(blocks * n_members).reshape(blocks, n_members)
    return np.argsort(words, axis=1, kind="stable").ravel()[:n_paths]


def drawn(weights: Floats, n_paths: int) -> NDArray[np.intp]:
    """The member that each path of a weighted pool is taken from, [n_origins, n_paths], for weights
    [n_members, n_origins] of sum 1.

    Path p has one fixed place in (0, 1), the same on every date and for every series, and goes to the member whose
    share of (0, 1) holds it. The places are the additive recurrence of the golden ratio: each run of paths is spread
    evenly, so the shares are those of the weights to a few paths, also in a part of them.
    """
    places = np.modf((np.arange(n_paths) + 0.5) * _GOLDEN)[0]
    edges = np.cumsum(weights, axis=0)[:-1]
    chosen = (edges.T[:, :, None] <= places).sum(axis=1)
    # Rounding must not give a path to a member without a weight, behind the last that has one.
    last = len(weights) - 1 - (weights[::-1] > 0.0).argmax(axis=0)
    return np.minimum(chosen, last[:, None])


class CombineFitted(CombinedFitted):
    """State: `how` the members are combined. Which they are is the settings', and part of the model's identity."""

    def simulate_from(
        self, base: BasePaths, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks
    ) -> Paths:
        """See `CombinedFitted.simulate_from`. An origin that lacks members is pooled from those that it has.

        Raises ValueError for another window's shocks, or missing weights.
        """
        if shocks.n_slots != self.n_slots:
            raise ValueError(f"n_slots is {shocks.n_slots}; the window's pool has {self.n_slots}")
        chosen = path_members(self.state["how"], base.there, base.weights, n_paths)
        out = np.empty((len(origins), n_paths, horizon), np.float32)
        if chosen is not None:
            columns = np.arange(n_paths)
            for row, members in enumerate(chosen):
                out[row] = base.paths[members, row, columns, :horizon]
            return out
        for row, there in enumerate(base.there.T):
            out[row] = averaged(base.paths[there, row, :n_paths, :horizon])
        return out

    def training_metrics(self) -> dict[str, float]:
        """`members`: how many models are pooled."""
        return {"members": float(self.state["members"])}


def path_members(how: str, there: Bools, weights: Floats | None, n_paths: int) -> NDArray[np.intp] | None:
    """See `Model.path_members`. Raises ValueError for missing weights."""
    if how == "quantile_average":
        return None
    if how in WEIGHTED:
        if weights is None:
            raise ValueError(f"{how} without weights: pass what Combine.member_weights gives")
        return drawn(weights, n_paths)
    chosen = np.empty((there.shape[1], n_paths), np.intp)
    for pattern in np.unique(there, axis=1).T:
        members = np.flatnonzero(pattern)
        chosen[(there == pattern[:, None]).all(axis=0)] = members[assignment(len(members), n_paths)]
    return chosen


def averaged(members: Paths) -> Paths:
    """The distribution whose quantiles are the mean of the members' (Vincent, 1912), as paths [n_paths, horizon].

    members: float32 [n_members, n_paths, horizon], in the price's unit. Each day's values are the means of the members'
    order statistics; path p has the one of the rank that the mean of the members' paths p has among them, so days and
    series stay as joint as the members have them in common.
    """
    values = np.sort(members, axis=1).mean(axis=0, dtype=np.float64).astype(np.float32)
    order = np.argsort(members.mean(axis=0, dtype=np.float64), axis=0, kind="stable")
    out = np.empty(values.shape, np.float32)
    np.put_along_axis(out, order, values, axis=0)
    return out


class Combine(Model):
    """A pool of other models' forecasts; `how` says which.

    linear_pool: the mixture of the members' distributions in equal shares (Gneiting and Ranjan, 2013). Drawn by
    strata: path p of the pool is path p of the member that `assignment` gives it, so each member has its share of the
    paths to one, and a path's days belong together as they did in the member.
    crps_weights: the same with shares by the members' scores as known on the origin, recent ones counting more, shrunk
    to equal.
    route: each date from one member, the one that was best on the days before among those of the same volatility.
    quantile_average: the mean of the members' quantiles, with the members' common ranks.
    """

    name: ClassVar[str] = "combine"
    description: ClassVar[str] = "A pool of other models' paths."
    tags: ClassVar[ModelTags] = ModelTags(combines=True, default=False)
    hyperparameters: ClassVar[Hyperparameters] = {
        "how": Hyperparameter(
            "linear_pool",
            "How members are combined.",
            choices=("linear_pool", "quantile_average", "crps_weights", "route"),
        ),
        "missing": Hyperparameter(
            "fail", "A date that lacks a member's forecast fails, or is pooled without it.", choices=("fail", "skip")
        ),
        "half_life": Hyperparameter(
            125, "crps_weights, route: days after which a score counts half.", least=5, most=1000
        ),
        "rate": Hyperparameter(0.5, "crps_weights: how fast weights follow the scores.", least=0.0, most=100.0),
        "shrink": Hyperparameter(0.5, "crps_weights: how far weights go back to equal.", least=0.0, most=1.0),
        "routes": Hyperparameter(
            3, "route: regimes of volatility that have a best member each; 1 is none.", least=1, most=5
        ),
    }
    fitted_type: ClassVar[type[FittedModel]] = CombineFitted

    def __init__(self, params: Mapping[str, Any] | None = None, of: Sequence[str] = ()) -> None:
        """See `Model`. Raises ValueError for fewer than two members, and for a hyperparameter that the way of combining
        does not read."""
        super().__init__(params, of)
        how = self.params["how"]
        for name, ways in _READ_BY.items():
            value = self.params[name]
            if how not in ways and value != self.hyperparameters[name].default:
                raise ValueError(
                    f"{self.name}: {name} = {value!r} is not read where how is {how!r}: leave it out, or set "
                    f"`how: {' or '.join(ways)}`"
                )
        if len(self.of) < 2:
            raise ValueError(f"{self.name} of {', '.join(self.of)} alone: name two models or more")
        if self.params["how"] == "quantile_average":
            # Ranks among more paths are others: the one way of combining whose fewer paths are not the first of more.
            vars(self)["tags"] = replace(self.tags, gives="quantiles")

    def fit(self, history: History, window: TrainingWindow) -> CombineFitted:
        """See `Model.fit`: nothing is estimated."""
        return CombineFitted(window, {"how": self.params["how"], "members": len(self.of)})

    def path_members(self, there: Bools, weights: Floats | None, n_paths: int) -> NDArray[np.intp] | None:
        """See `Model.path_members`: all but quantile_average take their members' paths."""
        return path_members(self.params["how"], there, weights, n_paths)

    @property
    def scored_days(self) -> int:
        """See `Model.scored_days`: four half-lives."""
        return 4 * int(self.params["half_life"]) if self.params["how"] in WEIGHTED else 0

    def member_weights(
        self, scores: MemberScores, there: Bools, history: History, origins: Dates, window: TrainingWindow
    ) -> Floats:
        """See `Model.member_weights`."""
        memory = (float(self.params["half_life"]), self.scored_days)
        if self.params["how"] == "crps_weights":
            known = standing(scores, origins, *memory)
            return aggregation_weights(known, there, self.params["rate"], self.params["shrink"])
        n_routes = self.params["routes"]
        past = volatility_routes(history, scores.origins, window.end, n_routes)
        now = volatility_routes(history, origins, window.end, n_routes)
        weights = np.empty(there.shape)
        for route in range(n_routes):
            of_route = now == route
            if of_route.any():
                known = standing(scores, origins[of_route], *memory, rows=past == route)
                weights[:, of_route] = best(known, there[:, of_route], LEAST_DAYS)
        return weights
