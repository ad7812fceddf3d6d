"""The port of a step: what a compute that submits runs reports through."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from forecast_platform.clients.databricks.connection import Connection


class StepLog(Protocol):
    """The step's log, as operators see it."""

    def info(self, msg: str) -> object:
        """Say what happens."""
        ...

    def warning(self, msg: str) -> object:
        """Say what may need attention."""
        ...

    def error(self, msg: str) -> object:
        """Say what has failed."""
        ...


class Conversation(Protocol):
    """What is exchanged with one remote run."""

    def bootstrap(self) -> Mapping[str, str]:
        """The variables by which the run finds its context and messages."""
        ...

    def pull(self, *, quick: bool = False) -> None:
        """Pass on what has come since the last call; `quick`: what cannot be read at once is left to the next.

        Raises DatabricksError.
        """
        ...

    def said(self) -> list[dict[str, Any]]:
        """The run's own messages so far, the oldest first."""
        ...


class Step(Protocol):
    """A step that remote runs work for."""

    @property
    def log(self) -> StepLog:
        """The step's log."""
        ...

    def conversation(
        self, connection: Connection, folder: str, extras: Mapping[str, Any], *, begun: bool
    ) -> AbstractContextManager[Conversation]:
        """Exchange context and messages with a run in a folder of a volume; `begun`: the run is there already."""
        ...
