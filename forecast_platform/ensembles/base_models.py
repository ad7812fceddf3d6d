"""Which base models a task fits, and under which setup."""

from __future__ import annotations

import numpy as np

from forecast_platform.ensembles.catalog import Base, boosted, suited
from forecast_platform.ensembles.grammar import Context, Task, Workflow
from forecast_platform.ensembles.members import Setup
from forecast_platform.ensembles.plan import Plan
from forecast_platform.ensembles.rows import Rows


def setup_of(workflow: Workflow, plan: Plan, task: Task) -> Setup:
    """How base models of a task are fitted: a model a route of every route above it, or with routes as columns."""
    routes = [workflow.task(name) for name in plan.above(task.name) if workflow.task(name).kind == "route"]
    per = [one.name for one in routes if one.per_route and task.per_route]
    return Setup(tuple(per), tuple(one.name for one in routes if one.name not in per))


def bases_of(context: Context, rows: Rows) -> list[Base]:
    """The base models of a workflow: those it names, or the default ones that suit its rows. Raises BaseError."""
    positive = not rows.n_classes and bool((rows.y > 0).all()) and bool(rows.y.max() > 5 * np.median(rows.y))
    return suited(context.bases, len(rows.y), classes=bool(rows.n_classes), positive=positive)


def fitted_by(workflow: Workflow, plan: Plan, rows: Rows, name: str) -> list[Base]:
    """The base models that a task may fit: none of a route, nor of a vote after a stack, which votes over its models.

    Raises BaseError.
    """
    task = workflow.task(name)
    if task.kind == "boost":
        return boosted(task.body().method)
    same = [one for one in map(workflow.task, plan.above(name)) if one.kind == "stack" and one.task != "stack_blend"]
    setup = setup_of(workflow, plan, task)
    found = task.kind == "vote" and any(setup_of(workflow, plan, one) == setup for one in same)
    return [] if task.kind == "route" or found or rows.members else bases_of(workflow.context, rows)
