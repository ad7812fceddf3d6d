"""Keeps the values of this process's secret variables out of what others read: logs, events, errors, tables.

Only the process that has a secret can know its value, so it is taken out there: on the cluster, before a text leaves.
"""

from __future__ import annotations

import json
import logging
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
_NAMES = ("__class__", "__enum__", "event_type_value", "step_key", "job_name", "run_id", "partition")
_WHOLE = ("AssetKey", "NodeHandle", "StepHandle", "ResolvedFromDynamicStepHandle")
"""What Dagster's JSON says of what a value is and what an event is of; without them it cannot be read again, or would
be of something else. They are names of ours."""


class SecretShownError(RuntimeError):
    """An error whose text or traceback showed a secret; the message is both, without it."""


class Hide:
    """Takes the values that the environment's secret variables have now out of texts."""

    def __init__(self) -> None:
        names = {*_ALWAYS, *os.environ.get(SECRETS, "").split(",")} - {""}
        given = {os.environ.get(name, "") for name in names}
        # Also without a line's end, which a shell's pipe has put there and a library does not repeat.
        values = given | {value.strip() for value in given}
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


def hidden_in(value: Any, without: Callable[[str], str]) -> Any:
    """A value of JSON without secrets, text by text: in one text a secret's end and a quote may look alike."""
    if isinstance(value, str):
        return without(value)
    if isinstance(value, dict):
        if value.get("__class__") in _WHOLE:
            return value
        return {name: inner if name in _NAMES else hidden_in(inner, without) for name, inner in value.items()}
    return [hidden_in(inner, without) for inner in value] if isinstance(value, list) else value


class HidingStream:
    """An output stream that takes the secrets out of what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write `text` without secrets."""
        self.stream.write(hide(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line without secrets."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def hidden() -> Iterator[None]:
    """No secret in what is printed, logged or raised: a workspace keeps both, for whoever may see the run.

    Raises SecretShownError in the place of an error that shows one. The text of a SystemExit is hidden and goes on.
    """
    out, err = HidingStream(sys.stdout), HidingStream(sys.stderr)
    with _logged_to(out, err), redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        except SystemExit as stop:
            if not isinstance(stop.code, str):
                raise
            raise SystemExit(hide(stop.code)) from None
        except Exception as error:
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            told = hide(trace)
            if told == trace:
                raise
            raise SecretShownError(hide(f"{type(error).__name__}: {error}\n\n{trace}")) from None


@contextmanager
def _logged_to(*streams: HidingStream) -> Iterator[None]:
    """Handlers of logs that were made with the plain streams write to these."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    handlers = {handler for logger in loggers for handler in getattr(logger, "handlers", ())}
    changed: list[tuple[logging.StreamHandler[Any], Any]] = []
    for handler in handlers:
        if isinstance(handler, logging.StreamHandler):
            for stream in streams:
                if handler.stream is stream.stream:
                    changed.append((handler, handler.setStream(stream)))
                    break
    try:
        yield
    finally:
        for handler, before in changed:
            handler.setStream(before)


def _forms(value: str) -> set[str]:
    """How a value is written: itself, as JSON (also within JSON's text), as Python shows it, within an address."""
    as_json = json.dumps(value)[1:-1]
    plain = json.dumps(value, ensure_ascii=False)[1:-1]
    address = {quote(value), quote(value, safe=""), quote_plus(value)}
    shown = {repr(value)[1:-1], repr(f'"{value}')[2:-1]}  # which quote is escaped depends on what is around it
    return {value, as_json, json.dumps(as_json)[1:-1], plain, *shown, *address}
