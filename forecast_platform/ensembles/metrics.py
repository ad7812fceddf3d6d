"""Scores of predictions, which way round they rank, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SMALLER_IS_BETTER = frozenset({"rmse", "mae", "log_loss"})
BLOCKS = 20
"""Blocks of rows that are left out in turn for an interval."""


@dataclass(frozen=True)
class Scorer:
    """One metric: of predictions [n, classes] or [n, 1] against class codes or numbers [n]."""

    name: str
    average: str = "weighted"

    @property
    def label(self) -> str:
        """The name, with its average where that is not the default."""
        return self.name if self.average == "weighted" else f"{self.name}_{self.average}"

    @property
    def smaller_is_better(self) -> bool:
        """Whether less is better."""
        return self.name in SMALLER_IS_BETTER

    def __call__(self, y: NDArray[Any], predicted: Floats) -> float:
        """The score; nan where it is not defined (auc of rows of one class)."""
        return _SCORES[self.name](y, predicted, self.average)

    def gain(self, new: float, old: float) -> float:
        """How much better `new` is than `old`, positive where it is better."""
        return old - new if self.smaller_is_better else new - old

    def best_first(self, scores: Sequence[float]) -> list[int]:
        """Positions from the best score to the worst; undefined ones last, equal ones as they stand."""
        values = np.asarray(scores, np.float64)
        key = np.where(np.isnan(values), np.inf, values if self.smaller_is_better else -values)
        return [int(place) for place in np.argsort(key, kind="stable")]


def interval_of(scorer: Scorer, y: NDArray[Any], predicted: Floats, blocks: Ints) -> tuple[float, float]:
    """The 95 % interval of a metric, in its unit, as `interval` has it.

    y: class codes or numbers, [n]; predicted: [n, classes] or [n, 1]; blocks: each row's group, [n].
    """
    return _jackknife(*_without_blocks(scorer, y, predicted, blocks))


def _without_blocks(scorer: Scorer, y: NDArray[Any], predicted: Floats, blocks: Ints) -> tuple[float, Floats]:
    """A metric of all rows, and of those without each block in turn, [blocks]."""
    if scorer.name == "auc":
        return _areas_of_classes(y, predicted, scorer.average, blocks)
    if scorer.name in _COUNTED:
        tables = _tables(y, predicted, blocks)
        whole = tables.sum(axis=0)
        parts = [_of_counts(scorer.name, whole - one, scorer.average) for one in tables]
        return _of_counts(scorer.name, whole, scorer.average), np.array(parts)
    if scorer.name in _LOSSES:
        place = np.unique(blocks, return_inverse=True)[1]
        sums, sizes = np.bincount(place, _LOSSES[scorer.name](y, predicted)), np.bincount(place)
        if len(sums) < 2:
            return scorer(y, predicted), np.full(len(sums), np.nan)
        # The others added up: all less one's cancels where nearly all loss is in that one.
        means = np.array([np.delete(sums, one).sum() / np.delete(sizes, one).sum() for one in range(len(sums))])
        return scorer(y, predicted), np.sqrt(means) if scorer.name == "rmse" else means
    return scorer(y, predicted), _scores_without(lambda keep: scorer(y[keep], predicted[keep]), blocks)


def _scores_without(score: Callable[[NDArray[np.bool_]], float], blocks: Ints) -> Floats:
    return np.array([score(blocks != block) for block in np.unique(blocks)])


def gain_interval_of(scorer: Scorer, y: NDArray[Any], new: Floats, old: Floats, blocks: Ints) -> tuple[float, float]:
    """The 95 % interval of how much better `new` is than `old`, paired: both on the same rows without each block.

    y: class codes or numbers, [n]; new, old: [n, classes] or [n, 1]; blocks: each row's group, [n].
    """
    (whole, parts), (before, others) = (_without_blocks(scorer, y, one, blocks) for one in (new, old))
    sign = -1.0 if scorer.smaller_is_better else 1.0
    return _jackknife(sign * (whole - before), sign * (parts - others))


def blocks_of(n: int, seed: int, *, in_order: bool) -> Ints:
    """A block for each of n rows, [n] of 0 to BLOCKS - 1: drawn, or of neighbours where rows are in order."""
    blocks = np.arange(n) * BLOCKS // max(n, 1)
    return blocks if in_order else np.random.default_rng(seed).permutation(blocks)


def interval(score: Callable[[NDArray[np.bool_]], float], blocks: Ints) -> tuple[float, float]:
    """The 95 % interval of a score, in its unit, by the delete-a-group jackknife (Shao and Tu 1995, section 2.3).

    score: its value over the rows that a mask, bool [n], keeps; blocks: each row's group, [n]. Undefined (nan) where it
    is so without some block.
    """
    return _jackknife(score(np.ones(len(blocks), np.bool_)), _scores_without(score, blocks))


def _jackknife(whole: float, parts: Floats) -> tuple[float, float]:
    """The 95 % interval of a value from those without each group in turn, [groups]."""
    groups = len(parts)
    if groups < 2:
        return float("nan"), float("nan")
    from scipy.stats import t

    error = np.sqrt((groups - 1) / groups * ((parts - parts.mean()) ** 2).sum())
    width = float(t.ppf(0.975, groups - 1) * error)
    return whole - width, whole + width


def labels_of(predicted: Floats) -> Ints:
    """The code of the class that each row's probabilities, [n, classes], favour, the first of equal ones: [n]."""
    return np.argmax(predicted, axis=1)


