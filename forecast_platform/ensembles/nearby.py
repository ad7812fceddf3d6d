"""What the rows near a row say of the target, within the cell of a pair of columns that interact (crosses.py).

Of a month and a day: how the flights of that day went that leave at about the same hour, and of these the carrier's.
A mean over the rows of the cell, weighed by how near they are along a number (a normal kernel over its quantile bins,
Nadaraya 1964 and Watson 1964), or over those of one level of a third column, drawn to what is known without it (as
Micci-Barreca 2001 does). Which columns are taken is found by rows that the means have not seen.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.crosses import LEVELS, SURE, VALUES_OF_NUMBERS, found_crosses, scale_of, sureness

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BINS, _WIDTH = 24, 2.0
"""Bins of a number that is gone along, and the kernel's standard deviation in them."""
_PARTS, _ROWS = 5, 50_000
_COLUMNS = 30
"""Numbers, and columns of levels, that are looked at."""
_FEWEST = 4
"""Rows that a level of a cell has on average at the least, for means along a number within it, which take a table."""
_CELL, _LEVEL, _ALONG = 5.0, 20.0, 1.0
"""Rows' weights that what is known without a mean counts as: of the cell's, of a level's, of one along a number. The
last is a poor prediction by itself and a better feature than one that is drawn harder, so that it is tested with the
second."""
_TRIED = (0.2, 1.0, 3.0, 8.0, 20.0)
_MOST_ALONG, _MOST_WITHIN = 2, 6
_ALIKE = 0.9
"""Correlation over which one mean says what another does."""


class Near(TypedDict):
    """One mean. along: the number along which rows are near. within: the column whose level they share. onto: the place
    of the mean that it is drawn to; -1 is the cell's own."""

    along: str | None
    within: str | None
    onto: int


def found_pairs(
    features: Any, y: NDArray[Any], n_classes: int, seed: int
) -> tuple[list[tuple[str, str]], list[Near]]:  # fmt: skip
    """The pairs of columns that interact, and the means of near rows within the first one's cells, of training
    rows, a frame of n, and their targets y [n]."""
    pairs = found_crosses(features, y, n_classes, seed)
    return pairs, found_near(features, y, n_classes, pairs[0], seed) if pairs else []


