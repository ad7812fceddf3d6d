"""One remote run of a Dagster step: submitted once, watched, its messages passed on, cancelled and waited for.

The Pipes protocol is the library's (session, handler, message format); context and messages travel in a folder of a
Unity Catalog volume whose name is known before the run is there, so that a later process can read on. The library's
own clients do not keep the run's id, submit without an idempotency token, and swallow an interrupt.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from dagster import open_pipes_session
from dagster_pipes import encode_param

from forecast_platform import owner
from forecast_platform.compute.databricks.book import DAY_SECONDS, Book, Entry
from forecast_platform.compute.databricks.chunk_task import PIPES, Reply
from forecast_platform.compute.databricks.connection import Connection, DatabricksError
from forecast_platform.compute.databricks.deploy import Deployment
from forecast_platform.compute.databricks.monitor import ENDED, Ended, cancel, life_of
from forecast_platform.compute.databricks.pipes_messages import VolumeContext, VolumeMessages, context_path
from forecast_platform.compute.databricks.submit import launch, run_or_none, wheel_task
from forecast_platform.compute.databricks.volume import Volume
from forecast_platform.compute.databricks.watch import Watch

FIND_SECONDS = 3_600.0
"""How long after its entry was written a run may start; without one by then, none was submitted."""


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

    def find(self) -> bool:
        """Whether the workspace has the run of an entry whose process was killed before it could keep the run's id.

        Looked for by the context that it was given, since to submit again with the token would start one where there
        is none. Raises DatabricksError.
        """
        from databricks.sdk.service.jobs import RunType

        context = encode_param({"path": context_path(self.entry.folder)})
        touched = self.book.touched(self.entry)

        def listed() -> int | None:
            found = self.connection.client.jobs.list_runs(
                run_type=RunType.SUBMIT_RUN,
                expand_tasks=True,
                # Before it, as the entry may have been taken over since; after it, as a call may be tried again.
                start_time_from=int((touched - DAY_SECONDS) * 1000),
                start_time_to=int((touched + FIND_SECONDS) * 1000),
            )
            for run in found:
                for task in run.tasks or []:
                    wheel = task.python_wheel_task
                    if wheel and (wheel.named_parameters or {}).get("pipes_context") == context:
                        return run.run_id
            return None

        run_id = self.connection.call("listing the runs that were submitted", listed)
        if run_id is not None:
            self.entry = replace(self.entry, run_id=run_id)
        return run_id is not None

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
