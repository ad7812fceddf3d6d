"""How tasks are judged: scores and intervals, leaderboards, the gain over the best single model and of routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.folds import of_rows
from forecast_platform.ensembles.members import Member
from forecast_platform.ensembles.metrics import Scorer, blocks_of, gain_interval_of, interval_of
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.workshop import Workshop

Floats = NDArray[np.float64]


def seen_by_all(members: Sequence[Member]) -> NDArray[np.bool_]:
    """Which rows every member has predicted, [n]."""
    return np.all([np.isfinite(one.predicted).all(axis=1) for one in members], axis=0)


def score(workshop: Workshop, found: Outcome, scorers: Sequence[Scorer]) -> None:
    """Put a task's scores and their intervals into its outcome, and how many rows they are of."""
    assert found.predicted is not None  # noqa: S101 - of a model
    known = np.flatnonzero(np.isfinite(found.predicted).all(axis=1))
    y, predicted = of_rows(workshop.rows.y, known), of_rows(found.predicted, known)
    blocks = _blocks(workshop, known)
    for one in scorers:
        found.scores[one.label] = one(y, predicted)
        found.intervals[one.label] = interval_of(one, y, predicted, blocks)
    found.scores["rows"] = float(len(known))


def leaderboard(
    workshop: Workshop, members: Sequence[Member], used: Sequence[str], weights: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """A leaderboard of members, best first: scores on the rows that all have predicted."""
    scorers = workshop.rows.scorers(workshop.context)
    known = np.flatnonzero(seen_by_all(members))
    scores = {each.label: workshop.scores_of(each, members, known) for each in scorers}
    intervals = workshop.intervals_of(scorers[0], members, known, _blocks(workshop, known))
    rows = []
    for place, one in enumerate(members):
        rows.append(
            {
                "name": one.name,
                "algorithm": one.algorithm,
                "scores": {label: values[place] for label, values in scores.items()},
                "interval": intervals[place],
                "chosen": one.name in used,
                "weight": (weights or {}).get(one.name),
                "seconds": one.seconds,
                "key": one.node["key"],
            }
        )
    order = scorers[0].best_first([row["scores"][scorers[0].label] for row in rows])
    return [rows[place] for place in order]


def best_of(found: Outcome, members: Sequence[Member]) -> tuple[str, Floats]:
    """Name and predictions, [n, width], of the first of a leaderboard."""
    by_key = {(one.name, one.node["key"]): one.predicted for one in members}
    row = found.members[0]
    return row["name"], by_key[row["name"], row["key"]]


def compared(workshop: Workshop, routed: Outcome, plain: Outcome, scorer: Scorer) -> dict[str, Any]:
    """How much better a task predicts with its routes than without, of the same rows, and what it is without."""
    assert routed.predicted is not None  # noqa: S101 - of a model
    assert plain.predicted is not None  # noqa: S101 - of a model
    found = _gain(workshop, routed.predicted, plain.predicted, scorer)
    return {**found, "scores": plain.scores, "node": plain.node}


def against_best(workshop: Workshop, found: Outcome, scorer: Scorer) -> dict[str, Any] | None:
    """The task beside the best single one of its models, on the rows that both have predicted."""
    best = found.best
    if best is None or found.predicted is None:
        return None
    name, predicted = best
    return {"name": name, **_gain(workshop, found.predicted, predicted, scorer)}


def _gain(workshop: Workshop, new: Floats, old: Floats, scorer: Scorer) -> dict[str, Any]:
    """How much better `new` predicts than `old`, of the same rows, with the interval of the difference."""
    known = np.flatnonzero(np.isfinite(new).all(axis=1) & np.isfinite(old).all(axis=1))
    y, new, old = (of_rows(one, known) for one in (workshop.rows.y, new, old))
    low, high = gain_interval_of(scorer, y, new, old, _blocks(workshop, known))
    gain = scorer.gain(scorer(y, new), scorer(y, old))
    return {"metric": scorer.label, "gain": gain, "interval": [low, high]}


def _blocks(workshop: Workshop, known: NDArray[np.int64]) -> NDArray[np.int64]:
    time_ = workshop.rows.time
    if time_ is None:
        return blocks_of(len(known), workshop.context.seed, in_order=False)
    return blocks_of(len(known), 0, in_order=True)[np.argsort(np.argsort(time_[known], kind="stable"), kind="stable")]
