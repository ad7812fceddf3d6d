"""Workflows from text and back: every fault with its line, column and mend; defaults completed; schema for editors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from forecast_platform.ensembles import grammar
from forecast_platform.ensembles.grammar import BODY_OF, DEFAULTS, PARAMETERS, TASK_TYPES, Workflow
from forecast_platform.ensembles.grammar_parts import Part, nearest
from forecast_platform.ensembles.plan import circle
from forecast_platform.ensembles.sense import contradictions
from forecast_platform.ensembles.yaml_lines import (
    Document,
    Mark,
    Path,
    Problem,
    WorkflowError,
    looks_unseparated,
    read_document,
)

_CONTEXT: Path = ("obsrv", "context")
_VOCABULARY: dict[Path, tuple[str, ...]] = {
    (*_CONTEXT, "metric", "classification"): ("accuracy", "precision", "recall", "f1", "auc"),
    (*_CONTEXT, "metric", "regression"): ("rmse", "mae", "r2"),
    (*_CONTEXT, "sample", "method"): ("random", "stratified", "time_series"),
    (*_CONTEXT, "fold_type"): ("kfold", "stratified", "time_series", "grouped"),
    (*_CONTEXT, "compute", "serverless"): ("GPU", "no-GPU"),
}
"""Lists of known words: a text of several words in them is a list without commas."""


def read_workflow(text: str, name: str = "") -> Workflow:
    """The workflow that a YAML text describes, with all defaults. `name` is the file's, for messages.

    Raises WorkflowError with every fault that was found.
    """
    try:
        document = read_document(text)
        problems = list(_shape(document))
        if not problems:
            return _validated(document)
    except WorkflowError as error:
        raise WorkflowError(error.problems, name) from None
    raise WorkflowError(problems, name)


def fixed(text: str) -> tuple[str, list[str]]:
    """The text with lists, names and targets written as they were meant, and what was changed, a line each.

    Raises WorkflowError where the text is no YAML.
    """
    document = read_document(text)
    changes: list[tuple[Mark, str]] = []
    for path, mark in document.marks.items():
        if (list_path := _list_of(path)) is not None and (words := looks_unseparated(mark.raw)):
            inside = path != list_path
            changes.append((mark, ", ".join(words) if inside else f"[{', '.join(words)}]"))
        elif _must_be_text(path) and mark.plain and not isinstance(_at(document.values, path), str):
            changes.append((mark, f'"{mark.raw}"'))
    told = []
    for mark, new in sorted(changes, key=lambda one: one[0].start, reverse=True):
        told.append(f"line {mark.line}: {text[mark.start : mark.end].strip()} becomes {new}")
        text = text[: mark.start] + new + text[mark.end :]
    return text, told[::-1]


def written(workflow: Workflow) -> str:
    """The workflow as YAML, every default in it; `read_workflow` gives the same workflow back."""
    import yaml

    values = workflow.model_dump(mode="json", by_alias=True, exclude_none=True)
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100))


def json_schema() -> dict[str, Any]:
    """The grammar as JSON schema, for editors."""
    schema = Workflow.model_json_schema(by_alias=True)
    schema["title"] = "obsrv workflow"
    metric: Path = (*_CONTEXT, "metric", "classification")
    names = {"enum": list(_VOCABULARY[metric])}
    averages = {"enum": list(get_args(grammar.Averaging))}
    averaged = {"type": "object", "maxProperties": 1, "additionalProperties": averages}
    schema["$defs"]["Metric"]["properties"]["classification"] = {
        "type": "array",
        "items": {"anyOf": [names, averaged]},
    }
    # Of forecasts the target goes without saying.
    schema["$defs"]["Source"]["anyOf"] = [{"required": ["target"]}, {"required": ["forecasts"]}]
    del schema["$defs"]["Source"]["required"]
    source = {"anyOf": [{"$ref": "#/$defs/Source"}, {"const": "forecasts"}]}
    schema["$defs"]["Context"]["properties"]["source"] = source
    schema["$defs"]["Context"]["properties"]["timeout"] = {"type": "string", "examples": ["15 minutes", "1.5 h"]}
    schema["$defs"]["Task"]["properties"]["depends_on"]["items"] = {
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Dependency"}]
    }
    return schema


def _shape(document: Document) -> Iterator[Problem]:
    """Faults that are told best from how the file is written."""
    values = document.values
    if not isinstance(values, dict):
        yield document.problem((), "a workflow is a mapping that begins with `obsrv:`")
        return
    for path, mark in document.marks.items():
        list_path = _list_of(path)
        if list_path is not None and (words := looks_unseparated(mark.raw)):
            meant = f"[{', '.join(words)}]"
            yield document.problem(
                path, f"{mark.raw!r} is one text: write {meant} with commas (`ensemble check --fix` does)"
            )
        elif _must_be_text(path) and mark.plain and not isinstance(_at(values, path), str | list | dict | None):
            became = type(_at(values, path)).__name__
            what = f"{'an' if became[0] in 'aeiou' else 'a'} {became}"
            yield document.problem(
                path, f'{mark.raw} is {what} in YAML, not a text: quote it, "{mark.raw}" (`check --fix` does)'
            )
    jobs = _at(values, ("obsrv", "job"))
    for number, task in enumerate(jobs if isinstance(jobs, list) else ()):
        cluster = _at(task, ("route", "cluster"))
        if words := looks_unseparated(cluster):
            path = ("obsrv", "job", number, "route", "cluster")
            yield document.problem(
                path, f"{cluster!r} is one text, not {len(words)} methods: keep one, such as `{words[0]}: {{}}`"
            )
        for place, one in enumerate(
            dependencies if isinstance(dependencies := _at(task, ("depends_on",)), list) else ()
        ):
            if words := looks_unseparated(one):
                path = ("obsrv", "job", number, "depends_on", place)
                yield document.problem(path, f"{one!r} is one text: write {', '.join(words)} with commas")


def _list_of(path: Path) -> Path | None:
    """The list of known words that a path is, or is an item of."""
    for candidate in (path, path[:-1]):
        if candidate in _VOCABULARY:
            return candidate
    return None


def _must_be_text(path: Path) -> bool:
    source = (*_CONTEXT, "source")
    names = {*((*source, key) for key in ("catalog", "schema", "table", "target", "path"))}
    names |= {(*_CONTEXT, key) for key in ("name", "time_col", "group_col")}
    if path in names or path[3:] in (("route", "feature"), ("vote", "weight_col")):
        return True
    column = path[len(source) + 2 :] if path[: len(source) + 1] == (*source, "features") else ()
    return len(column) == 1 or column[1:] == ("feature",)


def _at(values: Any, path: Path) -> Any:
    for part in path:
        there = isinstance(values, dict) and part in values
        if not there and not (isinstance(values, list) and isinstance(part, int) and part < len(values)):
            return None
        values = values[part]
    return values


def _without_nothing(values: Any) -> Any:
    """The values without keys that have nothing under them: their defaults apply."""
    if isinstance(values, dict):
        return {key: _without_nothing(value) for key, value in values.items() if value is not None}
    return [_without_nothing(value) for value in values] if isinstance(values, list) else values


def _completed(task: Any) -> Any:
    """A task with the defaults of its type, and `cluster: kmeans` as `cluster: {kmeans: {}}`."""
    if not isinstance(task, dict) or task.get("task") not in TASK_TYPES:
        return task
    type_ = task["task"]
    body = BODY_OF[type_]
    given = task.get(body)
    if not isinstance(given, dict | None):
        return task
    given = given or {}
    found = {name: value for name, value in given.items() if value is not None}
    if type_ == "route_cluster":
        cluster = found.get("cluster")
        if isinstance(cluster, str):
            cluster = {cluster: {}}
        if isinstance(cluster, dict):
            cluster = {method: {} if value is None else value for method, value in cluster.items()}
        found["cluster"] = cluster or {"kmeans": {}}
    return {**task, body: {**DEFAULTS[type_], **found}}


def _validated(document: Document) -> Workflow:
    values = document.values
    jobs = _at(values, ("obsrv", "job"))
    if isinstance(jobs, list):
        values = {**values, "obsrv": {**values["obsrv"], "job": [_completed(task) for task in jobs]}}
    try:
        workflow = Workflow.model_validate(_without_nothing(values))
    except ValidationError as error:
        raise WorkflowError([_told(document, values, one) for one in error.errors()]) from None
    if problems := [*_bodies(document, workflow), *_names(document, workflow), *contradictions(document, workflow)]:
        raise WorkflowError(problems)
    return workflow


def _bodies(document: Document, workflow: Workflow) -> Iterator[Problem]:
    """Parameters that a task's type does not take, or lacks."""
    for number, task in enumerate(workflow.tasks):
        path: Path = ("obsrv", "job", number)
        for other in ("route", "stack", "boost", "vote"):
            if other != task.kind and getattr(task, other) is not None:
                yield document.problem(
                    (*path, other),
                    f"{task.task} has no `{other}`: its parameters stand under `{task.kind}`",
                    at_key=True,
                )
        if workflow.context.source.forecasts is not None and task.kind in ("stack", "boost"):
            yield document.problem(
                (*path, "task"), f"forecasts are routed and voted over, and {task.task} is neither: use vote_weight"
            )
        taken = PARAMETERS[task.task]
        for name in task.body().model_fields_set:
            if name not in taken:
                owners = [one for one, names in PARAMETERS.items() if name in names and BODY_OF[one] == task.kind]
                yield document.problem(
                    (*path, task.kind, name),
                    f"{task.task} takes {', '.join(taken) or 'no parameters'}; `{name}` belongs to {', '.join(owners)}",
                    at_key=True,
                )
        if task.task == "stack_blend" and task.body().levels > 2:
            yield document.problem(
                (*path, "stack", "levels"), "stack_blend has at most 2 levels: its bases, and a meta-learner over them"
            )
        if task.name == "model":
            yield document.problem((*path, "id"), "`model` is what the workflow's result is called: choose another id")
        if task.task == "route_feature" and not task.body().feature:
            yield document.problem((*path, "route"), "route_feature needs `route: {feature: NAME}`: name the column")


