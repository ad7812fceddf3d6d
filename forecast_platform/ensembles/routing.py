"""Routes: which part of the rows each row belongs to, learnt from training rows and applied to any."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.grammar import Task

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]

_MOST_LINKED = 4_000
"""Rows that a hierarchy is built of; it takes the square of them in memory."""
_MOST_VALUES = 20
OTHER = -1


class RouteError(ValueError):
    """Rows cannot be routed so; the message says why and what to do."""


@dataclass(frozen=True)
class Router:
    """A fitted route; `state` is JSON."""

    state: dict[str, Any]

    @property
    def count(self) -> int:
        """Routes that it knows."""
        return int(self.state["count"])

    @classmethod
    def fit(cls, task: Task, features: pd.DataFrame, seed: int, position: Ints) -> Router:
        """The route of a task, learnt from these rows and their places in the table, [n]. Raises RouteError."""
        body = task.body()
        if task.task == "route_external":
            rows = int(position.max()) + 1
            return cls({"kind": body.partition, "count": body.parts, "seed": seed, "rows": rows})
        if task.task == "route_feature":
            return cls(_feature_state(body.feature, body.bins or 5, features))
        return cls(_cluster_state(body.cluster.method, body.cluster.count, features, seed))

    def assign(self, features: pd.DataFrame, position: Ints | None = None) -> Ints:
        """The route of each row, 0 to count - 1, [n].

        position: of each row its place in the table, for `sequence`; rows without one come after all that were fitted.
        """
        state = self.state
        if state["kind"] == "random":
            return _drawn(features, state["count"], state["seed"])
        if state["kind"] == "sequence":
            if position is None:
                return np.full(len(features), state["count"] - 1)
            return np.minimum(position * state["count"] // max(state["rows"], 1), state["count"] - 1)
        if state["kind"] == "values":
            codes = {value: number for number, value in enumerate(state["values"])}
            return np.array([codes.get(one, len(codes)) for one in features[state["feature"]].tolist()], np.int64)
        if state["kind"] == "bins":
            values = features[state["feature"]].to_numpy()
            found = np.searchsorted(np.asarray(state["edges"]), values, side="right") + 1
            return np.where(np.isnan(values), 0, found)
        x = _points(Encoder(state["encoder"]), features)
        if state["kind"] == "mixture":
            return np.argmax(_log_density(state, x), axis=1)
        return _nearest(x, np.asarray(state["centres"]))

    def numbered_as(self, other: Router) -> Ints:
        """Of each route of values the number that `other`, of the same feature, has for it, [count]: values that other
        does not know, and the rest, are its rest."""
        known = {value: number for number, value in enumerate(other.state["values"])}
        rest = len(known)
        return np.array([*(known.get(value, rest) for value in self.state["values"]), rest], np.int64)


def _points(encoder: Encoder, features: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(encoder.apply(features), np.float64)


def _nearest(x: NDArray[np.float64], centres: NDArray[np.float64]) -> Ints:
    distances = -2.0 * x @ centres.T + (centres**2).sum(axis=1)
    return np.argmin(distances, axis=1)


def _cluster_state(method: str, count: int, features: pd.DataFrame, seed: int) -> dict[str, Any]:
    # The target is no part of a route: many categories are one-hot by their order of frequency, not by target means.
    common = _few_categories(features)
    encoder, x32 = Encoder.fit("dense", common, np.zeros(len(common)), 0, seed, {})
    x = np.asarray(x32, np.float64)
    if len(np.unique(x, axis=0)) < count:
        raise RouteError(
            f"{len(x):,} training rows hold fewer than {count} different ones: lower the number of clusters"
        )
    kept: dict[str, Any] = {"count": count, "encoder": encoder.state, "method": method}
    if method == "mixture":
        from sklearn.mixture import GaussianMixture

        found = GaussianMixture(count, covariance_type="diag", random_state=seed, n_init=3, reg_covar=1e-4).fit(x)
        return {
            **kept,
            "kind": "mixture",
            "weights": found.weights_.tolist(),
            "means": found.means_.tolist(),
            "variances": found.covariances_.tolist(),
        }
    if method == "kmeans":
        from sklearn.cluster import KMeans

        centres = KMeans(count, n_init=5, random_state=seed).fit(x).cluster_centers_
    elif method == "bisect":
        from sklearn.cluster import BisectingKMeans

        centres = BisectingKMeans(count, n_init=3, random_state=seed).fit(x).cluster_centers_
    else:
        centres = _linked(method, count, x, seed)
    return {**kept, "kind": "centres", "centres": np.asarray(centres, np.float64).tolist()}


def _linked(method: str, count: int, x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Centres of a hierarchy's clusters: of Ward's (agglom), or of average linkage cut at `count` (hierarch)."""
    if len(x) > _MOST_LINKED:
        x = x[np.sort(np.random.default_rng(seed).choice(len(x), _MOST_LINKED, replace=False))]
    if method == "agglom":
        from sklearn.cluster import AgglomerativeClustering

        labels = AgglomerativeClustering(count).fit_predict(x)
    else:
        from scipy.cluster.hierarchy import fcluster, linkage

        labels = fcluster(linkage(x, "average"), count, "maxclust") - 1
    return np.stack([x[labels == one].mean(axis=0) for one in np.unique(labels)])


