"""Which models a task combines: the best by out-of-fold score, of any kind, an algorithm, or several an algorithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.grammar import Task
from forecast_platform.ensembles.members import Member
from forecast_platform.ensembles.metrics import Scorer
from forecast_platform.ensembles.workshop import Workshop


def chosen(
    workshop: Workshop, task: Task, members: Sequence[Member], rows: NDArray[np.int64], scorer: Scorer
) -> list[int]:
    """Positions of the members that the task combines, best first, by their scores on `rows` alone, [n]
    places."""
    order = scorer.best_first(workshop.scores_of(scorer, members, rows))
    body, kind = task.body(), task.task
    if kind == "stack_top_any":
        return order[: body.top_n]
    if kind == "boost":
        return order[:1]
    if kind == "stack_blend":
        return order[: body.blend]
    if kind == "stack_classwise":
        return order[: body.classwise]
    if kind == "stack_top_n_alg":
        return _of_each(members, order, body.top_n_alg)
    if kind in ("stack_top_alg", "vote_top_alg"):
        return _of_each(members, order, 1)[: body.top_alg]
    return order


def _of_each(members: Sequence[Member], order: Sequence[int], count: int) -> list[int]:
    seen: dict[str, int] = {}
    found = []
    for place in order:
        algorithm = members[place].algorithm
        seen[algorithm] = seen.get(algorithm, 0) + 1
        if seen[algorithm] <= count:
            found.append(place)
    return found
