"""The YAML file of settings: bounded before it is parsed, each name once, and nothing in it taken for another type.

YAML 1.1 reads 17:30 as the number 1050, 010 as 8, and a date with an offset as another day's. Here times, dates and
numbers of any odd form are texts, which the setting's own type reads or refuses.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from forecast_platform.settings.parts import SettingsError

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_NODES = 50_000

_TAG = "tag:yaml.org,2002:"


def read_yaml(path: Path, variable: str) -> dict[str, Any]:
    """The settings in the file that `variable` names. Raises SettingsError."""
    import yaml

    given = f"config ({variable}) = {str(path)!r}"
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{given}: no account of this name has a home folder here") from error
    if not path.is_file():
        raise SettingsError(f"{given}: no such file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SettingsError(f"{given}: {size:,} bytes; settings take at most {MAX_BYTES:,}: is it another file?")
    try:
        text = path.read_text(encoding="utf-8-sig")
        _bound(text, given)
        found = yaml.load(text, Loader=_loader())  # noqa: S506 - a SafeLoader with fewer types
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{given}: not readable as YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(f"{given}: settings are `name: value` lines, not a list")
    return found


def _bound(text: str, given: str) -> None:
    """Refuse what would take long, or the stack, to build: events come one by one, without recursion."""
    import yaml

    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise SettingsError(f"{given}: line {_line(event)}: *{event.anchor} repeats another part; write it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            what = f"nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
            raise SettingsError(f"{given}: line {_line(event)}: {what}: is it another file?")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Each name once; truth values, decimal numbers and null, and texts for all else."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value]
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            if twice:
                where = node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"{', '.join(twice)}: given twice in the block that begins on line {where}; keep one"
                )
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    Loader.add_implicit_resolver(
        f"{_TAG}bool",
        re.compile(r"^(?:true|True|TRUE|false|False|FALSE|yes|Yes|no|No|on|On|off|Off)$"),
        list("tTfFyYnNoO"),
    )
    Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
    Loader.add_implicit_resolver(
        f"{_TAG}float",
        re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
        list("-+.0123456789"),
    )
    Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
    return Loader
