"""What one of several columns that nearly say the same says beyond the others, such as a weight beyond three lengths.

Models that part rows by one column at a time hardly see it. Of columns above zero it is a ratio (a difference of
logarithms, with the slopes of least squares), of others a difference. No target is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ratio = dict[str, Any]
"""name: of the new column; of: the column; by: the others; slopes: theirs; level; logs: of which columns."""

_COLUMNS, _ROWS = 40, 10_000
"""Numbers up to which a table is looked at, and how many of its rows."""
_ALIKE = 0.9
"""Rank correlation from which two columns nearly say the same."""
_MOST = 12
_DISTINCT = 20
_BESIDE = "\x00 beside "
"""Between the names of a column and those it is compared with; no column has it."""


def found_ratios(features: pd.DataFrame, seed: int, rows: NDArray[np.int64] | None = None) -> list[Ratio]:
    """The columns to add, of those that are alike by rank correlation: of each pair one, most alike first, and of each
    column that is like several what it says beyond all of them; at most 12 in all.

    features: a frame, of which these rows, by their places [n], are a split's training rows (all where none are named);
    at most 10,000 of them are looked at."""
    import pandas as pd

    names = [name for name in features.columns if features[name].dtype == np.float64]
    if not 2 <= len(names) <= _COLUMNS:
        return []
    rng = np.random.default_rng(seed)
    rows = np.arange(len(features)) if rows is None else rows
    few = np.sort(rng.choice(rows, min(len(rows), _ROWS), replace=False))
    # A column at a time: all rows of all columns would be the table once more.
    table = pd.DataFrame({name: features[name].to_numpy()[few] for name in names})
    names = [one for one in names if table[one].nunique() >= _DISTINCT]
    # A value that is not above zero where nearly all are is one that is missing.
    logs = [one for one in names if (table[one] > 0).sum() > 0.99 * table[one].notna().sum()]
    ready = {one: _ready(table[one].to_numpy(), one in logs) for one in names}
    alike = table[names].rank().corr(min_periods=len(table) // 4).abs().to_numpy(copy=True)
    near = (alike > _ALIKE) & (alike < 1 - 1e-9)
    pairs = sorted((-alike[i, j], i, j) for i, j in np.argwhere(np.triu(near, 1)).tolist())
    beyond = [(i, np.flatnonzero(near[i]).tolist()) for i in range(len(names)) if near[i].sum() > 1][: _MOST // 3]
    found = []
    for i, others in [*((i, [j]) for _, i, j in pairs[: _MOST - len(beyond)]), *beyond]:
        own, by = names[i], [names[j] for j in others]
        x, y = np.column_stack([ready[one] for one in by]), ready[own]
        whole = np.isfinite(y) & np.isfinite(x).all(axis=1)
        if whole.sum() < _DISTINCT:
            continue
        x, y = x[whole], y[whole]
        slopes, *_ = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(), rcond=None)
        found.append(
            {
                "name": f"{own}{_BESIDE}{_BESIDE.join(by)}",
                "of": own,
                "by": by,
                "slopes": slopes.tolist(),
                "level": float(y.mean() - x.mean(axis=0) @ slopes),
                "logs": [one for one in (own, *by) if one in logs],
            }
        )
    return found


def with_ratios(features: Any, ratios: Sequence[Mapping[str, Any]]) -> Any:
    """The features, a frame or some rows of one, with these columns added, float64; nan where one of their columns is
    missing or has no logarithm."""
    if not ratios:
        return features
    ready: dict[str, Floats] = {}
    made = {}
    for one in ratios:
        for name in (one["of"], *one["by"]):
            if name not in ready:
                ready[name] = _ready(features[name].to_numpy(), name in one["logs"])
        beside = sum(slope * ready[name] for name, slope in zip(one["by"], one["slopes"], strict=True))
        made[one["name"]] = ready[one["of"]] - beside - one["level"]
    return features.assign(**made)


def _ready(values: Floats, log: bool) -> Floats:
    if not log:
        return values
    return np.log(values, out=np.full(len(values), np.nan), where=values > 0)
