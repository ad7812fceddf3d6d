"""Boosted trees in XGBoost's JSON: those of few levels are evaluated on whole arrays, to the bit as the library does.

The library walks down each tree row by row. Of trees with two or three levels every split is rather looked at for all
rows at once: a third of the time for simulated paths, and what is the same on all paths of a date (the calendar,
covariates) is compared once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Floats

if TYPE_CHECKING:
    from xgboost import Booster

Column = NDArray[np.float32]

MOST_LEVELS = 4
"""Splits from a root to its leaves up to which this is the faster way."""
PREDICT_THREADS = 1
"""One: callers simulate chunks in threads, and the library's own threads spin while they wait."""


class Split(NamedTuple):
    """A node: rows with `feature` below `threshold` go left."""

    feature: int
    threshold: np.float32
    left: Node
    right: Node


Node = Split | np.float32
"""A split, or the value of a leaf."""


class ShallowTrees(NamedTuple):
    """The trees in their order."""

    roots: tuple[Node, ...]

    @classmethod
    def of(cls, model: str) -> ShallowTrees | None:
        """The trees of XGBoost's JSON; None where one has more than MOST_LEVELS levels, or splits by categories."""
        trees = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
        if any(any(tree["split_type"]) for tree in trees):
            return None
        roots = tuple(_node(tree, 0) for tree in trees)
        return cls(roots) if max(map(_levels, roots), default=0) <= MOST_LEVELS else None

    def margin(self, columns: Sequence[Column]) -> NDArray[np.float32]:
        """The trees' sum for features that are all finite, each [...] or broadcastable to it; float32 [...].

        In float32 and tree after tree, as the library adds.
        """
        total = np.zeros(np.broadcast_shapes(*(column.shape for column in columns)), np.float32)
        below: dict[tuple[int, np.float32], NDArray[np.int32]] = {}
        for root in self.roots:
            total += _bits(root, columns, below).view(np.float32)
        return total


def _bits(node: Node, columns: Sequence[Column], below: dict[tuple[int, np.float32], NDArray[np.int32]]) -> Any:
    """A node's value in each row, as the integer of the same bits: chosen by a mask in a tenth of the time that
    `numpy.where` takes. `below`: the masks that are known."""
    # No function within `margin`: one that calls itself is garbage that keeps all masks until the collector comes.
    if not isinstance(node, Split):
        return node.view(np.int32)
    asked = (node.feature, node.threshold)
    if asked not in below:
        # All bits where the row goes left, none where it goes right. Few splits differ: bins are coarse.
        below[asked] = -(columns[node.feature] < node.threshold).astype(np.int32)
    right = _bits(node.right, columns, below)
    chosen = below[asked] & (_bits(node.left, columns, below) ^ right)
    chosen ^= right
    return chosen


def _node(tree: Mapping[str, Any], place: int) -> Node:
    left = tree["left_children"][place]
    here = np.float32(tree["split_conditions"][place])
    if left < 0:
        return here
    return Split(tree["split_indices"][place], here, _node(tree, left), _node(tree, tree["right_children"][place]))


def _levels(node: Node) -> int:
    return 1 + max(_levels(node.left), _levels(node.right)) if isinstance(node, Split) else 0


class LibraryTrees:
    """Trees of more levels than `ShallowTrees` takes."""

    def __init__(self, trees: str) -> None:
        self.booster = loaded(trees, PREDICT_THREADS)

    def margin(self, columns: Sequence[NDArray[np.float32]]) -> Floats:
        """As `ShallowTrees.margin`."""
        return margin(self.booster, matrix(columns))


def margin(booster: Booster, features: NDArray[np.float32]) -> Floats:
    """The trees' sum, [...] for features [..., n_features], in one call for all rows; both base scores add nothing."""
    flat = features.reshape(-1, features.shape[-1])
    total: Floats = booster.inplace_predict(flat, predict_type="margin").astype(np.float64)
    return total.reshape(features.shape[:-1])


def loaded(trees: str, threads: int) -> Booster:
    """A booster from its JSON."""
    import xgboost

    booster = xgboost.Booster({"nthread": threads})
    booster.load_model(bytearray(trees, "utf8"))
    return booster


def matrix(columns: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Features in the trees' order, float32 [..., n_features], of columns that are each [...] or broadcast to it."""
    features = np.empty((*np.broadcast_shapes(*(column.shape for column in columns)), len(columns)), np.float32)
    for position, column in enumerate(columns):
        features[..., position] = column
    return features
