"""scikit-learn's models of many trees in few files: skops keeps the model without its trees, arrays have them all.

skops writes an object a tree, each with files of its own: of a boosted model of ten classes that takes longer than many
a fit.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.arrays import array_bytes, array_from

_FOLDER, _ONE_FILE = "trees/", "trees.npz"
"""Where the arrays are: a file each in this folder, in models of before all in one file."""
_OF_A_TREE = ("nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets")
_NODES = "node_"


def without_trees(model: Any) -> tuple[Any, dict[str, bytes]]:
    """A fitted model without its trees, and the trees as files; the model as it is and no file where it has none."""
    if hasattr(model, "_predictors"):
        return _boosted(model)
    if hasattr(model, "estimators_") and hasattr(model, "estimator_"):
        return _forest(model)
    return model, {}


def with_trees(model: Any, files: Mapping[str, bytes]) -> Any:
    """The model that `without_trees` was given, of these files; as it is where none of them has trees. Raises
    ValueError for an array of Python objects."""
    arrays = {
        name.removeprefix(_FOLDER).removesuffix(".npy"): array_from(data)
        for name, data in files.items()
        if name.startswith(_FOLDER)
    }
    if _ONE_FILE in files:
        with np.load(io.BytesIO(files[_ONE_FILE]), allow_pickle=False) as found:
            arrays = dict(found)
    if not arrays:
        return model
    return _boosted_again(model, arrays) if hasattr(model, "_predictors") else _forest_again(model, arrays)


def _boosted(model: Any) -> tuple[Any, dict[str, bytes]]:
    trees = [one for step in model._predictors for one in step]
    arrays = {"steps": np.array([len(step) for step in model._predictors], np.int64)}
    for name in _OF_A_TREE:
        arrays |= _joined(name, [getattr(one, name) for one in trees])
    bare = copy(model)
    bare._predictors = []
    if bare._bin_mapper is not None:
        bare._bin_mapper = copy(model._bin_mapper)
        arrays |= _joined("bins", bare._bin_mapper.bin_thresholds_)
        bare._bin_mapper.bin_thresholds_ = []
    return bare, _files(arrays)


def _boosted_again(model: Any, arrays: Mapping[str, Any]) -> Any:
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    parts = zip(*(_cut(arrays[name], arrays[f"{name}_sizes"]) for name in _OF_A_TREE), strict=True)
    trees = iter([TreePredictor(*one) for one in parts])
    model._predictors = [[next(trees) for _ in range(count)] for count in arrays["steps"]]
    if "bins" in arrays:
        model._bin_mapper.bin_thresholds_ = _cut(arrays["bins"], arrays["bins_sizes"])
    return model


def _forest(model: Any) -> tuple[Any, dict[str, bytes]]:
    # A tree's own state is what it is pickled by: nodes, values, and how deep it is.
    states = [one.tree_.__getstate__() for one in model.estimators_]
    kind = states[0]["nodes"].dtype
    # A field at a time: all nodes side by side are ten times as much as is kept of them.
    nodes = {name: np.concatenate([one["nodes"][name] for one in states]) for name in kind.names or ()}
    values = np.concatenate([one["values"] for one in states])
    arrays = {
        "depths": np.array([one["max_depth"] for one in states], np.int64),
        "sizes": np.array([len(one["nodes"]) for one in states], np.int64),
        "nodes": np.zeros(0, kind),  # for its type
        **{f"{_NODES}{name}": _narrow(found) for name, found in nodes.items()},
    }
    counts = None
    if hasattr(model, "classes_") and values.shape[1] == 1:
        # Shares of classes are those of counts of rows, and Gini's impurity follows from these.
        counts = np.rint(values * nodes["weighted_n_node_samples"][:, None, None])
    if counts is not None and np.array_equal(_shares(counts, nodes), values):
        arrays["counts"] = _narrow(counts)
        if np.array_equal(_gini(counts, nodes), nodes["impurity"]):
            del arrays[f"{_NODES}impurity"]
    else:
        arrays["values"] = values
    first = copy(model.estimators_[0])
    del first.tree_
    bare = copy(model)
    bare.estimators_ = [first]
    return bare, _files(arrays)


def _forest_again(model: Any, arrays: Mapping[str, Any]) -> Any:
    from sklearn.tree._tree import Tree

    [first] = model.estimators_
    classes = np.atleast_1d(np.asarray(getattr(first, "n_classes_", 1), np.intp))
    model.estimators_ = []
    if "sizes" in arrays:
        sizes, nodes = arrays["sizes"], np.zeros(arrays["sizes"].sum(), arrays["nodes"].dtype)
        for name in nodes.dtype.names or ():
            if f"{_NODES}{name}" in arrays:
                nodes[name] = arrays[f"{_NODES}{name}"]
        if "counts" in arrays:
            counts = arrays["counts"].astype(np.float64)
            values = _shares(counts, nodes)
            if f"{_NODES}impurity" not in arrays:
                nodes["impurity"] = _gini(counts, nodes)
        else:
            values = arrays["values"]
    else:
        sizes, nodes, values = arrays["nodes_sizes"], arrays["nodes"], arrays["values"]
    for part, value, depth in zip(_cut(nodes, sizes), _cut(values, sizes), arrays["depths"].tolist(), strict=True):
        one = copy(first)
        one.tree_ = Tree(first.n_features_in_, classes, first.n_outputs_)
        one.tree_.__setstate__({"max_depth": depth, "node_count": len(part), "nodes": part, "values": value})
        model.estimators_.append(one)
    return model


def _shares(counts: NDArray[np.float64], nodes: Any) -> NDArray[np.float64]:
    """Of each node the share of each class, [nodes, 1, classes], as scikit-learn has it of these counts."""
    return counts / nodes["weighted_n_node_samples"][:, None, None]


def _gini(counts: NDArray[np.float64], nodes: Any) -> NDArray[np.float64]:
    """Of each node its impurity, [nodes], as scikit-learn has it of one output."""
    rows = nodes["weighted_n_node_samples"]
    return np.asarray(1.0 - np.einsum("nk,nk->n", counts[:, 0], counts[:, 0]) / (rows * rows))


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in few bytes, where they are whole and their range allows it; else they are as wide as they
    were. Most of a forest's nodes is zeros otherwise."""
    values = np.ascontiguousarray(values)
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        return values
    low, high = int(values.min()), int(values.max())
    kind = np.min_scalar_type(high if low >= 0 else min(low, -high - 1))
    return values if kind.hasobject else values.astype(kind)  # of an object: no integer is as wide


def _joined(name: str, parts: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays as one, and how long each is."""
    return {name: np.concatenate(parts), f"{name}_sizes": np.array([len(one) for one in parts], np.int64)}


def _cut(values: NDArray[Any], sizes: NDArray[np.int64]) -> list[Any]:
    return [np.ascontiguousarray(one) for one in np.split(values, np.cumsum(sizes)[:-1])]


def _files(arrays: Mapping[str, Any]) -> dict[str, bytes]:
    return {f"{_FOLDER}{name}.npy": array_bytes(values) for name, values in arrays.items()}
