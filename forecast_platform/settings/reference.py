"""docs/configuration.md, written from the settings: `python3 tasks.py docs`."""

from __future__ import annotations

import datetime as dt
import json
import sys
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from forecast_platform.settings.root import PREFIX, Settings

_HEAD = f"""\
# Configuration

Written from `forecast_platform/settings/` by `python3 tasks.py docs`; change it there.

Every setting has a default, and the defaults run the packaged sample. A setting comes from the first of:

1. an environment variable, `{PREFIX}<NAME>`;
2. the YAML file that `{PREFIX}CONFIG` names;
3. the default.

Lists and mappings in an environment variable are JSON; a field of a nested setting can have a variable of its own,
with two underscores: `{PREFIX}PUBLICATION_LAG_DAYS__WEATHER=5`. An unknown name, in the file or in the environment,
is an error. `forecast-platform doctor` says which variables were read, and what they come to. The command line and the
UI must have the same settings: the partitions are made of them.

`<home>` below is `.forecast_platform` in the checkout, or in your home folder where the package is installed without
one.

## A YAML file

```yaml
source: landing
landing: /data/landing
warehouse: /data/warehouse
start_date: 2018-01-01
series:
  - name: Coffee
    covariates: [vix, usd_brl]
  - name: Sugar
    covariates: [vix, usd_brl]
    regions: [Brazil]
models: [naive, random_walk, xgboost]
```

## Settings

"""

_DYNAMIC = {
    "warehouse": "`<home>/warehouse`",
    "models": "every registered model",
    "workers": "cores, at most 2",
    "series": "those of the source",
    "end_date": "none; `2019-01-04` for the sample",
}
"""Defaults that depend on the machine or on other settings, as text."""


_TYPES = {
    str: "text",
    SecretStr: "text (secret)",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    dt.date: "date",
    dt.time: "time",
}


def render() -> str:
    """The page, Markdown; the same on every machine."""
    rows = [_row(name, field, f"`{PREFIX}{name.upper()}`") for name, field in Settings.model_fields.items()]
    parts = [f"{_HEAD}{_table(rows, 'variable')}"]
    for model in _nested(Settings):
        fields = [_row(name, field, None) for name, field in model.model_fields.items()]
        parts.append(f"## {model.__name__}\n\n{(model.__doc__ or '').strip()}\n\n{_table(fields, None)}")
    return "\n".join(parts)


def _nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The settings models that the fields of `model` hold, in order, and theirs."""
    found: list[type[BaseModel]] = []
    for field in model.model_fields.values():
        for one in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(one, type) and issubclass(one, BaseModel) and one not in found:
                found += [one, *(deeper for deeper in _nested(one) if deeper not in found)]
    return found


def _table(rows: list[list[str]], variable: str | None) -> str:
    head = ["setting", *([variable] if variable else []), "type", "default", "meaning"]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _row(name: str, field: FieldInfo, variable: str | None) -> list[str]:
    text = (field.description or "").replace("|", "\\|").replace("\n", " ")
    cells = [f"`{name}`", _type(field.annotation), _default(name, field), f"{text}{_bounds(field)}"]
    return [cells[0], variable, *cells[1:]] if variable else cells


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        # What is checked is no part of the type that people write.
        return _type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    arguments = [one for one in typing.get_args(annotation) if one not in (type(None), Ellipsis)]
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type(arguments[0])}"
    if typing.get_origin(annotation) is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if arguments:
        return " or ".join(_type(one) for one in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(name: str, field: FieldInfo) -> str:
    if name in _DYNAMIC and (field.default_factory is not None or name in ("series", "end_date")):
        return _DYNAMIC[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == ():
        return "none"
    if isinstance(value, BaseModel):
        return "see there"
    if isinstance(value, bool | tuple | list):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{word} {getattr(one, sign):,}" for one in field.metadata for sign, word in signs.items() if hasattr(one, sign)
    ]
    return f" ({', '.join(found)})" if found else ""


if __name__ == "__main__":
    sys.stdout.write(render())
