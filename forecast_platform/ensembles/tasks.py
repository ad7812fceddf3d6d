"""The twelve task types: each makes an Outcome from the workshop and the outcomes of the tasks before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles import combining
from forecast_platform.ensembles.base_models import bases_of, setup_of
from forecast_platform.ensembles.by_route import combined_by_route, weights_by_route
from forecast_platform.ensembles.catalog import BASES, base_named, boosted
from forecast_platform.ensembles.choosing import chosen
from forecast_platform.ensembles.folds import Folds, holdout
from forecast_platform.ensembles.grammar import Task, Workflow
from forecast_platform.ensembles.judging import against_best, best_of, compared, leaderboard, score, seen_by_all
from forecast_platform.ensembles.members import Member, Setup, Wanted
from forecast_platform.ensembles.metrics import Scorer
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.plan import Plan
from forecast_platform.ensembles.routing import aligned
from forecast_platform.ensembles.threads import one_thread_each
from forecast_platform.ensembles.workshop import Workshop

Floats = NDArray[np.float64]


def perform(workshop: Workshop, workflow: Workflow, plan: Plan, name: str, earlier: Mapping[str, Outcome]) -> Outcome:
    """Do one task; `earlier` has the outcomes of all tasks above it.

    Raises TaskTimeoutError, and ValueErrors of ours that say what of the workflow or table does not suit.
    """
    task = workflow.task(name)
    began, cpu = time.perf_counter(), time.process_time()
    before = workshop.fitted
    for above in plan.above(name):
        if workflow.task(above).kind == "route":
            workshop.route(workflow.task(above))
    with one_thread_each():
        is_route = task.kind == "route"
        found = _route(workshop, task) if is_route else _model(workshop, workflow, plan, task, earlier)
    found.fits = workshop.fitted - before
    found.seconds, found.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return found


def _route(workshop: Workshop, task: Task) -> Outcome:
    rows, routers = workshop.rows, workshop.route(task)
    folds = workshop.folds["folds"]
    # A row's route is that of the routers that have not seen it; their numbers are matched to those of the last split.
    reference = routers[-1].assign(rows.features, rows.source)
    cells = reference.copy()
    for router, split in zip(routers, folds.splits, strict=True):
        if not len(split.valid):
            continue
        own = router.assign(rows.features, rows.source)
        if task.task == "route_cluster":
            own = aligned(reference[split.train], own[split.train], router.count)[own]
        elif router.state["kind"] == "values":
            own = router.numbered_as(routers[-1])[own]
        cells[split.valid] = own[split.valid]
    count = max(router.count for router in routers)
    sizes = [int((cells == one).sum()) for one in range(count)]
    notes = [f"route {number} holds no row" for number, size in enumerate(sizes) if not size]
    return Outcome(
        task.name, task.task, routers=[one.state for one in routers], sizes=sizes, cells=cells, notes=notes,
        scores={f"cluster_{number}_size": float(size) for number, size in enumerate(sizes)},
    )  # fmt: skip


def _model(workshop: Workshop, workflow: Workflow, plan: Plan, task: Task, earlier: Mapping[str, Outcome]) -> Outcome:
    _refuse_unsuited(workshop, task)
    setup = setup_of(workflow, plan, task)
    plain: Outcome | None = None
    if setup.routes:
        # The unrouted one first: small routes use its models.
        above = _without_routes(workshop, workflow, plan, task, earlier)
        plain = _made(workshop, plan, task, replace(setup, routes=()), above)
    found = _made(workshop, plan, task, setup, earlier)
    found.notes = list(dict.fromkeys(found.notes))
    scorers = workshop.rows.scorers(workshop.context)
    score(workshop, found, scorers)
    found.against_best = against_best(workshop, found, scorers[0])
    if plain is not None:
        score(workshop, plain, scorers)
        found.unrouted = compared(workshop, found, plain, scorers[0])
        if found.unrouted["gain"] < 0:
            found.notes.insert(0, found.verdict)
    return found


def _made(workshop: Workshop, plan: Plan, task: Task, setup: Setup, earlier: Mapping[str, Outcome]) -> Outcome:
    """What a task that is no route makes under a setup."""
    if task.kind == "stack":
        return _stack(workshop, task, setup)
    if task.kind == "boost":
        return _boost(workshop, task, setup, [earlier[one] for one in plan.needs[task.name]])
    return _vote(workshop, task, setup, [earlier[one] for one in plan.above(task.name)])


def _without_routes(
    workshop: Workshop, workflow: Workflow, plan: Plan, task: Task, earlier: Mapping[str, Outcome]
) -> dict[str, Outcome]:
    """The earlier tasks, those that a boost learns from, and boosts that a vote is over, as they are without routes."""
    boosts = [one for one in plan.above(task.name) if workflow.task(one).kind == "boost"]
    wanted = {one for name in boosts for one in (name, *plan.above(name))} if task.kind == "vote" else set(earlier)
    found = dict(earlier)
    for name in plan.above(task.name) if task.kind in ("boost", "vote") else ():
        one = workflow.task(name)
        setup = setup_of(workflow, plan, one)
        if name in wanted and one.kind != "route" and setup.routes:
            found[name] = _made(workshop, plan, one, replace(setup, routes=()), found)
    return found


def _refuse_unsuited(workshop: Workshop, task: Task) -> None:
    """Raises CombineError where the target does not allow what a task asks for: before anything is fitted."""
    body, n_classes = task.body(), workshop.rows.n_classes
    if task.kind == "stack":
        combining.refuse_meta(_meta_kind(task), n_classes)
    elif task.task == "vote_mix":
        combining.refuse_mix(body.mix, n_classes)
    elif task.task == "vote_weight" and body.weight_col:
        _weighing(body.weight_col, workshop.rows.scorers(workshop.context))


def base_members(workshop: Workshop, setup: Setup) -> list[Member]:
    """All base models of the workflow under a setup: fitted where the store has them not.

    Raises BaseError for a base model that is unknown, not installed or of another target.
    """
    rows = workshop.rows
    if rows.members:
        # A forecast is the same on every route: what a route changes is how forecasts are combined there.
        plain = replace(setup, routes=(), columns=())
        return workshop.members([Wanted(base_named(name), plain) for name in rows.members])
    return workshop.members([Wanted(one, setup) for one in bases_of(workshop.context, rows)])


def _stack(workshop: Workshop, task: Task, setup: Setup) -> Outcome:
    body, rows = task.body(), workshop.rows
    kind = _meta_kind(task)
    if task.task == "stack_blend":
        setup = replace(setup, splits=blend_splits(workshop, body.holdout))
    folds = workshop.folds[setup.splits]
    members = everything = base_members(workshop, setup)
    scorer = rows.scorers(workshop.context)[0]
    levels = (body.levels or 1) - (1 if task.task == "stack_blend" else 0)
    notes = [note for one in members for note in one.notes]
    for _ in range(1, max(levels, 1)):
        seen = np.flatnonzero(seen_by_all(members))
        below = [members[place] for place in chosen(workshop, task, members, seen, scorer)]
        names = list(dict.fromkeys(one.node["base"] for one in below))
        members = workshop.members([Wanted(BASES[name], setup, tuple(below)) for name in names])
        everything = [*everything, *(replace(one, name=f"{one.name} (level 2)") for one in members)]
    found = _combined(workshop, task, members, folds, lambda parts, y: _meta_node(kind, parts, y, rows.n_classes))
    shares = _shares(found)
    found.members = leaderboard(workshop, everything, [one["name"] for one in found.members], shares)
    found.best = best_of(found, everything)
    found.bases = [one.node for one in everything if not one.node["extra"]]
    found.notes += notes
    return found


def _meta_kind(task: Task) -> str:
    """How a stack combines: the kind of its meta-learner, or `mean`."""
    body = task.body()
    if task.task == "stack_classwise":
        return "classwise"
    return "mean" if task.task == "stack_blend" and body.levels == 1 else str(body.meta or "auto")


def _meta_node(kind: str, members: Sequence[Floats], y: NDArray[Any], n_classes: int) -> dict[str, Any]:
    if kind == "mean":
        return {"kind": "weights", "weights": [1 / len(members)] * len(members)}
    return {"kind": "meta", "state": combining.fit_meta(kind, members, y, n_classes)}


def blend_splits(workshop: Workshop, share: float) -> str:
    """The name of the one split that holds out this share, made where it is not there yet.

    Raises FoldError where too few rows are left.
    """
    name = f"holdout {share:g}"
    if name not in workshop.folds:
        whole, context = workshop.folds["folds"], workshop.context
        rows = workshop.rows
        made = holdout(whole, rows.y, share, context.seed, rows.time, context.folds)
        workshop.folds[name] = made
    return name


def _boost(workshop: Workshop, task: Task, setup: Setup, above: Sequence[Outcome]) -> Outcome:
    method = task.body().method
    extra = tuple(
        Member(one.task, "task", one.node, one.predicted)
        for one in above
        if one.node is not None and one.predicted is not None
    )
    members = workshop.members([Wanted(one, setup, extra) for one in boosted(method)])
    members = [replace(one, name=f"{one.name} ({task.name})") for one in members]
    found = _combined(
        workshop, task, members, workshop.folds["folds"], lambda *_: {"kind": "weights", "weights": [1.0]}
    )
    best = next(one for one in members if one.name == found.members[0]["name"])
    found.bases = [best.node]
    if len(members) == 1 and "calibration" not in (found.node or {}):
        # Nothing was chosen or fitted over the models: each row's prediction is that of its own.
        found.node, found.predicted = best.node, best.predicted
    found.notes = [note for one in members for note in one.notes]
    if method in ("tf", "dl", "pytorch"):
        found.notes.append(f"boost.method {method} is a neural network: {members[0].node['base']}")
    found.members = leaderboard(workshop, members, [one["name"] for one in found.members])
    found.best = best_of(found, members)
    return found


def _shares(found: Outcome) -> dict[str, float]:
    """How much of a stack's combination each of its models is, by name, as `combining.shares_of` has it."""
    assert found.node is not None  # noqa: S101 - of a stack
    shares = found.node["weights"] if found.node["kind"] == "weights" else combining.shares_of(found.node["state"])
    return dict(zip([one["name"] for one in found.members], shares, strict=True))


