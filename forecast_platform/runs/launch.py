"""Runs jobs from a shell through the same Dagster instance as the UI: same runs, partitions, events and logs."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from forecast_platform.host import process_identity, progress
from forecast_platform.host.disk import with_room
from forecast_platform.host.home import prepare_home, shipped_file
from forecast_platform.host.memory import give_back_memory
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance, Definitions
    from dagster._core.definitions.job_base import IJob
    from tqdm import tqdm

_INTERRUPTED = "interrupted"
SHELL_TAG = "forecast_platform/shell"
"""host:pid:start of the process that runs a job from a shell, so that a killed one can be told from a live one."""


@dataclass(frozen=True)
class Finished:
    """What a run came to."""

    run_id: str
    status: str
    messages: list[str] = field(default_factory=list)
    """Why steps failed, one text a failed step."""
    totals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By asset: what its materialization said of keys, rows and seconds."""
    steps: frozenset[str] = frozenset()
    """The steps that began and ended, well or not."""

    @property
    def success(self) -> bool:
        """Whether every step succeeded."""
        return self.status == "SUCCESS"


class Launcher:
    """Runs jobs of this platform in this process, recorded by the instance and linked to the code location."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = prepare_home(settings)

    @cached_property
    def instance(self) -> DagsterInstance:
        """The Dagster instance in DAGSTER_HOME."""
        from dagster import DagsterInstance

        return DagsterInstance.get()

    @cached_property
    def definitions(self) -> Definitions:
        """The platform's definitions."""
        from forecast_platform.definitions import definitions_of

        return definitions_of(self.settings)

    def close_orphans(self) -> list[str]:
        """End runs that a killed shell left as started; returns their ids. Their rows are kept, a rerun goes on."""
        from dagster import DagsterRunStatus, RunsFilter

        open_states = [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]
        closed = []
        for run in self.instance.get_runs(RunsFilter(statuses=[*open_states, DagsterRunStatus.CANCELING])):
            shell = run.tags.get(SHELL_TAG)
            if shell and not process_identity.alive(shell):
                self.instance.report_run_failed(
                    run, f"The shell that ran this ({shell}) is gone. What it wrote is kept; run the command again."
                )
                closed.append(run.run_id)
        return closed

    def run(
        self,
        job: str,
        assets: Sequence[AssetKey],
        first: dt.date,
        last: dt.date,
        series: Sequence[str],
        *,
        tags: Mapping[str, str] | None = None,
        untold: Collection[str] = (),
    ) -> Finished:
        """Run `assets` of `job` over the partitions first..last of `series` (contiguous in configured order).

        untold: checks whose failures are recorded as all are, but left out of the messages, since the caller tells
        them in its own words. Raises ValueError where the range holds no partition.
        """
        from dagster._core.execution.api import execute_run
        from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
        from dagster._core.workspace.load_target import WorkspaceFileTarget

        from forecast_platform.graph.partitions import range_tags

        # From the later series to the earlier one Dagster finds no partition, and the run would be green.
        ordered = sorted(series, key=self.settings.series_names.index)
        definition = self.definitions.resolve_job_def(job)
        # The origin is what links the run to the code location in the UI (its re-execute button among others).
        location, *_ = WorkspaceFileTarget([str(shipped_file("workspace.yaml"))]).create_origins()
        run = self.instance.create_run_for_job(
            definition,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**range_tags(first, last, ordered), SHELL_TAG: process_identity.this_process(), **(tags or {})},
            asset_selection=frozenset(assets),
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job),
        )
        with self.canceled_when_interrupted(run.run_id), own_output():
            result = execute_run(self._executable(job), run, self.instance, raise_on_error=False)
        give_back_memory()
        events = result.all_events
        status = self.status_after(run.run_id, events)
        ended = (one.step_key for one in events if one.is_step_success or one.is_step_failure)
        return Finished(run.run_id, status, *summarise_events(events, untold), frozenset(filter(None, ended)))

    def status_after(self, run_id: str, events: Sequence[Any]) -> str:
        """The status of a run that this process has done; one that was interrupted between two steps is canceled, too.

        events: its own.
        """
        recorded = self.instance.get_run_by_id(run_id)
        if recorded is None:
            return "FAILURE"
        ends = [event for event in events if event.event_type_value == "PIPELINE_FAILURE"]
        if any(_is_interrupt(event.job_failure_data.error) for event in ends):
            self.instance.report_run_canceled(recorded, message="Interrupted from the shell.")
            return "CANCELED"
        return recorded.status.value

    def _executable(self, job: str) -> IJob:
        """The job as this process runs it; where its steps are shipped, as another can load it too."""
        from dagster._core.definitions.job_base import InMemoryJob
        from dagster._core.definitions.reconstruct import ReconstructableRepository

        if self.settings.compute != "databricks":
            return InMemoryJob(self.definitions.resolve_job_def(job))
        repository = ReconstructableRepository.for_module("forecast_platform.definitions", "defs")
        return repository.get_reconstructable_job(job)

    @contextmanager
    def canceled_when_interrupted(self, run_id: str) -> Iterator[None]:
        """An interrupt ends a run as failed unless it was being canceled: say so as soon as the step is stopped."""
        from dagster import DagsterEventType
        from dagster._core.events.log import EventLogEntry

        def on_event(entry: EventLogEntry, _cursor: str = "") -> None:
            event = entry.dagster_event
            if event is None or event.event_type != DagsterEventType.STEP_FAILURE:
                return
            if _is_interrupt(event.step_failure_data.error):
                current = self.instance.get_run_by_id(run_id)
                if current is not None:
                    self.instance.report_run_canceling(current, "Interrupted from the shell.")

        self.instance.add_event_listener(run_id, on_event)
        yield