_COUNTED = ("accuracy", "precision", "recall", "f1")
"""Metrics that follow from how many rows of each class were taken for which."""


def _tables(y: NDArray[Any], predicted: Floats, blocks: Ints) -> Ints:
    """How many rows of each class (a row) were taken for which (a column), block by block: [blocks, classes, classes].

    A fiftieth of the time of scikit-learn's scores of the rows without each block.
    """
    classes = predicted.shape[1]
    known, place = np.unique(blocks, return_inverse=True)
    codes = (place * classes + y) * classes + labels_of(predicted)
    return np.bincount(codes, minlength=len(known) * classes**2).reshape(len(known), classes, classes)


def _of_counts(name: str, counts: Ints, average: str) -> float:
    """One of these metrics of a table [classes, classes], averaged over the classes that a row is of or was taken for
    (scikit-learn's definitions, a share of nothing being zero); nan of no rows."""
    right, true, taken = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    if not true.sum():
        return float("nan")
    if name == "accuracy":
        return float(right.sum() / true.sum())
    if average == "micro":
        right, true, taken = (one.sum(keepdims=True) for one in (right, true, taken))
    elif average == "binary":
        right, true, taken = (one[1:2] for one in (right, true, taken))
    above, below = {"precision": (right, taken), "recall": (right, true), "f1": (2 * right, true + taken)}[name]
    shares = np.divide(above, below, out=np.zeros(len(below)), where=below > 0)
    weights = true if average == "weighted" else (true + taken > 0).astype(np.int64)
    return float(np.average(shares, weights=weights)) if weights.sum() else 0.0


def _counted(name: str) -> Callable[[NDArray[Any], Floats, str], float]:
    def score(y: NDArray[Any], predicted: Floats, average: str) -> float:
        return _of_counts(name, _tables(y, predicted, np.zeros(len(y), np.int64)).sum(axis=0), average)

    return score


def _auc(y: NDArray[Any], predicted: Floats, average: str) -> float:
    present = np.unique(y)
    if len(present) < 2:
        return float("nan")
    if predicted.shape[1] == 2:
        return _area(y == 1, predicted[:, 1])
    shares = [_area(y == one, predicted[:, one]) for one in present]
    weights = [float(np.mean(y == one)) for one in present] if average == "weighted" else None
    return float(np.average(shares, weights=weights))


def _area(inside: NDArray[np.bool_], share: Floats) -> float:
    """The area under the ROC curve, by pairs that are in order (Mann and Whitney 1947): a tenth of the time of
    scikit-learn's curve."""
    order = np.argsort(share)
    _, ins, beaten = _beaten(inside[order], share[order])
    count = int(inside.sum())
    return float(ins @ beaten) / (count * (len(inside) - count))


def _beaten(inside: NDArray[np.bool_], share: Floats, group: NDArray[Any] | None = None) -> tuple[Ints, Ints, Floats]:
    """Of rows in order of their shares (within groups one after the other): where each tie of equal shares begins; how
    many of its rows are inside; and how many rows before it are outside, its own counting half: sums that are exact."""
    apart = share[1:] != share[:-1]
    if group is not None:
        apart |= group[1:] != group[:-1]
    first = np.flatnonzero(np.append(True, apart))
    del apart
    ins = np.add.reduceat(inside, first, dtype=np.int64)
    outs = np.diff(first, append=len(share)) - ins
    beaten = np.cumsum(outs, dtype=np.float64)
    beaten -= outs / 2
    return first, ins, beaten