def found_near(
    features: Any, y: NDArray[Any], n_classes: int, pair: tuple[str, str], seed: int
) -> list[Near]:  # fmt: skip
    """The means that predict other rows' target surely better than those that they are drawn to, best first of each
    kind; of at most 50,000 of the rows.

    features, y: a split's training rows, a frame of n, and their targets [n]. Each is compared by a paired test on rows
    of parts that it was not made of.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(y), min(len(y), _ROWS), replace=False))
    target = y[rows].astype(np.float64)
    if n_classes > 2 or target.std() == 0:
        return []
    scale, part = scale_of(target, n_classes), rng.permutation(np.arange(len(rows)) % _PARTS)
    taken = {name: features[name].to_numpy()[rows] for name in features.columns}
    columns = {name: _Column.of(values) for name, values in taken.items()}
    cells = _cells([columns[name].codes(taken[name]) for name in pair])
    whole = _drawn(_sums(cells, None, target, part), target.mean(), _CELL)

    def tried_with(along: str | None, within: str | None, groups: Ints, onto: Floats, place: int) -> _Tried:
        bins = None if along is None else columns[along].bins(taken[along])
        sums, loss = _sums(groups, bins, target, part), scale.loss(onto)
        best: _Tried | None = None
        # What a mean over too few or too many rows leaves unsaid, any further mean of the cell would seem to say.
        for strength in _TRIED if within is None else (_LEVEL,):
            found = _drawn(sums, onto, strength)
            gain = loss - scale.loss(found)
            if best is None or gain.mean() > best.gain:
                best = _Tried(float(gain.mean()), sureness(gain), Near(along=along, within=within, onto=place), found)
        assert best is not None  # noqa: S101 - there are strengths
        return best

    numbers = [name for name in columns if name not in pair and columns[name].is_along][:_COLUMNS]
    chosen = _distinct([tried_with(name, None, cells, whole, -1) for name in numbers], whole, _MOST_ALONG)
    base, place = (chosen[0].values, 0) if chosen else (whole, -1)
    along = chosen[0].near["along"] if chosen else None
    tried = []
    levelled = [name for name in columns if name not in (*pair, along) and columns[name].is_level]
    for name in levelled[:_COLUMNS]:
        groups = _cells([cells, columns[name].codes(taken[name])])
        tried.append(tried_with(None, name, groups, base, place))
        if along is not None and len(np.unique(groups)) <= len(rows) / _FEWEST:
            tried.append(tried_with(along, name, groups, base, place))
    return [one.near for one in [*chosen, *_distinct(tried, base, _MOST_WITHIN)]]


@dataclass(frozen=True)
class _Tried:
    gain: float
    sure: float
    near: Near
    values: Floats


def _distinct(tried: Sequence[_Tried], onto: Floats, most: int) -> list[_Tried]:
    """The best sure ones, without those that say what a better one does."""
    chosen: list[_Tried] = []
    for one in sorted(tried, key=lambda one: -one.gain):
        if len(chosen) == most or one.sure < SURE:
            continue
        if all(np.corrcoef(one.values - onto, other.values - onto)[0, 1] < _ALIKE for other in chosen):
            chosen.append(one)
    return chosen


def fit_near(
    features: Any, y: NDArray[Any], pair: tuple[str, str], near: Sequence[Near], seed: int
) -> tuple[dict[str, Any], Floats]:
    """The means' state, JSON, and the means of the rows themselves, each from other parts of them, [n, len(near)]."""
    target = y.astype(np.float64)
    part = np.random.default_rng(seed).permutation(np.arange(len(y)) % _PARTS)
    names = dict.fromkeys([*pair, *(one[kind] for one in near for kind in ("along", "within") if one[kind])])
    columns = {name: _Column.of(features[name].to_numpy()) for name in names if name is not None}
    coded = _coded(columns, features)
    made = _means(near, pair, coded, target, coded, float(target.mean()), part)
    state = {
        "pair": list(pair),
        "near": [dict(one) for one in near],
        "columns": {name: column.to_dict() for name, column in columns.items()},
        "rows": [[kind, name, _packed(found)] for (kind, name), found in coded.items()],
        "target": _packed(target),
        "mean": float(target.mean()),
        "centre": made.mean(axis=0).tolist(),
        "spread": [float(one) or 1.0 for one in made.std(axis=0)],
    }
    return state, made


def apply_near(state: Mapping[str, Any], features: Any) -> Floats:
    """The means of rows that are none of those that were fitted on, [n, k]."""
    columns = {name: _Column.from_dict(found) for name, found in state["columns"].items()}
    known = {(kind, name): _unpacked(text).astype(np.int64) for kind, name, text in state["rows"]}
    target = _unpacked(state["target"])
    return _means(state["near"], state["pair"], known, target, _coded(columns, features), state["mean"], None)


def _means(
    near: Sequence[Mapping[str, Any]], pair: Sequence[str], known: Mapping[tuple[str, str], Ints], target: Floats,
    asked: Mapping[tuple[str, str], Ints], mean: float, part: Ints | None,
) -> Floats:  # fmt: skip
    """part: of the rows where those that are asked for are those that are known."""

    def sums(along: str | None, within: str | None) -> tuple[Floats, Floats]:
        names = [*pair, *([] if within is None else [within])]
        groups = [_cells([one["code", name] for name in names]) for one in (known, asked)]
        bins = [None if along is None else one["bin", along] for one in (known, asked)]
        if part is not None:
            return _sums(groups[0], bins[0], target, part)
        return _sums_at(groups[0], bins[0], target, groups[1], bins[1])

    cell = _drawn(sums(None, None), mean, _CELL)
    made: list[Floats] = []
    for one in near:
        onto = cell if one["onto"] < 0 else made[one["onto"]]
        made.append(_drawn(sums(one["along"], one["within"]), onto, _LEVEL if one["along"] is None else _ALONG))
    return np.column_stack(made)


def _drawn(sums: tuple[Floats, Floats], onto: Floats | float, strength: float) -> Floats:
    total, weight = sums
    return np.asarray((total + strength * onto) / (weight + strength))


def _kernel() -> Floats:
    apart = np.subtract.outer(np.arange(_BINS), np.arange(_BINS)) / _WIDTH
    return np.asarray(np.exp(-0.5 * apart**2))