def _is_interrupt(error: Any) -> bool:
    """Whether a step's or a run's error is an interrupt from outside."""
    return error is not None and error.cls_name == "DagsterExecutionInterruptedError"


def _why(event: Any) -> str:
    """What a step's failure says: its own words, else the error that it came from."""
    data = event.step_failure_data
    described = data.user_failure_data.description if data.user_failure_data else None
    error = data.error.cause if data.error is not None and data.error.cause is not None else data.error
    if described is None and _is_interrupt(error):
        return _INTERRUPTED
    return described or (error.message.strip() if error else "failed")


def summarise_events(
    events: Sequence[Any], untold: Collection[str] = ()
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Of a run's events: why it failed and what its checks say, a text each; and what was said of each asset, by name
    (`Finished.totals`).

    untold: names of checks that are told by other means.
    """
    from forecast_platform.graph.checks.report import EARLIER, OWN

    messages: list[str] = []
    warnings: list[str] = []
    totals: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.is_step_failure:
            messages.append(f"FAILED {event.step_key}: {with_room(_why(event))}")
        elif event.event_type_value == "PIPELINE_FAILURE" and not messages:
            # Before any step: a resource that could not be made, such as a launcher without credentials.
            error = event.job_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            said = _INTERRUPTED if _is_interrupt(error) else error.message.strip() if error else event.message
            messages.append(f"FAILED: {with_room(said)}")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION" and not event.asset_check_evaluation_data.passed:
            found = event.asset_check_evaluation_data
            name = f"{found.check_name} of {found.asset_key.to_user_string()}"
            if found.check_name in untold or (OWN in found.metadata and found.metadata[OWN].value):
                continue  # the latter: of another series, and told when that one was run
            if found.severity.value == "ERROR":
                own = (found.description or "").partition(EARLIER)[0].strip().replace("\n\n", "\n  ")
                messages.append(f"FAILED check {name}: {own}")
            else:
                warnings.append(name)
        elif event.is_step_materialization:
            name = event.asset_key.to_user_string()
            if name not in totals:
                found = event.step_materialization_data.materialization.metadata
                totals[name] = {key: value.value for key, value in found.items()}
    if warnings:
        messages.append(f"{len(warnings)} checks warn: {', '.join(warnings)} (see them in the UI)")
    return messages, totals


@contextmanager
def own_output() -> Iterator[None]:
    """At the end of this, what is printed goes where it went before.

    A step's output goes to its log; where a full disk ends a run, Dagster 1.13 does not always give the process its own
    output back, and whatever is told afterwards would go to the log, too, and be lost.
    """
    kept = []
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError, ValueError):  # embedded, with streams that are no files
            stream.flush()
            kept.append((stream.fileno(), os.dup(stream.fileno())))
    try:
        yield
    finally:
        for number, own in kept:
            os.dup2(own, number)
            os.close(own)


@contextmanager
def progress_bar(title: str) -> Iterator[None]:
    """Show the steps' progress on the terminal while a run lasts.

    The bar writes to a copy of the terminal's file: during a step, Dagster sends stderr to the step's log. Where
    stderr is no terminal (cron, a pipe) it says so every few seconds only.
    """
    from tqdm import tqdm

    bar: tqdm[Any] | None = None
    pause = 0.2 if sys.stderr.isatty() else 5.0
    stream = _copy_of_stderr()

    def show(done: int, total: int, what: str) -> None:
        nonlocal bar
        if bar is None or bar.total != total or done < bar.n:
            if bar is not None:
                bar.close()
            bar = tqdm(total=total, desc=title, file=stream, unit="key", leave=pause > 1, mininterval=pause)
        bar.set_postfix_str(what, refresh=False)
        bar.update(done - bar.n)

    progress.listeners.append(show)
    try:
        yield
    finally:
        progress.listeners.remove(show)
        if bar is not None:
            bar.close()
        if stream is not sys.stderr:
            stream.close()


def _copy_of_stderr() -> TextIO:
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w")
    except (OSError, AttributeError):  # embedded, with a stderr that is no file: nothing redirects it either
        return sys.stderr
