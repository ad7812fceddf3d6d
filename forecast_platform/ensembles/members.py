"""What tasks ask a workshop for, and what they get: base models under a setup, and their predictions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.catalog import Base
from forecast_platform.ensembles.folds import FoldError, Split
from forecast_platform.ensembles.gpu import CPU

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAST_WITH_EXTRA = 20
"""Rows with the predictions of earlier models below which nothing is fitted on those."""


@dataclass(frozen=True)
class Setup:
    """What a base model is fitted under: routes that part the rows, and routes that are a column; which splits."""

    routes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    splits: str = "folds"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"routes": list(self.routes), "columns": list(self.columns), "splits": self.splits}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setup:
        """What `to_dict` gave."""
        return cls(tuple(values["routes"]), tuple(values["columns"]), values["splits"])


@dataclass(frozen=True)
class Wanted:
    """A base model under a setup, with the predictions of others as further features; fitted on cpu or cuda."""

    base: Base
    setup: Setup
    extra: tuple[Member, ...] = ()
    device: str = CPU

    def with_extra(self, rows: Ints) -> Ints:
        """Those of these rows, by their places [m], that have the predictions which are further features."""
        if not self.extra:
            return rows
        return rows[np.all([np.isfinite(one.predicted[rows]).all(axis=1) for one in self.extra], axis=0)]

    def can_fit(self, split: Split) -> bool:
        """Whether there is something to fit on: of a series in order, no early part has predictions of those before it.

        Raises FoldError where that is so of a split that the result is made of.
        """
        count = len(self.with_extra(split.train)) if self.extra else _LEAST_WITH_EXTRA
        if count < _LEAST_WITH_EXTRA and split.deployed:
            raise FoldError(
                f"{count} rows have predictions of the models before {self.base.name}, {_LEAST_WITH_EXTRA} are the "
                "least to learn from: more rows or folds, a larger holdout, or fewer levels"
            )
        return count >= _LEAST_WITH_EXTRA


@dataclass(frozen=True, eq=False)
class Member:
    """A model to combine: how it is deployed, and its predictions of rows that it has not seen, [n, width]."""

    name: str
    algorithm: str
    node: dict[str, Any]
    predicted: Floats
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The hash of its predictions."""
        return hashlib.sha256(self.predicted.tobytes()).hexdigest()