def _few_categories(features: pd.DataFrame) -> pd.DataFrame:
    """The features that distances are measured in: numbers, and texts of few values."""
    few = [name for name in features.columns if features[name].dtype == np.float64 or features[name].nunique() <= 12]
    if not few:
        raise RouteError("clusters need a number, or a text of at most 12 values: route by a feature instead")
    return features[few]


def _log_density(state: dict[str, Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    found = []
    for weight, mean, variance in zip(state["weights"], state["means"], state["variances"], strict=True):
        spread = np.asarray(variance)
        squares = ((x - np.asarray(mean)) ** 2 / spread).sum(axis=1)
        found.append(np.log(max(weight, 1e-300)) - 0.5 * (squares + np.log(spread).sum()))
    return np.column_stack(found)


def _feature_state(name: str, bins: int, features: pd.DataFrame) -> dict[str, Any]:
    if name not in features.columns:
        raise RouteError(f"route.feature {name!r} is no feature; there are {', '.join(features.columns)}")
    values = features[name]
    if values.dtype == np.float64 and values.nunique() > bins:
        known = values.dropna().to_numpy()
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
        return {"kind": "bins", "feature": name, "edges": edges.tolist(), "count": len(edges) + 2}
    counts = values.value_counts()
    frequent = sorted(counts.index[:_MOST_VALUES].tolist())
    return {"kind": "values", "feature": name, "values": frequent, "count": len(frequent) + 1}


def _drawn(features: pd.DataFrame, count: int, seed: int) -> Ints:
    """A part for each row that follows from its values alone, so that a new row has one too."""
    import pandas as pd

    key = hashlib.sha256(str(seed).encode()).hexdigest()[:16]
    hashes = pd.util.hash_pandas_object(features, index=False, hash_key=key).to_numpy(np.uint64)
    return (hashes % np.uint64(count)).astype(np.int64)


def cells_of(routers: Sequence[Router], features: pd.DataFrame, position: Ints | None) -> Ints:
    """The route of each row where several routes cross: a number a combination, [n]."""
    found = np.zeros(len(features), np.int64)
    for router in routers:
        found = found * router.count + router.assign(features, position)
    return found


def aligned(reference: Ints, found: Ints, count: int) -> Ints:
    """For each route of `found` the one of `reference` that most rows agree on (Kuhn 1955), [count]."""
    from scipy.optimize import linear_sum_assignment

    size = max(count, int(max(reference.max(), found.max())) + 1)
    together = np.zeros((size, size), np.int64)
    np.add.at(together, (found, reference), 1)
    _, columns = linear_sum_assignment(-together)
    return columns