def _vote(workshop: Workshop, task: Task, setup: Setup, earlier: Sequence[Outcome]) -> Outcome:
    members = _candidates(workshop, setup, earlier)
    # What is true of the models that an earlier task has made, it has said.
    said = {note for one in earlier for note in one.notes}
    notes = [note for one in members for note in one.notes if note not in said]
    body, rows = task.body(), workshop.rows
    folds = workshop.folds["folds"]
    scorer = _weighing(body.weight_col, rows.scorers(workshop.context)) if body.weight_col else None

    def make(parts: Sequence[Floats], y: NDArray[Any]) -> dict[str, Any]:
        if task.task == "vote_mix":
            return {"kind": "mix", "state": combining.fit_mix(body.mix, parts, y, rows.n_classes)}
        if task.task == "vote_top_alg":
            return {"kind": "weights", "weights": [1 / len(parts)] * len(parts)}
        if scorer is not None:
            return {"kind": "weights", "weights": _by_score(scorer, parts, y)}
        return {"kind": "weights", "weights": combining.fit_weights(parts, y, rows.n_classes).tolist()}

    if rows.members and setup.routes:
        found = combined_by_route(workshop, task, members, setup.routes, make)
        names = [one["name"] for one in found.members]
        found.members = leaderboard(workshop, members, names)
        found.best = best_of(found, members)
        for row in found.members:
            row["by_route"] = weights_by_route(found, row["key"])
        return found
    found = _combined(workshop, task, members, folds, make)
    found.notes = notes
    weights = dict(zip([one["name"] for one in found.members], (found.node or {}).get("weights", ()), strict=False))
    found.members = leaderboard(workshop, members, [one["name"] for one in found.members], weights)
    found.best = best_of(found, members)
    return found


