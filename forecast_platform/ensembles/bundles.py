"""One fit of one base model on one split, as files: what it predicted, its encoder, and its learners by route."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.arrays import array_bytes, array_from
from forecast_platform.ensembles.catalog import Base
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.learners import Learner, LearnerError
from forecast_platform.ensembles.signed import Signer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# 2026-11: Python 3.11.7 counts the depth of all threads' ast.parse in one number, and each .npy header is parsed so:
# https://github.com/python/cpython/issues/106905. Files are read in one thread at a time.
_PARSING = threading.Lock()


@dataclass(frozen=True)
class Fitted:
    """A base model fitted on one split.

    learners: by route; `-1` is the one for rows of a route that was too small, and the only one where none is routed.
    valid: its predictions of the split's held-out rows, [n_valid, width]. gpu: the name of the GPU that it was fitted
    on; empty where it was the processor.
    """

    base: Base
    encoder: Encoder
    learners: dict[int, Learner]
    valid: Floats
    seconds: float
    notes: tuple[str, ...] = ()
    gpu: str = ""

    def predict(self, encoded: Any, extra: Floats | None, cells: Ints | None) -> Floats:
        """Predictions of rows, [n, width]: probabilities by class, or numbers in the target's unit.

        encoded: the rows as `encoder` makes them; extra: further columns, [n, k]; cells: each row's route, [n]. Raises
        KeyError for a route without a learner, where no common one is fitted.
        """
        return by_cell(self.learners, with_extra(encoded, extra), cells)

    def files(self) -> dict[str, bytes]:
        """The fit as files."""
        about = {"base": self.base.name, "cells": sorted(self.learners), "seconds": self.seconds}
        about |= {"gpu": self.gpu} if self.gpu else {}
        found = {
            "about.json": json.dumps({**about, "notes": list(self.notes)}).encode(),
            "encoder.json": self.encoder.text.encode(),
            "valid.npy": array_bytes(self.valid),
        }
        for cell, learner in self.learners.items():
            found |= {f"cell_{cell}/{name}": data for name, data in learner.files().items()}
        return found

    @classmethod
    def load(
        cls,
        base: Base,
        files: Mapping[str, bytes],
        *,
        whole: bool = True,
        signer: Signer | None = None,
        place: str = "",
    ) -> Fitted:
        """The fit of these files; not `whole`: what it has predicted, without its encoder and models.

        signer, place: who says whose pickles they are, and the key and split that they were signed for. Raises
        LearnerError; ArtifactError where the warehouse has not signed them.
        """
        if base.pickled and whole:
            if signer is None:
                raise LearnerError(f"{base.name} is kept as pickles, which are opened only where they are signed")
            signer.verify(place, files)
        about = json.loads(files["about.json"])
        learners = {}
        with _PARSING:
            for cell in about["cells"] if whole else ():
                prefix = f"cell_{cell}/"
                own = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
                learners[int(cell)] = Learner.load(base, own)
            valid = array_from(files["valid.npy"])
        encoder = _encoder_of(files["encoder.json"]) if whole else Encoder({})
        return cls(base, encoder, learners, valid, about["seconds"], tuple(about["notes"]), about.get("gpu", ""))


@lru_cache(maxsize=8)
def _encoder_of(text: bytes) -> Encoder:
    """One encoder for all models that encode alike: its text is long."""
    return Encoder(json.loads(text))


def by_cell(learners: Mapping[int, Learner], x: Any, cells: Ints | None) -> Floats:
    """Predictions of encoded rows, [n, width], each by its route's learner: probabilities by class, or numbers in the
    target's unit.

    cells: the rows' routes, [n]. Raises KeyError for a route without a learner, where no common one is fitted.
    """
    if cells is None:
        return learners[-1].predict(x)
    made: Floats | None = None
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        learner = learners.get(int(cell), learners.get(-1))
        if learner is None:
            raise KeyError(f"no learner for route {cell}")
        found = learner.predict(rows_of(x, rows))
        if made is None:
            made = np.zeros((len(cells), found.shape[1]))
        made[rows] = found
    assert made is not None  # noqa: S101 - there are rows
    return made


def rows_of(x: Any, rows: Ints) -> Any:
    """Some rows, by their places [m], of an array [n, k] or a frame of n rows."""
    return x.iloc[rows] if hasattr(x, "iloc") else x[rows]


def with_extra(x: Any, extra: Floats | None) -> Any:
    """Encoded rows, [n, k] or a frame of n rows, with further columns of numbers, [n, m]."""
    if extra is None:
        return x
    if hasattr(x, "assign"):
        return x.assign(**{f"__extra_{number}": extra[:, number] for number in range(extra.shape[1])})
    return np.column_stack([x, extra.astype(np.float32)])


def extra_columns(predictions: Sequence[Floats], n_classes: int) -> Floats:
    """Predictions, [n, width] each, as features, [n, k]: of two classes the second, of more all but the first; numbers
    as they are."""
    return np.column_stack([one[:, 1:] if n_classes else one for one in predictions])
