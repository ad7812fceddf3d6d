"""One remote run of a Dagster step: submitted once, watched, its messages passed on, cancelled and waited for.

Context and messages travel through the step's port. The Pipes library's
own clients do not keep the run's id, submit without an idempotency token, and swallow an interrupt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.deploy import Deployment
from forecast_platform.clients.databricks.monitor import ENDED, Ended, cancel, life_of
from forecast_platform.clients.databricks.submit import launch, run_or_none, wheel_task
from forecast_platform.clients.databricks.volume import Volume
from forecast_platform.clients.databricks.watch import Watch
from forecast_platform.compute.databricks.run_ledger import LedgerEntry, RunLedger
from forecast_platform.host import process_identity
from forecast_platform.work.step import Conversation, Step
from forecast_platform.work.tasks import PIPES, Reply, TaskRequest, context_of, context_path

HOUR_MS = 3_600_000
"""By how much this machine's clock may be ahead of Databricks'."""


def submitted_runs(connection: Connection, since: float) -> dict[str, int]:
    """The runs that go on, or were begun since then (seconds since 1970), by the context that each was given.

    Raises DatabricksError.
    """
    from databricks.sdk.service.jobs import RunType

    def listed() -> dict[str, int]:
        runs = partial(connection.client.jobs.list_runs, run_type=RunType.SUBMIT_RUN, expand_tasks=True)
        found = {}
        # A run that waits in a queue may have no start yet.
        for run in chain(runs(active_only=True), runs(start_time_from=int(since * 1000) - HOUR_MS)):
            for task in run.tasks or []:
                wheel = task.python_wheel_task
                context = context_of((wheel.named_parameters if wheel else None) or {})
                if context is not None and run.run_id is not None:
                    found[context] = run.run_id
        return found

    return connection.call("listing the runs that were submitted", listed)


class PipesRun:
    """The run of one entry, in one Dagster step."""

    def __init__(
        self,
        connection: Connection,
        deployed: Deployment,
        book: RunLedger,
        entry: LedgerEntry,
        step: Step,
        *,
        new: bool = False,
        listed: Mapping[str, int] | None = None,
    ) -> None:
        """`new`: the entry was made here; of any other, a run may be there whose id is not known. `listed`: the runs
        that there are, by context, where they are known already."""
        self._listed = listed
        self.connection, self.deployed, self.book, self.entry, self.step = connection, deployed, book, entry, step
        self.new = new
        self.mine = process_identity.this_process() == entry.owner
        self.volume = Volume(connection)
        self._stack = ExitStack()
        self._talk: Conversation | None = None
        self._launching: Future[int] | None = None
        self._watch: Watch | None = None
        self._unreached: float | None = None
        self._unread = False

    @property
    def asked(self) -> bool:
        """Whether there may be a run."""
        return self.entry.asked > 0 or self.entry.run_id is not None

    @property
    def url(self) -> str:
        """The run's page; empty while it is not known."""
        return self._watch.url if self._watch else ""

    def adopt(self) -> bool:
        """Take over a run whose own process is gone. False where the entry was forgotten meanwhile."""
        entry = self.book.adopt(self.entry)
        if entry is None:
            return False
        self.entry = entry
        self.mine = process_identity.this_process() == entry.owner
        return True

    def start(self, *, serverless: bool) -> bool:
        """Submit the run, or find the one that the entry's token has started. False where the entry was forgotten.

        Raises DatabricksError.
        """
        entry = self.entry
        if entry.run_id is None:
            self.volume.make(f"{entry.folder}/messages")
        extras = {"task": entry.request.to_dict()}
        begun = entry.run_id is not None
        self._talk = self._stack.enter_context(
            self.step.conversation(self.connection, entry.folder, extras, begun=begun)
        )
        if entry.run_id is None:
            submission = self._submission(self._talk.bootstrap(), serverless=serverless)
            kept = self.book.asking(entry)
            if kept is None:
                self._stack.close()
                return False
            self.entry = replace(entry, asked=kept.asked, run_id=kept.run_id)
            if kept.run_id is None:
                self._launch(submission)
        self._watch = Watch(self.connection, self.run_id, self._say, self._warn)
        self._say(f"{entry.request.about}: Databricks run {self.run_id}")
        return True

    def _submission(self, bootstrap: Mapping[str, str], *, serverless: bool) -> Callable[[], int]:
        """The call that submits the run, and gives its id."""
        entry, options = self.entry, self.connection.options
        parameters = {
            **({"config": self.deployed.config} if self.deployed.config else {}),
            "compute": options.remote_compute,
            **{name: bootstrap[variable] for name, variable in PIPES.items()},
        }
        action = entry.request.kind
        gpu, cluster = entry.request.place
        task = wheel_task(
            options, self.deployed, action, parameters, serverless=serverless, gpu=gpu, cluster_id=cluster
        )
        name = f"forecast-platform {action} {_named(entry.request)}"
        return partial(launch, self.connection, self.deployed, name, [task], entry.token, serverless=serverless)

    def _launch(self, submission: Callable[[], int]) -> None:
        """Submit in a thread, so that an interrupt cannot come between the call and its answer."""
        # Known before the thread is: an interrupt finds either a call that is not begun, and never will be, or one that
        # it waits for.
        launching = self._launching = Future[int]()

        def work() -> None:
            if launching.set_running_or_notify_cancel():
                try:
                    launching.set_result(submission())
                except BaseException as error:  # noqa: BLE001 - whatever it is, the waiting thread raises it
                    launching.set_exception(error)

        # A daemon: where the step is interrupted once more, the book tells of the run, and nobody waits for the answer.
        threading.Thread(target=work, name="submit", daemon=True).start()
        try:
            run_id = launching.result()
        except DatabricksError as error:
            if error.invalid:
                self._not_asked()
            raise
        self._submitted(run_id)

    def _not_asked(self) -> None:
        self._launching = None
        kept = self.book.refused(self.entry)
        self.entry = replace(self.entry, asked=kept.asked if kept else 0)

    def _submitted(self, run_id: int) -> None:
        # Here first: where the book cannot be written, the run is known all the same.
        self.entry = replace(self.entry, run_id=run_id)
        self.book.submitted(self.entry, run_id)

    @property
    def run_id(self) -> int:
        """The run's id, known once it was submitted. Raises DatabricksError before that."""
        if self.entry.run_id is None:
            raise DatabricksError(f"{self.entry.request.about}: no run was submitted")
        return self.entry.run_id

    def known(self) -> bool:
        """Whether a run was submitted, as far as can be told: what is not found may still be on its way.

        A process that was killed may not have kept its run's id. The run is looked for by the context that it was
        given, since to submit again with the token would start one where there is none. Raises DatabricksError.
        """
        if self.entry.run_id is None and self._launching is not None:
            # An interrupt came between the call and its answer, or before the call.
            if self._launching.cancel():
                self._not_asked()
            else:
                self._found(self._launching.result())
        elif self.entry.run_id is None and not self.new:
            listed = self._listed if self._listed is not None else submitted_runs(self.connection, self.entry.made)
            self._found(listed.get(context_path(self.entry.folder)))
        return self.entry.run_id is not None

    def _found(self, run_id: int | None) -> None:
        if run_id is not None:
            try:
                self._submitted(run_id)
            except OSError as error:  # the run can be looked at and cancelled all the same
                self._warn(f"that {self.entry.request.about} is run {run_id} cannot be kept: {error}")

    def over(self) -> bool:
        """Whether an entry's run has ended, or the workspace has forgotten it. Raises DatabricksError."""
        if not self.known():
            return False
        run = run_or_none(self.connection, self.run_id)
        return run is None or life_of(run) in ENDED

    def look(self) -> Ended | None:
        """Pass on new messages; how the run ended, where it has.

        A workspace that is not reached is waited for. Raises DatabricksError where that took too long, or it refuses.
        """
        if self._watch is None or self._talk is None:
            raise DatabricksError(f"{self.entry.request.about}: not started")
        try:
            ended = self._watch.look()
        except DatabricksError as error:
            if not error.passing:
                raise
            began = self._unreached = self._unreached or time.monotonic()
            if time.monotonic() - began >= self.connection.options.outage_seconds:
                raise
            self._warn(f"{error}; tried again")
            return None
        self._unreached = None
        try:
            # After the state: what a run that has ended wrote is all there, and is waited for.
            self._talk.pull(quick=ended is None)
        except DatabricksError as error:
            # What was written is for the tables to say; the run goes on, or is over, all the same.
            if not self._unread and (ended is not None or not error.passing):
                self._unread = True
                self._warn(f"{error}; what the run logs is on its own page: {self.url}")
        return ended

    def reply(self) -> Reply | None:
        """What the run said of its keys; None where it said nothing."""
        said = self._talk.said() if self._talk is not None else []
        found = [message["outcome"] for message in said if "outcome" in message]
        return Reply.from_dict(found[-1]) if found else None

    def close(self) -> None:
        """The run is over: forget it. Another step of this machine that has yet to see that needs its messages."""
        self._stack.close()
        if not self.mine and process_identity.here(self.entry.owner) and process_identity.alive(self.entry.owner):
            self.book.drop(self.entry)
        else:
            self.forget()

    def forget(self) -> None:
        """Remove the entry and its messages; not where another step has taken it over."""
        if self.book.others(self.entry):
            return
        self._remove_messages()
        # After them: a process that is killed in between leaves what the next one finds.
        self.book.drop(self.entry)

    def _remove_messages(self) -> None:
        try:
            self.volume.remove(self.entry.folder)
        except DatabricksError as error:
            self._warn(f"{error}; left there")

    def leave(self) -> None:
        """Watch the run no longer; it stays in the book, for whoever comes next."""
        self._stack.close()
        if self.mine:
            try:
                self.book.release(self.entry)
            except OSError as error:  # taken over once this process is gone
                self._warn(f"{self.entry.request.about} stays this process's: {error}")

    def give_up(self) -> bool:
        """Forget what was never submitted, by this step or another; False where there may be a run."""
        self._stack.close()
        if not self.book.withdraw(self.entry):
            return False
        self._remove_messages()
        return True

    def ask_to_cancel(self) -> None:
        """Ask for the run's end without waiting for it. Raises DatabricksError."""
        if not self.mine:
            # The interrupt may have come in the midst of taking it over.
            self.adopt()
        if self.mine and self.known():
            run_id = self.run_id
            self.connection.call(f"cancelling run {run_id}", lambda: self.connection.client.jobs.cancel_run(run_id))

    def wait_for_end(self) -> None:
        """Wait until a run that was asked to end has ended, and forget it. Raises DatabricksError."""
        if not self.mine:
            self._warn(
                f"Databricks run {self.entry.run_id} was submitted by {self.entry.owner}, which works on, or is on "
                "another machine: left alone"
            )
            self.leave()
            return
        if self.entry.run_id is None:
            if not self.give_up():
                self._warn(f"{self.entry.request.about}: a run of this may go on; run this again to attach to it")
                self.leave()
            return
        ended = cancel(self.connection, self.entry.run_id)
        self._say(f"Databricks run {ended.run_id}: {ended.result}")
        self.close()

    def _say(self, text: str) -> None:
        self.step.log.info(self.connection.redact(text))

    def _warn(self, text: str) -> None:
        self.step.log.warning(self.connection.redact(text))


def _named(request: TaskRequest) -> str:
    """What a run is named after: the model, or the task."""
    return request.subject[1] if len(request.subject) > 1 else request.subject[0]
