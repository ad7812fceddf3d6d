"""A workflow's result applied to rows: from the node of its last task down to the base models' fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.bundles import Fitted, extra_columns
from forecast_platform.ensembles.combining import apply_node, calibrated
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.routing import Router, cells_of

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


_REMEMBERED = 20_000
"""Rows up to which their encodings are kept for the other models of a split; of more they would take much memory."""


@dataclass
class Predictor:
    """Predicts with fold models, averaged.

    fits: by (key, split) a base model's fit. deployed: the splits whose models count, by splits' name.
    """

    n_classes: int
    routers: Mapping[str, Mapping[str, list[Router]]]
    deployed: Mapping[str, list[int]]
    fits: Callable[[str, str, int], Fitted]
    _known: dict[str, Floats] = field(default_factory=dict)
    _encoded: list[tuple[Encoder, Any]] = field(default_factory=list)

    def predict(self, node: Mapping[str, Any], features: pd.DataFrame, split: int | None = None) -> Floats:
        """Probabilities [n, classes] or numbers [n, 1] of prepared rows; split: by the models of this one alone."""
        self._known.clear()
        self._encoded.clear()
        try:
            return self._of(node, features, split)
        finally:
            self._known.clear()
            self._encoded.clear()

    def _of(self, node: Mapping[str, Any], features: pd.DataFrame, split: int | None) -> Floats:
        kind = node["kind"]
        if kind == "base":
            if node["key"] not in self._known:
                self._known[node["key"]] = self._base(node, features, split)
            return self._known[node["key"]]
        if kind == "routed":
            return self._routed(node, features, split)
        node = weighed(node)
        members = [self._of(one, features, split) for one in node["members"]]
        return calibrated(node.get("calibration"), apply_node(node, members))

    def _routed(self, node: Mapping[str, Any], features: pd.DataFrame, split: int | None) -> Floats:
        """Each row by the combination of its route."""
        routers = self.routers[node["splits"]]
        number = self.deployed[node["splits"]][-1] if split is None else split
        cells = cells_of([routers[name][number] for name in node["routes"]], features, None)
        made = self._of(node["rest"], features, split)
        for cell, part in node["cells"].items():
            inside = cells == int(cell)
            if inside.any():
                made = np.where(inside[:, None], self._of(part, features, split), made)
        return made

    def _base(self, node: Mapping[str, Any], features: pd.DataFrame, split: int | None) -> Floats:
        setup = node["setup"]
        extra = None
        if node["extra"]:
            extra = extra_columns([self._of(one, features, split) for one in node["extra"]], self.n_classes)
        own = self.deployed[setup["splits"]]
        routers = self.routers.get(setup["splits"], {})
        numbers = [split] if split is not None and setup["splits"] == "folds" else own
        total: Floats | None = None
        for number in numbers:
            fitted = self.fits(node["key"], node["base"], number)
            rows = features
            if setup["columns"]:
                routes = {
                    f"route_{name}": routers[name][number].assign(features).astype(str).astype(object)
                    for name in setup["columns"]
                }
                rows = features.assign(**routes)
            cells = None
            if setup["routes"]:
                cells = cells_of([routers[name][number] for name in setup["routes"]], features, None)
            # Rows with routes as columns are other rows for each split.
            encoded = fitted.encoder.apply(rows) if setup["columns"] else self._as_numbers(fitted.encoder, rows)
            found = fitted.predict(encoded, extra, cells)
            total = found if total is None else total + found
        assert total is not None  # noqa: S101 - a workflow has splits
        return total / len(numbers)

    def _as_numbers(self, encoder: Encoder, rows: pd.DataFrame) -> Any:
        """The rows encoded, once for all models of a split that encode alike."""
        for known, encoded in self._encoded:
            if known.state == encoder.state:
                return encoded
        encoded = encoder.apply(rows)
        if len(rows) <= _REMEMBERED:
            self._encoded.append((encoder, encoded))
        return encoded


def weighed(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A combination without the members that it gives no weight: they are not predicted, and no part of the model."""
    if node["kind"] != "weights" or all(node["weights"]):
        return node
    counted = [place for place, weight in enumerate(node["weights"]) if weight]
    return {**node, **{name: [node[name][place] for place in counted] for name in ("weights", "members")}}


def bases_in(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The base models that a node needs, by key."""
    if node["kind"] == "base":
        found = {node["key"]: dict(node)}
        for one in node["extra"]:
            found |= bases_in(one)
        return found
    found = {}
    parts = (node["rest"], *node["cells"].values()) if node["kind"] == "routed" else weighed(node)["members"]
    for one in parts:
        found |= bases_in(one)
    return found
