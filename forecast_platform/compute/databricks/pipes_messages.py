"""Pipes' context and messages in a folder of a Unity Catalog volume, whose name is known before the run is there."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import PipesContextInjector, PipesMessageReader
from dagster_pipes import PipesBlobStoreMessageWriter, decode_param

from forecast_platform.compute.databricks.chunk_task import CONTEXT
from forecast_platform.compute.databricks.connection import Connection
from forecast_platform.compute.databricks.volume import Volume
from forecast_platform.hiding import hidden_in


def context_path(folder: str) -> str:
    """Where a run's context is: also what a run is told from others by."""
    return f"{folder}/context.json"


def context_of(parameters: Mapping[str, str]) -> str | None:
    """Where the context of a run with these parameters is; None where it is no run of ours."""
    text = parameters.get(CONTEXT)
    if not text:
        return None
    try:
        return str(decode_param(text)["path"])
    # Whatever somebody else's job keeps under this name.
    except (ValueError, zlib.error, KeyError, TypeError):
        return None


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
