"""The remote runs of one Dagster step: how many at a time, which are tried again, and what became of whose keys."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.deploy import Deployment
from forecast_platform.clients.databricks.monitor import Ended, TaskError, error_text, errors
from forecast_platform.compute.base import Current
from forecast_platform.compute.databricks.pipes import PipesRun, submitted_runs
from forecast_platform.compute.databricks.run_ledger import (
    DAY_SECONDS,
    GIVEN_UP_SECONDS,
    LedgerEntry,
    RunLedger,
    made_since,
)
from forecast_platform.host.deferred_interrupts import deferred_interrupts
from forecast_platform.settings.databricks import DatabricksOptions
from forecast_platform.work.results import RemoteRun
from forecast_platform.work.step import Step
from forecast_platform.work.tasks import Reply, TaskRequest, TaskResult

NOT_AGAIN = re.compile(
    r"QUOTA|INSUFFICIENT_INSTANCE|STOCKOUT|INVALID_ARGUMENT|[Ll]ibrary installation|LIBRARY_|\bPERMISSION"
)
"""Causes that a second run of the same would meet again."""


@dataclass
class WorkedTask:
    """A request, and what has become of its keys so far."""

    request: TaskRequest
    left: set[str]
    result: TaskResult
    before: dict[str, str]
    runs: int = 0
    """Runs that were submitted for it."""
    attached: bool = False
    """Whether it waits for a run that another step submitted."""

    @classmethod
    def of(cls, request: TaskRequest, current: Current) -> WorkedTask:
        """The request with nothing done yet."""
        before = {key: made.isoformat() for key, made in current(request.keys).items()}
        return cls(request, set(request.keys), TaskResult(request), before)

    @property
    def rest(self) -> TaskRequest:
        """A request for the keys that are left."""
        return replace(self.request, keys=tuple(sorted(self.left)))

    def fail(self, reason: str, said: Mapping[str, str] | None = None) -> None:
        """Give up what is left: for what the run said of a key, else for `reason`."""
        self.result.failed.update({key: (said or {}).get(key, reason) for key in self.left})
        self.left = set()


@dataclass
class Fleet:
    """The remote runs of one step. All in the step's thread, so that an interrupt always reaches them."""

    connection: Connection
    deployed: Deployment
    book: RunLedger
    step: Step
    current: Current
    serverless: bool
    stopped: str | None = None
    """Why nothing more is submitted."""
    _active: dict[str, PipesRun] = field(default_factory=dict)
    _jobs: dict[str, list[WorkedTask]] = field(default_factory=dict)
    """By token: the jobs that wait for the run."""

    def work(self, requests: Sequence[TaskRequest]) -> Generator[WorkedTask, None, None]:
        """Yield each request's job when it is done. Ended early, by whatever, it ends its runs and waits for that."""
        waiting = deque(WorkedTask.of(request, self.current) for request in requests)
        options = self.connection.options
        try:
            self._sweep()
            while waiting or self._active:
                while waiting and len(self._active) < options.concurrent_runs:
                    job = waiting.popleft()
                    if self.stopped is not None:
                        job.fail(f"not submitted, after another task's run failed: {self.stopped}")
                    else:
                        with deferred_interrupts():
                            self._submit(job)
                    if not job.left:
                        yield job
                for token in list(self._active):
                    with deferred_interrupts():
                        ended = self._look(token)
                    for job in ended:
                        if job.left:
                            waiting.appendleft(job)
                        else:
                            yield job
                if self._active:
                    with deferred_interrupts():
                        time.sleep(options.poll_seconds)
        finally:
            self._abandon()

    def _sweep(self) -> None:
        """Forget runs that are over, or were never submitted, and whose step was killed before it could."""
        orphans = self.book.orphans(self.connection.host)
        # Listed once for all: a workspace may have thousands of runs.
        unknown = [entry.made for entry in orphans if entry.asked and entry.run_id is None]
        try:
            known = submitted_runs(self.connection, min(unknown)) if unknown else {}
        except DatabricksError as error:
            self.step.log.warning(f"{error}; what earlier steps left is looked at by the next step")
            return
        for entry in orphans:
            run = PipesRun(self.connection, self.deployed, self.book, entry, self.step, listed=known)
            age = time.time() - entry.taken
            try:
                if not run.asked:
                    run.give_up()
                elif run.over() or (run.entry.run_id is None and age > DAY_SECONDS):
                    run.forget()
            except DatabricksError as error:
                if error.passing:
                    self.step.log.warning(f"{error}; what earlier steps left is looked at by the next step")
                    return
                if age > GIVEN_UP_SECONDS:
                    self.step.log.warning(
                        f"{error}; {entry.request.about} is forgotten after {age / DAY_SECONDS:.0f} days"
                    )
                    run.forget()
                else:
                    self.step.log.warning(f"{error}; looked at again by the next step")

    def _submit(self, job: WorkedTask) -> None:
        """Start the job's run, or wait for one that is making some of its keys already."""
        host, volume = self.connection.host, self.connection.options.volume
        run: PipesRun | None = None
        try:
            while job.left:
                entry, new = self.book.claim(host, volume, job.rest, job.before)
                job.attached = not new
                if entry.token in self._active:
                    self._jobs[entry.token].append(job)
                    return
                run = PipesRun(self.connection, self.deployed, self.book, entry, self.step, new=new)
                # Known from here on: an interrupt must find it, whatever it does next.
                self._active[entry.token], self._jobs[entry.token] = run, [job]
                if new or (run.adopt() and not run.over()):
                    if run.asked:
                        self.step.log.warning(_attached(run))
                    if run.start(serverless=self.serverless):
                        job.runs += new
                        return
                # It is over, or was forgotten meanwhile.
                self._end(run, run.close)
                # Only what was made since this step began: the run may have ended long ago.
                self._take(job, made_since(job.before, self.current(job.rest.keys)))
        except DatabricksError as error:
            self.stopped = str(error)
            if run is not None:
                if run.asked:
                    self.stopped += f"\n{_goes_on(run)}"
                self._end(run, run.give_up if run.mine and not run.asked else run.leave)
            job.fail(self.stopped)

    def _look(self, token: str) -> list[WorkedTask]:
        """The jobs that the run has brought further, where it is over or can be watched no more."""
        run = self._active[token]
        try:
            ended = run.look()
            if ended is None:
                return []
        except DatabricksError as error:
            jobs = self._end(run, run.leave)
            self._note(jobs, run.url)
            self.stopped = f"{error}\n{_goes_on(run)}"
            for job in jobs:
                self._settle(job, run.entry, self.stopped, None)
            return jobs
        reply = run.reply()
        jobs = self._end(run, run.close)
        found = self._errors(ended)
        reason = _reason(ended, found)
        again = passing(found)
        self._note(jobs, ended.url)
        for job in jobs:
            # What a run of another step left is asked for anew.
            retried = job.attached or (again and job.runs < self.connection.options.attempts)
            self._settle(job, run.entry, None if retried else reason, reply)
            if job.left:
                self.step.log.warning(f"{len(job.left)} keys of {job.request.about} are submitted again")
            elif not ended.success and found and not _of_the_code(found):
                self.stopped = reason
        if not ended.success:
            self.step.log.error(reason)
        return jobs

    def _errors(self, ended: Ended) -> list[TaskError]:
        """Why the tasks of a run that is over failed, as far as it can be read."""
        try:
            return [] if ended.success else errors(self.connection, ended.run_id)
        except DatabricksError as error:
            self.step.log.warning(f"{error}; why run {ended.run_id} failed is on its own page: {ended.url}")
            return []

    def _settle(self, job: WorkedTask, entry: LedgerEntry, reason: str | None, reply: Reply | None) -> None:
        """Take what the tables hold of a run's keys as done; the rest fails where there is a reason to."""
        self._take(job, made_since(entry.before, self.current(entry.request.keys)))
        if reply is not None:
            job.result.seconds += reply.seconds
            job.result.notes += reply.notes
            if reply.value is not None:  # of a plain task, whose value is all that there is
                job.result.value = reply.value
                self._take(job, set(entry.request.keys))
        if reason is not None:
            job.fail(reason, reply.failed if reply else None)

    @staticmethod
    def _take(job: WorkedTask, made: set[str]) -> None:
        job.result.written |= made & job.left
        job.left -= made

    def _note(self, jobs: Sequence[WorkedTask], url: str) -> None:
        if url:
            for job in jobs:
                job.result.runs.append(RemoteRun(url, cost(self.connection.options, serverless=self.serverless)))

    def _end(self, run: PipesRun, how: Callable[[], object]) -> list[WorkedTask]:
        """Watch the run no longer; the jobs that waited for it."""
        self._active.pop(run.entry.token, None)
        how()
        return self._jobs.pop(run.entry.token, [])

    def _abandon(self) -> None:
        """End what goes on still: ask all runs first, then wait for each."""
        again: BaseException | None = None
        asked = []
        for run in self._active.values():
            try:
                run.ask_to_cancel()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are asked
                self.step.log.error(f"{error}\n{_goes_on(run)}")
                if not getattr(error, "passing", False):
                    run.leave()
                    continue
            except BaseException as interrupt:  # noqa: BLE001 - another interrupt: ask the others, wait for none
                again = interrupt
                self.step.log.error(f"interrupted again\n{_goes_on(run)}")
            asked.append(run)
        for run in [] if again else asked:
            try:
                run.wait_for_end()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are waited for
                self.step.log.error(f"{error}\n{_goes_on(run)}")
                run.leave()
        self._active.clear()
        if again is not None:
            raise again


