"""scikit-learn's models of many trees as two files: skops keeps the model without its trees, one array has them all.

skops writes an object a tree, each with files of its own: of a boosted model of ten classes that takes longer than many
a fit.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

TREES = "trees.npz"


def without_trees(model: Any) -> tuple[Any, bytes | None]:
    """A fitted model without its trees, and the trees as a file; the model as it is and None where it has none."""
    if hasattr(model, "_predictors"):
        return _boosted(model)
    if hasattr(model, "estimators_") and hasattr(model, "estimator_"):
        return _forest(model)
    return model, None


def with_trees(model: Any, data: bytes) -> Any:
    """The model that `without_trees` was given, of these files. Raises ValueError for an array of Python objects."""
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        arrays = dict(found)
    return _boosted_again(model, arrays) if hasattr(model, "_predictors") else _forest_again(model, arrays)


def _boosted(model: Any) -> tuple[Any, bytes]:
    trees = [one for step in model._predictors for one in step]
    arrays = {"steps": np.array([len(step) for step in model._predictors], np.int64)}
    for name in ("nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets"):
        parts = [getattr(one, name) for one in trees]
        arrays[name] = np.concatenate(parts)
        arrays[f"{name}_sizes"] = np.array([len(one) for one in parts], np.int64)
    bare = copy(model)
    bare._predictors = []
    return bare, _file(arrays)


def _boosted_again(model: Any, arrays: Mapping[str, Any]) -> Any:
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    names = ("nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets")
    trees = iter([TreePredictor(*parts) for parts in zip(*(_parts(arrays, name) for name in names), strict=True)])
    model._predictors = [[next(trees) for _ in range(count)] for count in arrays["steps"]]
    return model


def _forest(model: Any) -> tuple[Any, bytes]:
    # A tree's own state is what it is pickled by: nodes, values, and how deep it is.
    states = [one.tree_.__getstate__() for one in model.estimators_]
    arrays = {"depths": np.array([one["max_depth"] for one in states], np.int64)}
    for name in ("nodes", "values"):
        arrays[name] = np.concatenate([one[name] for one in states])
        arrays[f"{name}_sizes"] = np.array([len(one[name]) for one in states], np.int64)
    first = copy(model.estimators_[0])
    del first.tree_
    bare = copy(model)
    bare.estimators_ = [first]
    return bare, _file(arrays)


def _forest_again(model: Any, arrays: Mapping[str, Any]) -> Any:
    from sklearn.tree._tree import Tree

    [first] = model.estimators_
    classes = np.atleast_1d(np.asarray(getattr(first, "n_classes_", 1), np.intp))
    model.estimators_ = []
    parts = zip(_parts(arrays, "nodes"), _parts(arrays, "values"), arrays["depths"].tolist(), strict=True)
    for nodes, values, depth in parts:
        one = copy(first)
        one.tree_ = Tree(first.n_features_in_, classes, first.n_outputs_)
        one.tree_.__setstate__({"max_depth": depth, "node_count": len(nodes), "nodes": nodes, "values": values})
        model.estimators_.append(one)
    return model


def _parts(arrays: Mapping[str, Any], name: str) -> list[Any]:
    cuts = np.cumsum(arrays[f"{name}_sizes"])[:-1]
    return [np.ascontiguousarray(one) for one in np.split(arrays[name], cuts)]


def _file(arrays: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()
