"""What a workflow says that cannot be meant, though each part of it reads well."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.grammar_forecasts import Forecasts
from forecast_platform.ensembles.grammar_parts import nearest
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.yaml_lines import Document, Path, Problem, looks_unseparated

_CONTEXT: Path = ("obsrv", "context")
_PLACE_PART = re.compile(r"[\w-]{1,128}")
"""A catalog, schema or table: no character that a path or a statement would read otherwise."""


def contradictions(document: Document, workflow: Workflow) -> Iterator[Problem]:
    """Faults of a workflow that its parts do not show, each where it stands."""
    context = workflow.context
    for key, value in (("catalog", context.source.catalog), ("schema", context.source.schema_),
                       ("table", context.source.table)):  # fmt: skip
        if value is not None and not _PLACE_PART.fullmatch(value):
            what = f"{value!r} is no name of a {key}: letters, digits, _ and - (a file stands under `path`)"
            yield document.problem((*_CONTEXT, "source", key), what)
    for key, value in (("time_col", context.time_col), ("group_col", context.group_col)):
        if value is not None and value == context.source.target:
            yield document.problem((*_CONTEXT, key), f"{value!r} is the target, which orders and groups no rows")
    yield from _bases(document, context.bases)
    yield from _forecasts(document, context.source.forecasts)
    first: dict[str, str] = {}
    for number, task in enumerate(workflow.tasks):
        other = first.setdefault(task.name.casefold(), task.name)
        if other != task.name:
            what = f"{task.name!r} and {other!r} are one name to the catalogs that tables are in: rename one"
            yield document.problem(("obsrv", "job", number, "id"), what)


def _bases(document: Document, names: list[str]) -> Iterator[Problem]:
    for number, name in enumerate(names):
        place = (*_CONTEXT, "bases", number)
        if words := looks_unseparated(name):
            yield document.problem(place, f"{name!r} is one text: write {', '.join(words)} with commas")
        elif name not in BASES:
            yield document.problem(place, f"there is no base model {name!r}: {nearest(name, list(BASES))}")


def _forecasts(document: Document, asked: Forecasts | None) -> Iterator[Problem]:
    place = (*_CONTEXT, "source", "forecasts")
    if asked is None:
        return
    if asked.start is not None and asked.end is not None and asked.end < asked.start:
        yield document.problem((*place, "end"), f"{asked.end} is before {asked.start}, the start: turn them round")
    if len(set(asked.of)) == 1:
        words = looks_unseparated(asked.of[0])
        mend = f"write [{', '.join(words)}]" if words else "name two models or more, or none for all"
        yield document.problem((*place, "of"), f"{asked.of[0]!r} alone is nothing to combine: {mend}")


def told(workflow: Workflow) -> list[str]:
    """What of a workflow is allowed, and may not be what was meant: a line each."""
    if all(task.kind == "route" for task in workflow.tasks):
        return ["the workflow has routes only, of which no model is made: add a stack, boost or vote task"]
    plan = plan_of(workflow)
    waited = {one for needs in plan.needs.values() for one in needs}
    grouped = workflow.context.fold_type[0] == "grouped" and workflow.context.group_col is None
    return [
        f"nothing depends on {task.name}: no model is fitted by its routes (`depends_on: [{task.name}]` has one so)"
        for task in workflow.tasks
        if task.kind == "route" and task.name not in waited and not grouped
    ]
