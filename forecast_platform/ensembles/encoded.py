"""A split's rows as base models take them: encoded once for all models that encode alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.encoding import Encoder, Encoding, RowsOf, TargetMeans
from forecast_platform.ensembles.memory import Memory
from forecast_platform.ensembles.nearby import Near, found_pairs
from forecast_platform.ensembles.ratios import found_ratios

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]


@dataclass
class EncodedRows:
    """The encodings of a few splits' rows.

    seed: of what is drawn to find further features. transforms: of each included feature what is done to it. pairs:
    whether columns that interact are looked for.
    """

    seed: int
    transforms: Mapping[str, tuple[str, ...]]
    pairs: bool
    memory: Memory
    _made: dict[Any, tuple[Encoder, Any, Any]] = field(default_factory=dict)
    _means: dict[Any, dict[str, TargetMeans]] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def of(
        self, encoding: Encoding, split: Hashable, features: Callable[[], pd.DataFrame], y: NDArray[Any],
        n_classes: int, train: Ints, valid: Ints,
    ) -> tuple[Encoder, Any, Any]:  # fmt: skip
        """An encoder that was fitted on the training rows, and the encoded training and held-out rows: arrays [n, k],
        or frames.

        split: which split it is, and of which features. features: makes those of all rows, [rows, k]; y: class codes or
        numbers, [rows]. train, valid: places of rows.
        """
        place = (split, len(train), int(train.sum()))
        # One at a time: models of one split begin at once, and would each encode its rows.
        with self._making:
            found = self._made.get((encoding, place))
            if found is None:
                frame, own, memory = features(), y[train], self.memory
                rows = RowsOf(frame, train)
                pairs: list[tuple[str, str]] = []
                near: list[Near] = []
                if encoding != "given" and self.pairs:
                    if place not in memory.crosses:
                        memory.crosses[place] = found_pairs(rows, own, n_classes, self.seed)
                    pairs, near = memory.crosses[place]
                if place not in memory.ratios:
                    memory.ratios[place] = found_ratios(frame, self.seed, train)
                ratios = memory.ratios[place] if encoding != "given" else []
                encoder, x = Encoder.fit(
                    encoding, rows, own, n_classes, self.seed, self.transforms, pairs,
                    self._means.setdefault(place, {}), ratios, near,
                )  # fmt: skip
                found = self._made[encoding, place] = encoder, x, encoder.apply(RowsOf(frame, valid))
        return found

    def forget(self, *, means: bool) -> None:
        """Let the encoded rows go; means: and the categories' means, which other encodings of the split share."""
        self._made.clear()
        if means:
            self._means.clear()
