"""YAML as plain values that remember where they stand: line and column of each value, and its text as written."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_MOST_NODES = 20_000
_DEEPEST = 40


@dataclass(frozen=True)
class Problem:
    """One fault of a file. line and column count from 1; `text` ends with what to do."""

    line: int
    column: int
    where: str
    text: str

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}"
        return f"{place}: {self.where}: {self.text}" if self.where else f"{place}: {self.text}"


class WorkflowError(ValueError):
    """A workflow that cannot be read or run; `problems` says each fault with its place and mend."""

    def __init__(self, problems: list[Problem], name: str = "") -> None:
        self.problems = sorted(problems, key=lambda one: (one.line, one.column))
        self.name = name
        super().__init__("\n".join(f"{name}: {one}" if name else str(one) for one in self.problems))


@dataclass(frozen=True)
class Mark:
    """Where a value was written: line and column from 1, its first and last+1 character, and a scalar's own text."""

    line: int
    column: int
    start: int
    end: int
    raw: str | None = None
    plain: bool = False
    """Whether a scalar stands without quotes."""


@dataclass
class Document:
    """A YAML document: its values, and the mark of each by path. Keys have marks of their own in `keys`."""

    values: Any
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark:
        """The mark of a path, or of the nearest value above it that is there."""
        for length in range(len(path), -1, -1):
            if (found := self.marks.get(path[:length])) is not None:
                return found
        return Mark(1, 1, 0, 0)

    def problem(self, path: Path, text: str, *, at_key: bool = False) -> Problem:
        """A fault at a path."""
        found = self.keys[path] if at_key and path in self.keys else self.mark(path)
        return Problem(found.line, found.column, dotted(path), text)


def dotted(path: Path) -> str:
    """A path as text: obsrv.job[1].task."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def text_of(path: pathlib.Path) -> str:
    """The text that a file holds. Raises OSError, and WorkflowError where it is not in UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode("utf-8")) + 1
        what = f"the byte {data[error.start]:#04x} is no UTF-8: save the file as UTF-8"
        raise WorkflowError([Problem(line, column, "", what)], path.name) from None


def read_document(text: str) -> Document:
    """The document that a text holds. Raises WorkflowError: it is no YAML, names a key twice, or is several."""
    import yaml

    loader = yaml.SafeLoader(_printable(text))
    try:
        node = loader.get_single_node()
        if node is None:
            raise WorkflowError([Problem(1, 1, "", "the file is empty: a workflow begins with `obsrv:`")])
        document = Document(None)
        document.values = _Walk(loader, document).value(node, ())
    except yaml.MarkedYAMLError as error:
        raise WorkflowError([_broken(error, text)]) from error
    except yaml.YAMLError as error:
        raise WorkflowError([Problem(1, 1, "", f"this is no YAML: {error}")]) from error
    except RecursionError as error:
        raise WorkflowError([Problem(1, 1, "", "the file nests too deeply: write it flatter")]) from error
    finally:
        loader.dispose()
    return document


def _printable(text: str) -> str:
    """The text, refused where it holds characters that YAML does not allow."""
    from yaml.reader import Reader

    found = Reader.NON_PRINTABLE.search(text)
    if found is not None:
        before = text[: found.start()]
        line, column = before.count("\n") + 1, found.start() - (before.rfind("\n") + 1) + 1
        what = f"the character U+{ord(found[0]):04X} is not allowed in YAML: remove it"
        raise WorkflowError([Problem(line, column, "", what)])
    return text


class _Walk:
    """From nodes to values."""

    def __init__(self, loader: Any, document: Document) -> None:
        self.loader, self.document, self.seen = loader, document, 0

    def value(self, node: Any, path: Path) -> Any:
        import yaml

        self.seen += 1
        if len(path) > _DEEPEST or self.seen > _MOST_NODES:
            what = "an anchor holds itself, or the file nests too deeply or is too long: write it out, shorter"
            raise WorkflowError([Problem(node.start_mark.line + 1, node.start_mark.column + 1, dotted(path), what)])
        scalar = isinstance(node, yaml.ScalarNode)
        self.document.marks[path] = _mark(node, node.value if scalar else None)
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except (ValueError, OverflowError, yaml.YAMLError) as error:
            what = f"{node.value!r} cannot be read ({str(error).splitlines()[0]}): put it in quotes if it is text"
            raise WorkflowError([self.document.problem(path, what)]) from error

    def _pairs(self, node: Any, path: Path) -> Iterator[tuple[str, Any]]:
        import yaml

        first: dict[str, int] = {}
        for key, value in node.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                what = "keys are plain words here: write the mapping out"
                raise WorkflowError([Problem(line, column, dotted(path), what)])
            name = str(key.value)
            if name in first:
                what = f"{name!r} stands here twice (first in line {first[name]}): remove one of them"
                raise WorkflowError([Problem(line, column, dotted((*path, name)), what)])
            first[name] = line
            own = (*path, name)
            self.document.keys[own] = _mark(key, name)
            yield name, self.value(value, (*path, name))


def _mark(node: Any, raw: str | None) -> Mark:
    begin, end = node.start_mark, node.end_mark
    plain = raw is not None and getattr(node, "style", None) is None
    return Mark(begin.line + 1, begin.column + 1, begin.index, end.index, raw, plain)


def _broken(error: Any, text: str) -> Problem:
    """What is wrong with a text that is no YAML, and the likely mend."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    said = str(error.problem or error).strip()
    if "mapping values are not allowed" in said:
        key, _, rest = shown.partition(":")
        mend = (
            f"after `{key.strip()}:` stands text with another colon: if {rest.strip()!r} is a comment, write `#` "
            "before it; if it is a value, put it in quotes"
        )
    elif "\\t" in said or "'\\t'" in said or "\t" in shown:
        mend = "YAML indents with spaces: replace the tab"
    elif "could not find expected ':'" in said or "expected <block end>" in said:
        mend = (
            f"{shown!r} is neither `key: value` nor indented under the line above: a comment needs `#` before it, a "
            "key its colon, and keys of one mapping the same indentation"
        )
    elif "did not find expected ',' or ']'" in said or "expected ',' or ']'" in said:
        mend = "a list in brackets needs commas between its items, and its closing bracket"
    elif "expected ',' or '}'" in said:
        mend = "a mapping in braces needs commas between its pairs, and its closing brace"
    else:
        mend = f"mend what stands there ({shown!r})" if shown else "mend what stands there"
    return Problem(line, column, "", f"this is no YAML ({said}): {mend}")


def looks_unseparated(text: object) -> list[str]:
    """The words of a text that was meant as several: empty where it is one word or no text."""
    if not isinstance(text, str):
        return []
    words = re.split(r"\s+", text.strip())
    return words if len(words) > 1 else []