def _sums(groups: Ints, bins: Ints | None, target: Floats, part: Ints) -> tuple[Floats, Floats]:
    """Of each row the weighed sum of its group's targets over the other parts' rows, and the sum of weights."""
    levels, places = np.unique(groups, return_inverse=True)
    width = 1 if bins is None else _BINS
    there = np.ones(len(groups), bool) if bins is None else bins >= 0
    at = np.zeros(len(groups), np.int64) if bins is None else np.maximum(bins, 0)
    found = []
    for values in (target * there, there.astype(np.float64)):
        place = (places * _PARTS + part) * width + at
        table = np.bincount(place, values, len(levels) * _PARTS * width).reshape(-1, width)
        weighed = table if bins is None else table @ _kernel()
        own = weighed.ravel()[place]
        everything = weighed.reshape(len(levels), _PARTS, width).sum(axis=1).ravel()[places * width + at]
        found.append((everything - own) * there)
    return found[0], found[1]


def _sums_at(
    groups: Ints, bins: Ints | None, target: Floats, asked: Ints, at: Ints | None
) -> tuple[Floats, Floats]:  # fmt: skip
    """As `_sums`, of other rows, from all of the known ones."""
    levels, places = np.unique(groups, return_inverse=True)
    place = np.minimum(np.searchsorted(levels, asked), len(levels) - 1)
    there = levels[place] == asked
    if bins is None or at is None:
        kept, own, width = np.ones(len(groups), bool), place, 1
        spots = places
    else:
        there &= at >= 0
        kept, own, width = bins >= 0, place * _BINS + np.maximum(at, 0), _BINS
        spots = places * _BINS + np.maximum(bins, 0)
    found = []
    for values in (target * kept, kept.astype(np.float64)):
        table = np.bincount(spots, values, len(levels) * width).reshape(-1, width)
        weighed = table if width == 1 else table @ _kernel()
        found.append(weighed.ravel()[own] * there)
    return found[0], found[1]


def _cells(codes: Sequence[Ints]) -> Ints:
    """One number a combination of codes, the same for the same one wherever it is made."""
    made = codes[0]
    for one in codes[1:]:
        # Codes are below this: levels of a column and one for those that are none.
        made = made * (VALUES_OF_NUMBERS + LEVELS) + one
    return made


@dataclass(frozen=True)
class _Column:
    """How a column's values become codes: its levels, and a number's edges of bins."""

    levels: list[Any]
    edges: list[float] | None

    @classmethod
    def of(cls, values: NDArray[Any]) -> _Column:
        if values.dtype != np.float64:
            return cls(sorted({one for one in values.tolist() if one is not None}), None)
        known = values[~np.isnan(values)]
        levels = np.unique(known)
        few = levels.tolist() if len(levels) <= VALUES_OF_NUMBERS else []
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])).tolist() if len(known) else []
        return cls(few, edges)

    @property
    def is_level(self) -> bool:
        return 1 < len(self.levels) <= LEVELS

    @property
    def is_along(self) -> bool:
        return self.edges is not None and len(self.edges) > 2

    def codes(self, values: NDArray[Any]) -> Ints:
        """The number of each value's level from 1; 0 where it is missing or none of them."""
        import pandas as pd

        kind = object if self.edges is None else np.float64
        return np.asarray(pd.Index(self.levels, dtype=kind).get_indexer(pd.Index(values, dtype=kind)), np.int64) + 1

    def bins(self, values: NDArray[np.float64]) -> Ints:
        """The bin of each value; -1 where it is missing."""
        found = np.searchsorted(np.asarray(self.edges), values, side="right")
        return np.where(np.isnan(values), -1, found).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        return {"levels": self.levels, "edges": self.edges}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> _Column:
        return cls(state["levels"], state["edges"])


def _coded(columns: Mapping[str, _Column], features: Any) -> dict[tuple[str, str], Ints]:
    found = {}
    for name, column in columns.items():
        values = features[name].to_numpy()
        if column.levels:
            found["code", name] = column.codes(values)
        if column.edges is not None:
            found["bin", name] = column.bins(values)
    return found


def _packed(values: NDArray[Any]) -> str:
    """An array as text; codes in two bytes, as they are of some hundred levels at most."""
    sink = io.BytesIO()
    np.save(sink, values if values.dtype == np.float64 else values.astype(np.int16), allow_pickle=False)
    return base64.b64encode(zlib.compress(sink.getvalue())).decode()


def _unpacked(text: str) -> NDArray[Any]:
    return np.load(io.BytesIO(zlib.decompress(base64.b64decode(text))), allow_pickle=False)
