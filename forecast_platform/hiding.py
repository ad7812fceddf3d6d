"""Keeps the values of this process's secret variables out of what others read: logs, events, errors, tables.

Only the process that has a secret can know its value, so it is taken out there: on the cluster, before a text leaves.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

SECRETS = "SECRET_VARIABLES"
"""The variable that names those that hold secrets, comma-separated."""

HIDDEN = "***"

_ALWAYS = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET")
_SHORTEST = 4
"""Characters from which a secret's value is taken out of texts: shorter ones are parts of words."""
_STRUCTURE = ("__class__", "__enum__")
"""Names by which Dagster's JSON says what a value is; without them it cannot be read again."""


class SecretShownError(RuntimeError):
    """An error whose text or traceback showed a secret; the message is both, without it."""


class Hide:
    """Takes the values that the environment's secret variables have now out of texts."""

    def __init__(self) -> None:
        names = {*_ALWAYS, *os.environ.get(SECRETS, "").split(",")} - {""}
        values = {os.environ.get(name, "") for name in names}
        shown = {form for value in values if len(value) >= _SHORTEST for form in _forms(value)}
        self._shown = sorted(shown, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """`text` without the values, also as JSON, Python or an address writes them."""
        for form in self._shown:
            text = text.replace(form, HIDDEN)
        return text


def hide(text: str) -> str:
    """`text` without the secrets of this moment: they may be set after the start."""
    return Hide()(text)


def hidden_in(value: Any, without: Callable[[str], str] = hide) -> Any:
    """A value of JSON without secrets, text by text: in one text a secret's end and a quote may look alike."""
    if isinstance(value, str):
        return without(value)
    if isinstance(value, dict):
        return {name: inner if name in _STRUCTURE else hidden_in(inner, without) for name, inner in value.items()}
    return [hidden_in(inner, without) for inner in value] if isinstance(value, list) else value


class HidingStream:
    """An output stream that takes the secrets out of what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text` without secrets."""
        self._stream.write(hide(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line without secrets."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def hidden() -> Iterator[None]:
    """No secret in what is printed, logged or raised: a workspace keeps both, for whoever may see the run.

    Raises SecretShownError in the place of an error that shows one.
    """
    with redirect_stdout(HidingStream(sys.stdout)), redirect_stderr(HidingStream(sys.stderr)):
        try:
            yield
        except Exception as error:
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            told = hide(trace)
            if told == trace:
                raise
            raise SecretShownError(hide(f"{type(error).__name__}: {error}\n\n{trace}")) from None


def _forms(value: str) -> set[str]:
    """How a value is written: itself, as JSON (also within JSON's text), as Python shows it, within an address."""
    as_json = json.dumps(value)[1:-1]
    plain = json.dumps(value, ensure_ascii=False)[1:-1]
    address = {quote(value), quote(value, safe=""), quote_plus(value)}
    return {value, as_json, json.dumps(as_json)[1:-1], plain, repr(value)[1:-1], *address}