def _attached(run: PipesRun) -> str:
    known = f"Databricks run {run.entry.run_id}" if run.entry.run_id else "if so, its token gives the same run"
    return f"{run.entry.request.about}: an earlier step has submitted this ({known}): attached to it"


def _goes_on(run: PipesRun) -> str:
    """What to do about a run that could not be ended."""
    run_id = run.entry.run_id
    if run_id is None:
        return (
            f"{run.entry.request.about}: a run of this may go on: run this again to attach to it, or look for it among "
            "the workspace's job runs"
        )
    return (
        f"run {run_id} may still go on: {run.url}\nend it with `forecast-platform databricks cancel {run_id}`, or run "
        "this again to attach to it"
    )


def passing(found: Sequence[TaskError]) -> bool:
    """Whether all that failed in a run was Databricks' own, and may go well the next time."""
    return bool(found) and all(
        error.life in ("INTERNAL_ERROR", "SKIPPED")
        and error.state not in ("CANCELED", "TIMEDOUT")
        and not NOT_AGAIN.search(f"{error.error}\n{error.mend}")
        for error in found
    )


def _of_the_code(found: Sequence[TaskError]) -> bool:
    return any(error.life == "TERMINATED" and error.state != "CANCELED" for error in found)


def _reason(ended: Ended, found: Sequence[TaskError]) -> str:
    if ended.success:
        return (
            f"Databricks run {ended.run_id} succeeded, but the tables do not hold these keys as the settings here make "
            "them: do the cluster's settings (databricks.config) name the same warehouse, source, seed and "
            f"n_paths? {ended.url}"
        )
    return "\n".join([f"Databricks run {ended.run_id}: {ended.result}", *map(error_text, found)])


def cost(options: DatabricksOptions, *, serverless: bool) -> str:
    """What the cost of a run is found under."""
    if serverless:
        return f"budget policy {options.budget_policy_id}" if options.budget_policy_id else "no budget policy"
    if options.existing_cluster_id:
        return f"cluster {options.existing_cluster_id}"
    tags = {"application": "forecast_platform", **options.tags}
    return "tags " + ", ".join(f"{name}={value}" for name, value in tags.items())