def _areas_of_classes(y: NDArray[Any], predicted: Floats, average: str, blocks: Ints) -> tuple[float, Floats]:
    """`_auc` of all rows, and of those without each block in turn, [blocks]."""
    if predicted.shape[1] == 2:
        return _areas(y == 1, predicted[:, 1], blocks)
    known, place = np.unique(blocks, return_inverse=True)
    wholes, parts, counts, lost = [], [], [], []
    for one in np.unique(y):
        inside = y == one
        whole, without = _areas(inside, predicted[:, one], blocks)
        wholes.append(whole)
        parts.append(without)
        counts.append(inside.sum())
        lost.append(np.bincount(place[inside], minlength=len(known)))

    def mean(areas: Floats, rows: Ints) -> Floats:
        """Over the classes [classes, k] that have rows; nan where fewer than two have."""
        there = rows > 0
        weights = np.where(there, rows if average == "weighted" else 1, 0)
        total = (np.where(there, areas, 0.0) * weights).sum(axis=0)
        return np.where(there.sum(axis=0) > 1, total / np.maximum(weights.sum(axis=0), 1), np.nan)

    count = np.array(counts)[:, None]
    return float(mean(np.array(wholes)[:, None], count)[0]), mean(np.array(parts), count - np.array(lost))


def _areas(inside: NDArray[np.bool_], share: Floats, blocks: Ints) -> tuple[float, Floats]:
    """The area under the ROC curve of all rows, and those without each block in turn, by two sorts instead of one a
    block: of the pairs of a row inside and one outside, those leave that a row of the block is part of."""
    if not len(share):
        return float("nan"), np.zeros(0)
    known, group, rows = np.unique(blocks, return_inverse=True, return_counts=True)
    group = group.astype(np.int16 if len(group) == 0 or group.max() < 2**15 else np.int64)
    counts = np.bincount(group, inside, len(known))
    order = np.argsort(share)
    inside, share, group = inside[order], share[order], group[order]
    first, ins, beaten = _beaten(inside, share)
    total = float(ins @ beaten)
    # Of a row outside, those inside that beat it.
    lost = np.cumsum(ins, dtype=np.float64)
    lost -= ins / 2
    np.subtract(ins.sum(), lost, out=lost)
    sizes = np.diff(first, append=len(share))
    del first, ins, order  # of a large table these are much of what scoring it takes
    of_rows = np.repeat(beaten, sizes)
    np.copyto(of_rows, np.repeat(lost, sizes), where=~inside)
    del beaten, lost, sizes
    won = np.bincount(group, of_rows, len(known))
    del of_rows
    order = np.argsort(group, kind="stable")
    first, ins, beaten = _beaten(inside[order], share[order], group[order])
    starts = np.searchsorted(first, np.cumsum(rows) - rows)
    before = np.cumsum(rows - counts) - (rows - counts)
    both = np.add.reduceat(ins * beaten, starts) - before * counts
    pairs = counts.sum() * (rows - counts).sum()
    left = (counts.sum() - counts) * ((rows - counts).sum() - (rows - counts))
    parts = (total - won + both) / np.where(left > 0, left, np.nan)
    return (total / pairs if pairs else float("nan")), parts


def _surprises(y: NDArray[Any], predicted: Floats) -> Floats:
    """Negative log-likelihoods, in nats, of class codes [n] under probabilities [n, classes]: [n]."""
    taken = np.clip(predicted[np.arange(len(y)), y], 1e-15, 1.0)
    return np.asarray(-np.log(taken / np.maximum(predicted.sum(axis=1), 1e-15)))


_LOSSES: dict[str, Callable[[NDArray[Any], Floats], Floats]] = {
    "log_loss": _surprises,
    "rmse": lambda y, predicted: (y - predicted[:, 0]) ** 2,
    "mae": lambda y, predicted: np.abs(y - predicted[:, 0]),
}
"""Metrics that are means of rows' own losses, [n]; rmse is the root of theirs."""


def log_loss(y: NDArray[Any], predicted: Floats, _: str = "") -> float:
    """Mean negative log-likelihood, in nats, of class codes [n] under probabilities [n, classes]."""
    return float(_surprises(y, predicted).mean())


def _rmse(y: NDArray[Any], predicted: Floats, _: str = "") -> float:
    return float(np.sqrt(_LOSSES["rmse"](y, predicted).mean()))


def _mae(y: NDArray[Any], predicted: Floats, _: str = "") -> float:
    return float(_LOSSES["mae"](y, predicted).mean())


def _r2(y: NDArray[Any], predicted: Floats, _: str = "") -> float:
    spread = float(np.sum((y - y.mean()) ** 2))
    return 1.0 - float(np.sum((y - predicted[:, 0]) ** 2)) / spread if spread > 0 else float("nan")


_SCORES: dict[str, Callable[[NDArray[Any], Floats, str], float]] = {
    **{name: _counted(name) for name in _COUNTED},
    "auc": _auc,
    "log_loss": log_loss,
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
}
