"""Which rows a model is fitted on and which it then predicts: a row's own model has never seen it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class FoldError(ValueError):
    """Rows cannot be folded so; the message says why and what to do."""


@dataclass(frozen=True)
class Split:
    """Rows to fit on and rows to predict, by position; `deployed`: whether its models are in the result."""

    train: Ints
    valid: Ints
    deployed: bool = True


@dataclass(frozen=True)
class Folds:
    """The splits of one workflow. `part`: of each row the split that predicts it, -1 where none does, [n]."""

    kind: str
    splits: tuple[Split, ...]
    part: Ints
    in_order: bool = False
    """Whether a later part may learn from earlier ones only."""
    time: NDArray[Any] | None = None
    until: NDArray[Any] | None = None
    """Where a row's target is seen later than its time (the outcome of a forecast): both, [n]; a part learns only from
    what was seen before its first time."""
    groups: NDArray[Any] | None = None
    """Where folds are grouped: of each row its group, [n]; the rows of one are never on both sides of a split."""

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Rows that some split predicts, [n]."""
        return self.part >= 0

    def meta_pairs(self, rows: NDArray[np.bool_]) -> list[tuple[Ints, Ints]]:
        """The places [m] of what a learner over predictions is fitted on and scored on, a pair a part: never the same
        rows, and in order only what came before. rows: those that there are, [n]."""
        pairs = []
        for one in sorted(set(self.part[rows].tolist())):
            score = np.flatnonzero(rows & (self.part == one))
            fit = np.flatnonzero(rows & ((self.part < one) if self.in_order else (self.part != one)))
            if self.time is not None and self.until is not None:
                fit = fit[self.until[fit] < self.time[score].min()]
            if len(fit):
                pairs.append((fit, score))
        return pairs


