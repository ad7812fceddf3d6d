"""Pairs of columns whose values together say more of the target than each alone, such as a month and a day.

A pair's cells are replaced by smoothed target means, as the levels of a category with many are. What CatBoost does with
combinations of categories (Prokhorenkova et al. 2018, section 3.1), for every model, and for numbers of few values too.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALUES_OF_NUMBERS, LEVELS = 64, 400
"""Distinct values up to which a number, and a category, is looked at."""
_COLUMNS, _ROWS, _PARTS = 30, 10_000, 5
_MOST = 2
_SMOOTHING = 10.0
SURE = 5.0
"""Standard errors by which a pair must be better than its columns side by side: hundreds are looked at."""
_BETWEEN = "\x1f"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def found_crosses(features: Any, y: NDArray[Any], n_classes: int, seed: int) -> list[tuple[str, str]]:
    """The pairs of columns that interact, best first: at most two, of four columns; none of more than two classes.

    features, y: a split's training rows (a frame, or some rows of one) and their targets [n], of which at most 10,000
    are looked at. Each row is predicted from the cells' means over other parts of the rows, drawn to what the two
    columns say independently of each other (sums of log-odds; of a number, of effects); a pair counts where its loss is
    surely smaller, by a paired test.
    """
    import pandas as pd

    if n_classes > 2:
        return []
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(y), min(len(y), _ROWS), replace=False))
    part, target = rng.permutation(np.arange(len(rows)) % _PARTS), y[rows].astype(np.float64)
    if target.std() == 0:
        return []
    scale = scale_of(target, n_classes)
    codes: dict[str, Ints] = {}
    counts: dict[str, int] = {}
    for name in features.columns:
        values = features[name].to_numpy()[rows]
        found, levels = pd.factorize(values, use_na_sentinel=False)
        if 1 < len(levels) <= (VALUES_OF_NUMBERS if values.dtype == np.float64 else LEVELS):
            codes[name], counts[name] = found.astype(np.int64), len(levels)
    names = sorted(sorted(counts, key=lambda one: counts[one])[:_COLUMNS], key=list(counts).index)
    effects = {
        name: scale.effect(_others_mean(codes[name], counts[name], target, part, scale.centre)) for name in names
    }
    losses = {name: scale.loss(scale.predicted(effects[name])) for name in names}
    ranked = []
    for one, other in combinations(names, 2):
        if counts[one] * counts[other] > len(rows):
            continue
        apart = scale.predicted(effects[one] + effects[other])
        cells = codes[one] * counts[other] + codes[other]
        together = _others_mean(cells, counts[one] * counts[other], target, part, apart)
        best = min((scale.loss(apart), losses[one], losses[other]), key=lambda loss: float(loss.mean()))
        gain = best - scale.loss(together)
        if sureness(gain) >= SURE:
            ranked.append((-float(gain.mean()), one, other))
    chosen: list[tuple[str, str]] = []
    for _, one, other in sorted(ranked):
        # A second pair of a column mostly repeats what its first one says.
        if len(chosen) < _MOST and not {one, other} & {name for pair in chosen for name in pair}:
            chosen.append((one, other))
    return chosen


def crossed(features: Any, one: str, other: str) -> NDArray[Any]:
    """Two columns as one of texts, [n]: a cell of both values, missing ones too."""
    left, right = (_texts(features[name].to_numpy()) for name in (one, other))
    return np.array([f"{a}{_BETWEEN}{b}" for a, b in zip(left, right, strict=True)], object)


def _texts(values: NDArray[Any]) -> list[str]:
    return [repr(one) if isinstance(one, float) else str(one) for one in values.tolist()]


def _others_mean(cells: Ints, count: int, target: Floats, part: Ints, prior: Floats) -> Floats:
    """Of each row the mean target of its cell over the other parts' rows, drawn to `prior`."""
    place = cells * _PARTS + part
    sums = np.bincount(place, target, count * _PARTS).reshape(count, _PARTS)
    sizes = np.bincount(place, minlength=count * _PARTS).reshape(count, _PARTS)
    total = sums.sum(axis=1)[cells] - sums.ravel()[place]
    size = sizes.sum(axis=1)[cells] - sizes.ravel()[place]
    return (total + _SMOOTHING * prior) / (size + _SMOOTHING)


def sureness(gain: Floats) -> float:
    """By how many standard errors the mean of paired gains, [n], lies above zero."""
    return float(gain.mean() / (gain.std() / np.sqrt(len(gain)) or 1.0))


def scale_of(target: Floats, n_classes: int) -> _Odds | _Effects:
    """How effects add up and predictions are judged: of two classes, or of a number, by the target [n] as 0 and 1 or in
    its unit."""
    return _Odds(target) if n_classes else _Effects(target)


class _Odds:
    """Effects of two classes: log-odds above those of all rows; the loss is the log-loss."""

    def __init__(self, target: Floats) -> None:
        self.target = target
        self.centre = np.full(len(target), target.mean())
        self._middle = float(np.log(target.mean() / (1 - target.mean())))

    def effect(self, mean: Floats) -> Floats:
        return np.asarray(np.log(mean / (1 - mean)) - self._middle)

    def predicted(self, effect: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(effect + self._middle))))

    def loss(self, predicted: Floats) -> Floats:
        return np.asarray(-np.log(np.where(self.target > 0, predicted, 1 - predicted)))


class _Effects:
    """Effects on a number: differences from the mean of all rows; the loss is the squared error."""

    def __init__(self, target: Floats) -> None:
        self.target = target
        self.centre = np.full(len(target), target.mean())

    def effect(self, mean: Floats) -> Floats:
        return mean - self.centre

    def predicted(self, effect: Floats) -> Floats:
        return effect + self.centre

    def loss(self, predicted: Floats) -> Floats:
        return (self.target - predicted) ** 2
