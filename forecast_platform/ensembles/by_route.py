"""Routes beyond the models that are fitted on them: folds by route, and combinations route by route.

Combinations are of forecasts, whose models no route changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.choosing import chosen
from forecast_platform.ensembles.combining import CombineError, apply_node
from forecast_platform.ensembles.folds import Folds
from forecast_platform.ensembles.grammar import Task, Workflow
from forecast_platform.ensembles.members import Member, Setup
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.routing import Router, cells_of
from forecast_platform.ensembles.rows import Rows
from forecast_platform.ensembles.workshop import FEWEST, Workshop

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Maker = Callable[[Sequence[Floats], NDArray[Any]], dict[str, Any]]


def folds_of(rows: Rows, workflow: Workflow) -> Folds:
    """The folds of a workflow's rows. `grouped` without a column: by route, all routes crossed, each cell whole in one
    fold, so that rows are scored by models of other routes. Raises FoldError and RouteError.
    """
    context, groups = workflow.context, rows.groups
    if context.fold_type[0] == "grouped" and groups is None:
        routes = [task for task in workflow.tasks if task.kind == "route"]
        routers = [Router.fit(task, rows.routable, context.seed, rows.source) for task in routes]
        groups = cells_of(routers, rows.features, rows.source)
    return rows.folds(context, groups)


def combined_by_route(
    workshop: Workshop, task: Task, members: Sequence[Member], routes: Sequence[str], make: Maker
) -> Outcome:
    """Choose and combine in each route by itself, and predict each part by what was known before it.

    A route of fewer than FEWEST known rows is combined as all rows are. Raises CombineError: nothing was known before
    any part.
    """
    rows, folds = workshop.rows, workshop.folds["folds"]
    seen: NDArray[np.bool_] = np.all([np.isfinite(one.predicted).all(axis=1) for one in members], axis=0)
    predicted = np.full((len(rows.y), rows.width), np.nan)
    pairs = folds.meta_pairs(seen)
    if not pairs:
        raise CombineError("no outcome was known before any part: more forecast dates, or fewer folds")
    for fit, score in pairs:
        # The part's own router: learnt from rows whose outcomes were known by then.
        cells = _cells(workshop, routes, int(folds.part[score[0]]))
        node = _node(workshop, task, members, make, fit, cells)
        predicted[score] = _applied(node, members, score, cells)
    last = len(folds.splits) - 1
    node = _node(workshop, task, members, make, np.flatnonzero(seen), _cells(workshop, routes, last))
    node |= {"routes": list(routes), "splits": "folds"}
    used = {one["key"] for part in (node["rest"], *node["cells"].values()) for one in part["members"]}
    return Outcome(
        task.name, task.task, node=node, predicted=predicted, parts=[one.predicted for one in members],
        members=[{"name": one.name} for one in members if one.node["key"] in used],
    )  # fmt: skip


def weights_by_route(found: Outcome, key: str) -> dict[str, float]:
    """Of a member its weight (0 to 1) on each route that has a combination of its own; 0 where it was not chosen."""
    assert found.node is not None  # noqa: S101 - of a vote
    weights = {}
    for cell, node in found.node["cells"].items():
        keys = [one["key"] for one in node["members"]]
        shares = node.get("weights") or [1 / len(keys)] * len(keys)
        weights[cell] = float(shares[keys.index(key)]) if key in keys else 0.0
    return weights


def _cells(workshop: Workshop, routes: Sequence[str], number: int) -> Ints:
    known = workshop.routers_of(Setup(tuple(routes)))
    return cells_of([known[name][number] for name in routes], workshop.rows.features, workshop.rows.source)


def _node(
    workshop: Workshop, task: Task, members: Sequence[Member], make: Maker, fit: Ints, cells: Ints
) -> dict[str, Any]:
    scorer, y = workshop.rows.scorers(workshop.context)[0], workshop.rows.y

    def one(inside: Ints) -> dict[str, Any]:
        places = chosen(workshop, task, members, inside, scorer)
        node = make([members[place].predicted[inside] for place in places], y[inside])
        return {**node, "members": [members[place].node for place in places]}

    found = {}
    for cell in np.unique(cells[fit]):
        inside = fit[cells[fit] == cell]
        if len(inside) >= FEWEST:
            found[str(cell)] = one(inside)
    return {"kind": "routed", "cells": found, "rest": one(fit)}


def _applied(node: dict[str, Any], members: Sequence[Member], score: Ints, cells: Ints) -> Floats:
    by_key = {one.node["key"]: one.predicted for one in members}
    made = np.full((len(score), members[0].predicted.shape[1]), np.nan)
    for cell in np.unique(cells[score]):
        inside = np.flatnonzero(cells[score] == cell)
        part = node["cells"].get(str(cell), node["rest"])
        made[inside] = apply_node(part, [by_key[one["key"]][score[inside]] for one in part["members"]])
    return made