def make_folds(
    kind: str,
    y: NDArray[Any],
    count: int,
    seed: int,
    *,
    time: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    until: NDArray[Any] | None = None,
) -> Folds:
    """The folds of a workflow: `kfold` and `stratified` shuffled, `grouped` by `groups` in parts of like size,
    `time_series` in order.

    y: class codes (integers) or numbers, [n]; numbers are stratified by their quantiles. In time order, rows of one
    time are in one part, each part is predicted from what is strictly before it, the first is predicted by none, and
    one more fit on all rows is what is deployed; `until`: when each row's target is seen. Raises FoldError.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    n = len(y)
    if n < 2 * count:
        raise FoldError(f"{n} rows are too few for {count} folds: lower `folds`, or give more rows")
    if kind == "time_series":
        return _in_order(np.asarray(time), count, until)
    if kind == "grouped":
        part = _of_groups(np.asarray(groups), count, seed)
        pairs = ((np.flatnonzero(part != number), np.flatnonzero(part == number)) for number in range(count))
    elif kind == "stratified":
        known, strata, counts = np.unique(strata_of(y), return_inverse=True, return_counts=True)
        # Classes of fewer rows than folds go with the most frequent one: the others' shares are kept all the same.
        strata = np.where(counts >= count, np.arange(len(known)), np.argmax(counts))[strata]
        pairs = StratifiedKFold(count, shuffle=True, random_state=seed).split(y, strata)
    else:
        pairs = KFold(count, shuffle=True, random_state=seed).split(y)
    splits = tuple(Split(train, valid) for train, valid in pairs)
    part = np.full(n, -1)
    for number, one in enumerate(splits):
        part[one.valid] = number
    return Folds(kind, splits, part, groups=groups if kind == "grouped" else None)


def of_rows(values: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """The values, [n, ...], of these rows, ascending and each once: as they are where that is all of them, uncopied."""
    return values if len(rows) == len(values) else values[rows]


def strata_of(y: NDArray[Any], bins: int = 10) -> Ints:
    """Class codes [n] as they are; numbers [n] by the quantile that they are in, 0 to bins - 1: int64 [n]."""
    if np.issubdtype(y.dtype, np.integer):
        return y.astype(np.int64)
    edges = np.unique(np.quantile(y, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, y, side="right")


def _of_groups(groups: NDArray[Any], count: int, seed: int) -> Ints:
    """Of each row its fold, [n], one for all rows of a group: the groups are dealt to the fold with the fewest rows,
    the largest first, those of one size in the order that the seed draws. Raises FoldError where they are too few.

    scikit-learn's GroupKFold gives each fold as many groups, however large they are, once it shuffles
    (findings/group-folds.sh).
    """
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < count:
        raise FoldError(f"{len(sizes)} groups are too few for {count} folds: lower `folds` to {len(sizes)}")
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    fold = np.empty(len(sizes), np.int64)
    filled = [(0, number) for number in range(count)]
    for one in drawn[np.argsort(-sizes[drawn], kind="stable")].tolist():
        rows, least = filled[0]
        fold[one] = least
        heapq.heapreplace(filled, (rows + int(sizes[one]), least))
    return fold[place]


def _in_order(time: NDArray[Any], count: int, until: NDArray[Any] | None) -> Folds:
    known = len(np.unique(time))
    if known <= count:
        raise FoldError(f"{known} times are too few for {count} folds in order: lower `folds`")
    part = _block_of(time, count + 1) - 1
    splits = []
    for number in range(count):
        valid, known_by_then = np.flatnonzero(part == number), part < number
        if until is not None and len(valid):
            known_by_then &= until < time[valid].min()
        if len(valid) and known_by_then.any():
            splits.append(Split(np.flatnonzero(known_by_then), valid))
    kept = np.full(len(time), -1)
    for number, one in enumerate(splits):
        kept[one.valid] = number
    last = Split(np.arange(len(time)), np.empty(0, np.int64))
    made = (*(Split(one.train, one.valid, False) for one in splits), last)
    return Folds("time_series", made, kept, True, None if until is None else time, until)


def holdout(folds: Folds, y: NDArray[Any], share: float, seed: int, time: NDArray[Any] | None, parts: int) -> Folds:
    """One split for blending: `share` of the rows are predicted, by models fitted on the others.

    y, time: the rows' targets and times, [n]. In order, the last ones are; of grouped folds, whole groups drawn; else
    rows drawn, stratified where that is possible. The held-out rows are in `parts` parts for the meta-learner, which
    the one split predicts all; rows of one time, and of one group, are in one. Raises FoldError where too few rows are
    left.
    """
    n = len(y)
    size = max(parts * 2, round(share * n))
    if folds.in_order and time is not None:
        cut = np.sort(time)[n - size]
        valid = np.flatnonzero(time >= cut)
        part = np.full(n, -1)
        part[valid] = _block_of(time[valid], parts)
    else:
        rng = np.random.default_rng(seed)
        part = np.full(n, -1)
        if folds.groups is not None:
            part = _whole_groups(folds.groups, size, parts, rng)
        else:
            strata = strata_of(y) if folds.kind == "stratified" else np.zeros(n, np.int64)
            order = np.lexsort((rng.random(n), strata))
            picked = order[np.unique(np.linspace(0, n - 1, size).round().astype(np.int64))]
            part[picked] = rng.permutation(np.arange(len(picked)) % parts)
        valid = np.flatnonzero(part >= 0)
    train = np.flatnonzero(part < 0)
    if not len(train) or len(valid) < 2 * parts or len(np.unique(part[valid])) < 2:
        what = "rows" if folds.groups is None else "groups, taken whole"
        raise FoldError(f"a holdout of {share:g} of {n} rows leaves too few: give more {what}, or another share")
    return Folds("holdout", (Split(train, valid),), part, in_order=folds.in_order, groups=folds.groups)


def _block_of(time: NDArray[Any], count: int) -> Ints:
    """Of each row which of `count` parts in order it is in, [n]: a time's part follows from the rows up to its last
    one, so that no time is in two."""
    _, place, counts = np.unique(time, return_inverse=True, return_counts=True)
    block: Ints = np.minimum((np.cumsum(counts) - 1) * count // len(time), count - 1)
    return block[place]


def _whole_groups(groups: NDArray[Any], size: int, parts: int, rng: np.random.Generator) -> Ints:
    """Parts 0 to parts - 1 of whole groups, drawn, that hold `size` rows at most but two groups at least; -1 of the
    rows that are left, [n]."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    taken, rows = [], 0
    for one in rng.permutation(len(counts)):
        if rows + counts[one] <= size:
            taken.append(one)
            rows += counts[one]
    if len(taken) < 2:
        taken = np.argsort(counts, kind="stable")[:2].tolist()
    part = np.full(len(counts), -1)
    part[taken] = np.arange(len(taken)) % parts
    return part[place]
