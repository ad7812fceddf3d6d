"""One remote run of a Dagster step: submitted once, watched, its messages passed on, cancelled and waited for.

The Pipes protocol is the library's (session, handler, message format); context and messages travel in a folder of a
Unity Catalog volume whose name is known before the run is there, so that a later process can read on. The library's
own clients do not keep the run's id, submit without an idempotency token, and swallow an interrupt.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from dagster import PipesContextInjector, PipesMessageReader, open_pipes_session
from dagster_pipes import PipesBlobStoreMessageWriter

from forecast_platform import owner
from forecast_platform.compute.databricks.book import Book, Entry
from forecast_platform.compute.databricks.chunk_task import PIPES, Reply
from forecast_platform.compute.databricks.connection import Connection, DatabricksError
from forecast_platform.compute.databricks.deploy import Deployment
from forecast_platform.compute.databricks.monitor import ENDED, Ended, Watch, cancel, life_of
from forecast_platform.compute.databricks.submit import launch, run_or_none, wheel_task
from forecast_platform.hiding import hidden_in


class Volume:
    """Files in a Unity Catalog volume."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.files = connection.client.files

    def make(self, folder: str) -> None:
        """Make a folder. Raises DatabricksError, with the mend where the volume is not there."""
        volume = self.connection.options.volume
        try:
            self.connection.call(f"making {folder}", lambda: self.files.create_directory(folder))
        except DatabricksError as error:
            name = ".".join(volume.split("/")[2:5])
            raise DatabricksError(
                f"{error}\nis databricks.volume = {volume} there, and yours to write? In SQL: "
                f"CREATE VOLUME IF NOT EXISTS {name}",
                passing=error.passing,
            ) from None

    def write(self, path: str, content: bytes) -> None:
        """Write a file. Raises DatabricksError."""
        self.connection.call(f"writing {path}", lambda: self.files.upload(path, io.BytesIO(content), overwrite=True))

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is none. Raises DatabricksError."""
        from databricks.sdk.errors import NotFound

        def download() -> bytes | None:
            try:
                found = self.files.download(path).contents
            except NotFound:
                return None
            return found.read() if found else b""

        return self.connection.call(f"reading {path}", download)

    def remove(self, folder: str) -> None:
        """Remove a folder and what it holds; one that is not there is none. Raises DatabricksError."""
        from databricks.sdk.errors import NotFound

        def delete() -> None:
            try:
                for item in list(self.files.list_directory_contents(folder)):
                    if item.is_directory:
                        self.remove(str(item.path))
                    else:
                        self.files.delete(str(item.path))
                self.files.delete_directory(folder)
            except NotFound:
                return

        self.connection.call(f"removing {folder}", delete)


class VolumeContext(PipesContextInjector):
    """Writes the context where the run will read it; the context of a run that is there already stays as it is."""

    def __init__(self, volume: Volume, folder: str, *, write: bool) -> None:
        self.volume, self.folder, self.write = volume, folder, write

    @contextmanager
    def inject_context(self, context_data: Any) -> Iterator[dict[str, Any]]:
        """Write the context and yield where it is."""
        path = f"{self.folder}/context.json"
        if self.write:
            self.volume.write(path, json.dumps(context_data).encode())
        yield {"path": path}

    def no_messages_debug_text(self) -> str:
        """Where the context was put, for Pipes' warning."""
        return f"The context is {self.folder}/context.json."


class VolumeMessages(PipesMessageReader):
    """Reads a run's messages when asked to, from the first, without the secrets that its code may have logged.

    The library's reader does so in threads, from a folder of a random name, and loses a chunk that it reads while it is
    being written.
    """

    def __init__(self, volume: Volume, folder: str) -> None:
        self.volume, self.folder = volume, folder
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

    def pull(self) -> None:
        """Hand over what has come since the last call. Raises DatabricksError."""
        while not self._handler.received_closed_message:
            content = self.volume.read(f"{self.folder}/messages/{self._next}.json")
            if not content:
                return
            try:
                messages = [json.loads(line) for line in content.decode().splitlines()]
            except ValueError:  # it is being written
                return
            self._next += 1
            for message in messages:
                self._handler.handle_message(hidden_in(message, self.volume.connection.redact))

    def no_messages_debug_text(self) -> str:
        """Where messages are expected, for Pipes' warning."""
        return f"Messages are read from {self.folder}/messages; the run's page shows its own output."


