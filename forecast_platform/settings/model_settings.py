"""The setting `models`: names, and models of a type under a name of their own with hyperparameters and members."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from forecast_platform.models import registry
from forecast_platform.models.tags import ModelSpec
from forecast_platform.plugins import registry as plugins

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_KEYS = ("name", "type", "params", "of")
RESERVED = ("actuals",)


def listed(value: Any) -> Any:
    """A variable's text as a list: names with commas between, or a JSON list. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no JSON list: {error}") from None
    return tuple(name.strip() for name in value.split(",") if name.strip())


def with_specs(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, ModelSpec]]:
    """Settings as given, with `models` as names and the plugins loaded; and the models' specs by name.

    Raises ValueError: a model, source or compute that is unknown; and why plugins could not be loaded, if any.
    """
    data = dict(data)
    named = listed(data.get("plugins") or ())
    broken = plugins.load([name for name in named if isinstance(name, str)])
    for kind in ("source", "compute"):
        name = data.get(kind)
        if isinstance(name, str) and name not in plugins.names(kind):
            raise ValueError(f"{kind} (FORECAST_PLATFORM_{kind.upper()}) = {plugins.unknown_text(kind, name, broken)}")
    if data.get("source", "sample") not in plugins.BUILT_IN["source"] and not data.get("series"):
        raise ValueError(f"source is {data['source']}, a plugin's, but no series is configured: list them in series")
    if "models" not in data:
        return data, {}
    specs = specs_of(data["models"], broken)
    return {**data, "models": tuple(specs)}, specs


def specs_of(value: Any, broken: Mapping[str, str] | None = None) -> dict[str, ModelSpec]:
    """The models that the setting lists, by name, in its order; `broken`: plugins that could not be loaded, and why.

    Raises ValueError, which names the model, what is wrong and what is allowed.
    """
    value = listed(value)
    if isinstance(value, Mapping) or not isinstance(value, Sequence) or not value:
        raise ValueError(f"models = {value!r}: a list of names, or of mappings with name, type, params and of")
    found: dict[str, ModelSpec] = {}
    for item in value:
        spec = _spec(item, broken or {})
        if spec.name in found:
            raise ValueError(f"models: {spec.name!r} is there twice: each name at most once")
        for member in spec.of:
            if member not in found:
                raise ValueError(
                    f"models: {spec.name!r} is made of {member!r}, which is not listed before it: list every member "
                    f"above it (before it are {', '.join(found) or 'none'})"
                )
        if len(set(spec.of)) < len(spec.of):
            raise ValueError(f"models: {spec.name!r} is made of {', '.join(spec.of)}: name each member once")
        found[spec.name] = spec
    return found


def _spec(item: Any, broken: Mapping[str, str]) -> ModelSpec:
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ValueError(f"models: {item!r}: a name, or a mapping such as {{name: big, type: xgboost, params: {{}}}}")
    name, type_name = item["name"], item.get("type", item["name"])
    try:
        known = isinstance(type_name, str) and registry.is_type(type_name)
    except ValueError as error:
        raise ValueError(f"models: {name}: {error}") from None
    if not known:
        raise ValueError(_unknown(name, type_name, broken))
    if name != type_name or ":" in name:
        if name in registry.names():
            raise ValueError(f"models: {name!r} is the name of a model itself: call this {type_name} otherwise")
        if not _NAME.match(name) or name in RESERVED:
            raise ValueError(
                f"models: {name!r}: lower-case letters, digits and underscores, at most 40, beginning with a letter; "
                f"not {', '.join(RESERVED)}"
            )
    of, params = item.get("of", ()), item.get("params", {})
    if isinstance(of, str) or not isinstance(of, Sequence) or not all(isinstance(member, str) for member in of):
        raise ValueError(f"models: {name}: of = {of!r}: a list of names of models")
    if not isinstance(params, Mapping):
        raise ValueError(f"models: {name}: params = {params!r}: a mapping of hyperparameters")
    # `how: linear_pool` beside `of` reads better than a mapping in a mapping: both mean the same.
    beside = {key: value for key, value in item.items() if key not in _KEYS}
    model_type = registry.model_class(type_name)
    for key in beside:
        if key not in model_type.hyperparameters:
            near = difflib.get_close_matches(str(key), [*_KEYS, *model_type.hyperparameters], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            allowed = ", ".join([*_KEYS, *model_type.hyperparameters])
            raise ValueError(f"models: {name}: no such key {key!r}; known: {allowed}{hint}")
        if key in params:
            raise ValueError(f"models: {name}: {key} is given twice, in params and beside it")
    if model_type.tags.scope == "panel":
        raise ValueError(
            f"models: {name!r}: {type_name} is fitted on many series at once, and the daily graph fits one: use it in "
            "a training job"
        )
    given = {**params, **beside}
    try:
        model = registry.model_of(registry.spec(name, type_name, given, of))
    except (TypeError, ValueError) as error:
        raise ValueError(f"models: {name}: {error}") from None
    # A default that is written out is the default: the same model, whose fits stay.
    kept = {key: model.params[key] for key in given if model.params[key] != model.hyperparameters[key].default}
    return registry.spec(name, type_name, kept, of)


def _unknown(name: str, type_name: Any, broken: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(str(type_name), registry.names(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = f"models: {name}: type {type_name!r}" if name != type_name else f"models: {name!r}"
    if type_name in registry.families():
        return (
            f"{what} is a library: say which of its models, such as `type: {type_name}:MSTL`, under a name of its own"
        )
    lost = "".join(f"; the plugin {module} could not be loaded: {why}" for module, why in broken.items())
    return f"{what} is unknown; known: {', '.join(_types())}{hint}{lost}"


def _types() -> list[str]:
    return [*registry.names(), *(f"{family}:<Model>" for family in registry.families())]
