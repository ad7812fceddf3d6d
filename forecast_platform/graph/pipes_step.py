"""A Dagster step as remote runs see it: its log, and Pipes' context and messages in a folder of a Unity Catalog volume.

The Pipes protocol is the library's (session, handler, message format); the folder's name is known before the run is
there, so that a later process can read on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import PipesContextInjector, PipesMessageReader, open_pipes_session
from dagster_pipes import PipesBlobStoreMessageWriter

from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.clients.databricks.volume import Volume
from forecast_platform.host.redaction import hidden_in
from forecast_platform.work.tasks import context_path


class VolumeContext(PipesContextInjector):
    """Writes the context where the run will read it; the context of a run that is there already stays as it is."""

    def __init__(self, volume: Volume, folder: str, *, write: bool) -> None:
        self.volume, self.folder, self.write = volume, folder, write

    @contextmanager
    def inject_context(self, context_data: Any) -> Iterator[dict[str, Any]]:
        """Write the context and yield where it is."""
        path = context_path(self.folder)
        if self.write:
            self.volume.write(path, json.dumps(context_data).encode())
        yield {"path": path}

    def no_messages_debug_text(self) -> str:
        """Where the context was put, for Pipes' warning."""
        return f"The context is {context_path(self.folder)}."


class VolumeMessages(PipesMessageReader):
    """Reads a run's messages when asked to, from the first, without the secrets that its code may have logged.

    The library's reader does so in threads, from a folder of a random name, and loses a chunk that it reads while it is
    being written.
    """

    def __init__(self, connection: Connection, folder: str) -> None:
        self.connection, self.folder = connection, folder
        self._handler: Any = None
        self._next = 1

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, Any]]:
        """Yield where the run writes its messages."""
        self._handler = handler
        yield {
            "path": f"{self.folder}/messages",
            # The run's own page keeps what it prints; several runs' prints in one log would be a tangle.
            PipesBlobStoreMessageWriter.INCLUDE_STDIO_IN_MESSAGES_KEY: False,
        }

    def pull(self, *, quick: bool = False) -> None:
        """Hand over what has come since the last call; `quick`: what cannot be read at once is left to the next.

        Raises DatabricksError.
        """
        volume = Volume(self.connection, quick=quick)
        while not self._handler.received_closed_message:
            content = volume.read(f"{self.folder}/messages/{self._next}.json")
            if not content:
                return
            try:
                messages = [json.loads(line) for line in content.decode().splitlines()]
            except ValueError:  # it is being written
                return
            self._next += 1
            for message in messages:
                self._handler.handle_message(hidden_in(message, self.connection.redact))

    def no_messages_debug_text(self) -> str:
        """Where messages are expected, for Pipes' warning."""
        return f"Messages are read from {self.folder}/messages; the run's page shows its own output."


class DagsterStep:
    """A Dagster step's context as the port that computes report through."""

    def __init__(self, context: Any) -> None:
        self._context = context

    @property
    def log(self) -> Any:
        """The step's log."""
        return self._context.log

    @contextmanager
    def conversation(
        self, connection: Connection, folder: str, extras: Mapping[str, Any], *, begun: bool
    ) -> Iterator[_PipesConversation]:
        """A Pipes session over a folder of a volume."""
        messages = VolumeMessages(connection, folder)
        context = VolumeContext(Volume(connection), folder, write=not begun)
        with open_pipes_session(self._context, context, messages, extras=dict(extras)) as session:
            yield _PipesConversation(session, messages)


class _PipesConversation:
    """One remote run's Pipes session."""

    def __init__(self, session: Any, messages: VolumeMessages) -> None:
        self._session, self._messages = session, messages

    def bootstrap(self) -> Mapping[str, str]:
        """The variables by which the run finds its context and messages."""
        return dict(self._session.get_bootstrap_env_vars())

    def pull(self, *, quick: bool = False) -> None:
        """Hand over what has come since the last call to the step's log and `said`. Raises DatabricksError."""
        self._messages.pull(quick=quick)

    def said(self) -> list[dict[str, Any]]:
        """The run's own messages so far, the oldest first."""
        return list(self._session.get_custom_messages())
