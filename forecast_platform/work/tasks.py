"""Tasks: pieces of work that every compute runs, as texts that go back and forth.

A task of a *plain* kind is a function of JSON, self-contained: it runs in another process, on a Spark worker or in a
Databricks run, and its value comes back. `chunk` and `fit` are kinds too, that write to the tables or hand back arrays;
which of their keys are there is for the tables to say.
"""

from __future__ import annotations

import datetime as dt
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from forecast_platform.work.describe import describe
from forecast_platform.work.results import RemoteRun, ranges_text

CHUNK, FIT = "chunk", "fit"
CONTEXT = "pipes_context"
PIPES = {CONTEXT: "DAGSTER_PIPES_CONTEXT", "pipes_messages": "DAGSTER_PIPES_MESSAGES"}
"""Parameters that carry Pipes' own bootstrap, and Pipes' names for them."""

Work = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What a plain kind does: a function of JSON values that gives JSON values."""

PLAIN: dict[str, Work] = {"describe": describe}
"""The plain kinds and their functions; `register` adds those of packages above this one, and of plugins."""


class UnknownKindError(LookupError):
    """No kind of task has this name; the message says which there are."""


def register(kind: str, work: Work) -> None:
    """Add a plain kind. Call it where the function's module is imported: that is how another process comes to know it.

    Raises ValueError where the name is another's, or the function is none of a module's.
    """
    named = callable(work) and hasattr(work, "__qualname__")
    place = _place(work) if named else repr(work)
    if not named or work.__module__ == "__main__" or not work.__qualname__.isidentifier():
        raise ValueError(f"task kind {kind!r}: another process cannot import {place}: give a function of a module")
    if kind in (CHUNK, FIT) or (kind in PLAIN and target_of(kind) != place):
        owner = target_of(kind) if kind in PLAIN else "the platform"
        raise ValueError(f"task kind {kind!r} is taken by {owner}: choose another name")
    PLAIN[kind] = work


def work_of(kind: str, target: str = "") -> Work:
    """The function of a plain kind.

    target: what `target_of` says in the process that asks. A process that does not know the kind imports the target's
    module, which registers it; no other function can be named so. Raises UnknownKindError, ImportError.
    """
    if target and kind not in PLAIN:
        import_module(target.partition(":")[0])
    if kind not in PLAIN:
        where = f", nor by {target}" if target else ""
        raise UnknownKindError(f"task kind {kind!r} is not registered{where}; known: {', '.join(sorted(PLAIN))}")
    if target and target != target_of(kind):
        raise UnknownKindError(f"task kind {kind!r} is {target_of(kind)} here, not {target}: install the same code")
    return PLAIN[kind]


def target_of(kind: str) -> str:
    """Where the function of a plain kind is: `module:function`."""
    return _place(PLAIN[kind])


def _place(work: Work) -> str:
    return f"{work.__module__}:{work.__qualname__}"


@dataclass(frozen=True)
class TaskRequest:
    """What is asked for.

    subject: whose work it is; for `chunk` and `fit` series, model and version.
    keys: what is to be made; for `chunk` forecast dates, for `fit` windows, as ISO dates.
    payload: what a plain kind's function is given, JSON.
    """

    kind: str
    subject: tuple[str, ...]
    keys: tuple[str, ...]
    payload: str = "{}"

    @classmethod
    def of_dates(cls, kind: str, series: str, model: str, version: str, dates: tuple[dt.date, ...]) -> TaskRequest:
        """A request for a series', model's and version's forecast dates or windows."""
        return cls(kind, (series, model, version), tuple(day.isoformat() for day in dates))

    @classmethod
    def plain(cls, kind: str, name: str, payload: Mapping[str, Any]) -> TaskRequest:
        """A request of a plain kind; `name` is what people see.

        Raises UnknownKindError; TypeError or ValueError where the payload is no JSON.
        """
        work_of(kind)
        return cls(kind, (name,), (name,), json.dumps(payload, sort_keys=True, allow_nan=False))

    @property
    def dates(self) -> tuple[dt.date, ...]:
        """The keys as dates. Raises ValueError where they are none."""
        return tuple(map(dt.date.fromisoformat, self.keys))

    @property
    def about(self) -> str:
        """What is asked for, as text."""
        if self.kind not in (CHUNK, FIT):
            return f"{self.kind} {' '.join(self.subject)}"
        what = "windows" if self.kind == FIT else "dates"
        return f"{' '.join(self.subject)}, {len(self.keys)} {what} {ranges_text(self.dates)}"

    @property
    def place(self) -> tuple[bool, str | None]:
        """What a plain task's payload asks of the machine: whether a GPU, and which cluster."""
        payload = json.loads(self.payload)
        return bool(payload.get("gpu")), payload.get("cluster")

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON takes it."""
        return {**vars(self), "subject": list(self.subject), "keys": list(self.keys)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskRequest:
        """The request that `to_dict` gave, in this version or version 0.1."""
        if "action" in values:
            subject = (values["series"], values["model"], values["version"])
            return cls(values["action"], subject, tuple(values["dates"]))
        return cls(values["kind"], tuple(values["subject"]), tuple(values["keys"]), values["payload"])


@dataclass
class TaskResult:
    """What became of a task's keys; of a plain one, its value or why there is none."""

    request: TaskRequest
    written: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    value: Mapping[str, Any] | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    runs: list[RemoteRun] = field(default_factory=list)


def perform(request: TaskRequest, target: str = "") -> TaskResult:
    """Do a plain task here. What goes wrong in it fails its keys.

    target: where its kind's function is, as the asking process says.
    Raises OSError, MemoryError and ImportError: the machine's faults, which another try may not have.
    """
    started = time.perf_counter()
    try:
        value = work_of(request.kind, target)(json.loads(request.payload))
        text = json.dumps(value, allow_nan=False)
    except (OSError, MemoryError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - told as the task's own failure
        reason = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        return TaskResult(request, failed=dict.fromkeys(request.keys, reason), seconds=seconds)
    # Through JSON, as where it comes from afar: a tuple is a list everywhere.
    value = json.loads(text)
    return TaskResult(request, set(request.keys), value=value, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class Reply:
    """What a run elsewhere said of its keys: why some failed, and the value of a plain task. Which keys of other kinds
    are there is for the tables to say."""

    failed: dict[str, str]
    notes: list[str]
    seconds: float
    value: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The reply as JSON takes it, each reason once."""
        by_reason: dict[str, list[str]] = {}
        for key, reason in self.failed.items():
            by_reason.setdefault(reason, []).append(key)
        return {"failed": by_reason, "notes": self.notes, "seconds": self.seconds, "value": self.value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reply:
        """The reply that `to_dict` gave."""
        failed = {key: reason for reason, keys in values["failed"].items() for key in keys}
        return cls(failed, list(values["notes"]), float(values["seconds"]), values.get("value"))


def context_path(folder: str) -> str:
    """Where a run's context is: also what a run is told from others by."""
    return f"{folder}/context.json"


def context_of(parameters: Mapping[str, str]) -> str | None:
    """Where the context of a run with these parameters is; None where it is no run of ours."""
    from dagster_pipes import decode_param

    text = parameters.get(CONTEXT)
    if not text:
        return None
    try:
        return str(decode_param(text)["path"])
    # Whatever somebody else's job keeps under this name.
    except (ValueError, zlib.error, KeyError, TypeError):
        return None