class PipesRun:
    """The run of one entry, in one Dagster step."""

    def __init__(self, connection: Connection, deployed: Deployment, book: Book, entry: Entry, step: Any) -> None:
        self.connection, self.deployed, self.book, self.entry, self.step = connection, deployed, book, entry, step
        self.mine = owner.this_process() == entry.owner
        self.volume = Volume(connection)
        self._messages = VolumeMessages(self.volume, entry.folder)
        self._stack = ExitStack()
        self._session: Any = None
        self._launching: Future[int] | None = None
        self._watch: Watch | None = None
        self._unreached: float | None = None

    @property
    def url(self) -> str:
        """The run's page; empty while it is not known."""
        return self._watch.url if self._watch else ""

    def adopt(self) -> None:
        """Take over a run whose own process is gone."""
        self.entry = self.book.adopt(self.entry)
        self.mine = owner.this_process() == self.entry.owner

    def start(self, *, serverless: bool) -> None:
        """Submit the run, or find the one that the entry's token has started. Raises DatabricksError."""
        entry = self.entry
        if entry.run_id is None:
            self.volume.make(f"{entry.folder}/messages")
        self._session = self._stack.enter_context(
            open_pipes_session(
                self.step,
                VolumeContext(self.volume, entry.folder, write=entry.run_id is None),
                self._messages,
                extras={"chunk": entry.request.to_dict()},
            )
        )
        if entry.run_id is None:
            bootstrap = self._session.get_bootstrap_env_vars()
            options = self.connection.options
            parameters = {
                **({"config": self.deployed.config} if self.deployed.config else {}),
                "compute": options.remote_compute,
                **{name: bootstrap[variable] for name, variable in PIPES.items()},
            }
            action = entry.request.action
            task = wheel_task(options, self.deployed, action, parameters, serverless=serverless)
            name = f"forecast-platform {action} {entry.request.model}"
            # In a thread, so that an interrupt cannot come between the call and its answer.
            with ThreadPoolExecutor(1, thread_name_prefix="submit") as pool:
                self._launching = pool.submit(
                    launch, self.connection, self.deployed, name, [task], entry.token, serverless=serverless
                )
                self._known(self._launching.result())
        self._watch = Watch(self.connection, self.run_id, self._say, self._warn)
        self._say(f"{entry.request.about}: Databricks run {self.run_id}")

    def _known(self, run_id: int) -> None:
        self.entry = replace(self.entry, run_id=run_id)
        self.book.keep(self.entry)

    @property
    def run_id(self) -> int:
        """The run's id, known once it was submitted."""
        if self.entry.run_id is None:
            raise DatabricksError(f"{self.entry.request.about}: no run was submitted")
        return self.entry.run_id

    def over(self) -> bool:
        """Whether an entry's run has ended, or is not known any more, before it was ever watched here."""
        if self.entry.run_id is None:
            return False
        run = run_or_none(self.connection, self.entry.run_id)
        return run is None or life_of(run) in ENDED

    def look(self) -> Ended | None:
        """Pass on new messages; how the run ended, where it has.

        A workspace that is not reached is waited for. Raises DatabricksError where that took too long, or it refuses.
        """
        if self._watch is None:
            raise DatabricksError(f"{self.entry.request.about}: not started")
        try:
            ended = self._watch.look()
            # After the state: what a run that has ended wrote is all there.
            self._messages.pull()
        except DatabricksError as error:
            if not error.passing:
                raise
            began = self._unreached = self._unreached or time.monotonic()
            if time.monotonic() - began >= self.connection.options.outage_seconds:
                raise
            self._warn(f"{error}; tried again")
            return None
        self._unreached = None
        return ended

    def reply(self) -> Reply | None:
        """What the run said of its keys; None where it said nothing."""
        found = [message["outcome"] for message in self._session.get_custom_messages() if "outcome" in message]
        return Reply.from_dict(found[-1]) if found else None

    def close(self) -> None:
        """The run is over: forget it, and remove its messages. One of a step that still works is left to that step."""
        self._stack.close()
        if not self.mine:
            return
        self.book.drop(self.entry)
        try:
            self.volume.remove(self.entry.folder)
        except DatabricksError as error:
            self._warn(f"{error}; left there")

    def leave(self) -> None:
        """Watch the run no longer; it stays in the book, to be found again."""
        self._stack.close()

    def ask_to_cancel(self) -> None:
        """Ask for the run's end without waiting for it. Raises DatabricksError."""
        if not self.mine:
            # The interrupt may have come in the midst of taking it over.
            self.adopt()
        if self.entry.run_id is None and self._launching is not None:
            self._known(self._launching.result())
        if self.entry.run_id is not None and self.mine:
            run_id = self.entry.run_id
            self.connection.call(f"cancelling run {run_id}", lambda: self.connection.client.jobs.cancel_run(run_id))

    def wait_for_end(self) -> None:
        """Wait until a run that was asked to end has ended, and forget it. Raises DatabricksError."""
        if not self.mine:
            self._warn(
                f"Databricks run {self.entry.run_id} was submitted by {self.entry.owner}, which works on: left alone"
            )
            self.leave()
            return
        if self.entry.run_id is not None:
            ended = cancel(self.connection, self.entry.run_id)
            self._say(f"Databricks run {ended.run_id}: {ended.result}")
        self.close()

    def _say(self, text: str) -> None:
        self.step.log.info(self.connection.redact(text))

    def _warn(self, text: str) -> None:
        self.step.log.warning(self.connection.redact(text))