def _candidates(workshop: Workshop, setup: Setup, earlier: Sequence[Outcome]) -> list[Member]:
    """The base models that earlier tasks have made, as they are under this setup; the workflow's where none did."""
    nodes = {node["key"]: (node, one) for one in earlier for node in one.bases if node["setup"]["splits"] == "folds"}
    if not any(one.type.startswith("stack") for one in earlier):
        pool = base_members(workshop, setup)
    else:
        names = dict.fromkeys(node["base"] for node, one in nodes.values() if one.type.startswith("stack"))
        pool = workshop.members([Wanted(BASES[name], setup) for name in names]) if names else []
        pool = pool or base_members(workshop, setup)
    for node, one in nodes.values():
        if one.type == "boost" and one.predicted is not None:
            pool.append(Member(f"{node['base']} ({one.task})", BASES[node["base"]].algorithm, node, one.predicted))
    return pool


def _weighing(name: str, scorers: Sequence[Scorer]) -> Scorer:
    for one in scorers:
        if name in (one.label, one.name):
            return one
    known = ", ".join(one.label for one in scorers)
    raise combining.CombineError(f"vote.weight_col {name!r} is no column of the leaderboard; it has {known}")


def _by_score(scorer: Scorer, parts: Sequence[Floats], y: NDArray[Any]) -> list[float]:
    values = np.array([scorer(y, one) for one in parts])
    values = np.clip(np.where(np.isnan(values), 0.0, values), 0.0, None)
    raw = 1 / np.maximum(values, 1e-12) if scorer.smaller_is_better else values
    total = raw.sum()
    return (raw / total if total > 0 else np.full(len(raw), 1 / len(raw))).tolist()