def _names(document: Document, workflow: Workflow) -> Iterator[Problem]:
    names = [task.name for task in workflow.tasks]
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if name in first:
            line = document.mark(("obsrv", "job", first[name])).line
            yield document.problem(
                ("obsrv", "job", number, "id" if workflow.tasks[number].id else "task"),
                f"two tasks are named {name!r} (the other in line {line}): give each an `id` of its own",
            )
        first.setdefault(name, number)
    unknown = False
    for number, task in enumerate(workflow.tasks):
        for place, other in enumerate(task.waits_for):
            if other not in first:
                unknown = True
                yield document.problem(
                    ("obsrv", "job", number, "depends_on", place, "task"),
                    f"there is no task {other!r}: {nearest(other, names)}",
                )
    if not unknown and (found := circle({task.name: task.waits_for for task in workflow.tasks})) is not None:
        number = names.index(found[0])
        yield document.problem(
            ("obsrv", "job", number, "depends_on"), f"the tasks wait for one another: {' -> '.join(found)}: remove one"
        )


def _told(document: Document, values: Any, error: Any) -> Problem:
    """A fault of pydantic's, in this grammar's terms."""
    path = _path_of(error["loc"])
    kind, given = error["type"], error.get("input")
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        return document.problem(path, f"{path[-1]!r} is unknown here: {nearest(path[-1], known)}", at_key=True)
    if kind == "missing":
        return document.problem(path[:-1], f"`{path[-1]}` is missing: add it under `{_parent(path)}`", at_key=True)
    if kind == "literal_error":
        expected = [word.strip("' ") for word in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return document.problem(path, f"{given!r} is unknown: {nearest(given, expected)}")
    if kind == "value_error":
        return document.problem(path, str(error["ctx"]["error"]))
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return document.problem(path, f"{given!r} stands where a mapping belongs: write `key: value` pairs under it")
    if kind == "list_type":
        return document.problem(path, f"{given!r} stands where a list belongs: write [one, two]")
    if kind.startswith("int") and isinstance(given, str) and given.replace(",", "").replace(".", "").isdigit():
        return document.problem(path, f"{given!r} is a text: write the number plainly, {given.replace(',', '')}")
    return document.problem(path, f"{given!r}: {error['msg'][0].lower()}{error['msg'][1:]}")


def _path_of(loc: Sequence[str | int]) -> Path:
    """pydantic's place as a path of the file: without the steps that are its own."""
    return tuple(part for part in loc if not (isinstance(part, str) and "[" in part))


def _parent(path: Path) -> str:
    return str(next((part for part in reversed(path[:-1]) if isinstance(part, str)), "obsrv"))


def _known_keys(path: Path) -> list[str]:
    """The keys that a mapping at this path may have."""
    from pydantic import BaseModel

    model: Any = Workflow
    for part in path:
        if isinstance(part, int):
            continue
        fields = {(field.alias or name): field.annotation for name, field in model.model_fields.items()}
        model = _model_in(fields.get(str(part)))
        if model is None:
            return []
    assert issubclass(model, BaseModel)  # noqa: S101 - all parts are
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one)) is not None), None)
