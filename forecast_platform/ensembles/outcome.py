"""What a task came to: its model, its scores on rows it has not seen, and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class Outcome:
    """One task's result.

    node: how it is deployed (None of a route). predicted: cross-fitted predictions of each row, nan where none, [n,
    width]. cells: of a route each row's route, by routers that have not seen the row, [n]. scores, intervals: by
    metric, in its own unit; intervals: the ends of 95 % ones. seconds: of wall time; cpu_seconds: of the processor's.
    """

    task: str
    type: str
    node: dict[str, Any] | None = None
    members: list[dict[str, Any]] = field(default_factory=list)
    """Of each model combined or to choose from: name, algorithm, scores, whether it was chosen, its weight."""
    scores: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    unrouted: dict[str, Any] | None = None
    """The same task without routes on the same folds: its scores, the gain of routing and its interval."""
    against_best: dict[str, Any] | None = None
    """Beside the best single one of its models, on the same rows: its name, the metric, the gain and its interval."""
    routers: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    fits: int = 0
    predicted: Floats | None = None
    cells: NDArray[np.int64] | None = None
    parts: list[Floats] = field(default_factory=list)
    """Of each model that was combined its predictions of rows that it has not seen; for the table, kept there alone."""
    best: tuple[str, Floats] | None = None
    """Name and predictions of the best single model, kept nowhere."""
    bases: list[dict[str, Any]] = field(default_factory=list)
    """Nodes of the base models that the task has made, for votes over them."""

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays, as JSON has it."""
        return {
            name: value for name, value in vars(self).items() if name not in ("predicted", "cells", "parts", "best")
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], predicted: Floats | None, cells: NDArray[np.int64] | None) -> Outcome:
        """What `to_dict` gave, with its arrays: predicted [n, width], cells [n]."""
        values = {**values, "intervals": {name: tuple(pair) for name, pair in values["intervals"].items()}}
        return cls(**values, predicted=predicted, cells=cells)

    @property
    def verdict(self) -> str:
        """Whether routing paid, in words; empty where nothing is routed."""
        if self.unrouted is None:
            return ""
        metric, gain = self.unrouted["metric"], self.unrouted["gain"]
        low, high = self.unrouted["interval"]
        with_, without = self.scores[metric], self.unrouted["scores"][metric]
        text = f"{metric} {with_:.4g} routed, {without:.4g} unrouted on the same folds"
        if not gain:
            return f"the route makes no difference: {text}"
        sure = "" if low > 0 or high < 0 else ", not sure (the interval holds zero)"
        if gain < 0:
            return f"THE ROUTE LOSES: {text}; {-gain:.4g} worse (95 % {-high:.4g} to {-low:.4g}){sure}"
        return f"the route gains: {text}; {gain:.4g} better (95 % {low:.4g} to {high:.4g}){sure}"