def _combined(
    workshop: Workshop, task: Task, members: Sequence[Member], folds: Folds,
    make: Callable[[Sequence[Floats], NDArray[Any]], dict[str, Any]],
) -> Outcome:  # fmt: skip
    """Choose and combine, and predict each row by a combination that was chosen and fitted on other parts' rows."""
    rows = workshop.rows
    scorer = rows.scorers(workshop.context)[0]
    y, seen = rows.y, seen_by_all(members)
    predicted = np.full((len(y), rows.width), np.nan)
    pairs = folds.meta_pairs(seen)
    if not pairs:
        raise combining.CombineError(
            "too few parts to score a combination on rows that it was not fitted on: more folds"
        )
    for fit, held in pairs:
        places = chosen(workshop, task, members, fit, scorer)
        node = make([members[place].predicted[fit] for place in places], y[fit])
        predicted[held] = combining.apply_node(node, [members[place].predicted[held] for place in places])
    whole = np.flatnonzero(seen)
    places = chosen(workshop, task, members, whole, scorer)
    node = make([members[place].predicted[whole] for place in places], y[whole])
    node["members"] = [members[place].node for place in places]
    method = workshop.context.calibrate
    if rows.n_classes and method != "none":
        predicted, node["calibration"] = _calibrated(method, predicted, y, folds)
    return Outcome(
        task.name, task.task, node=node, predicted=predicted, parts=[members[place].predicted for place in places],
        members=[{"name": members[place].name} for place in places],
    )  # fmt: skip


def _calibrated(method: str, predicted: Floats, y: NDArray[Any], folds: Folds) -> tuple[Floats, dict[str, Any]]:
    known: NDArray[np.bool_] = np.asarray(np.isfinite(predicted).all(axis=1))
    made = np.full_like(predicted, np.nan)
    pairs = folds.meta_pairs(known)
    if not pairs:
        raise combining.CombineError(
            "too few parts to score a calibration on rows that it was not fitted on: more folds"
        )
    for fit, held in pairs:
        made[held] = combining.calibrated(combining.fit_calibration(method, predicted[fit], y[fit]), predicted[held])
    return made, combining.fit_calibration(method, predicted[known], y[known])
