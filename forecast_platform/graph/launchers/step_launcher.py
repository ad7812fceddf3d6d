"""compute=databricks: dagster-databricks' step launcher, with an end that is always told and never left running.

Imported only where a step is shipped: dagster_databricks takes seconds to import.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    build_init_resource_context,
    resource,
)
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import DagsterEventBatchMetadata
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.log_manager import DagsterLogManager
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster_databricks import DatabricksPySparkStepLauncher, databricks_pyspark_step_launcher
from dagster_pyspark.utils import DEFAULT_EXCLUDE
from databricks.sdk import errors as sdk_errors
from requests import RequestException

from forecast_platform.clients.databricks.connection import Connection, DatabricksError, perhaps_started
from forecast_platform.clients.databricks.deploy import (
    SOURCE_VARIABLE,
    build_wheel,
    ship_wheel,
    source_of,
    wheel_files,
    wheel_path,
)
from forecast_platform.clients.databricks.error_remedies import suggest
from forecast_platform.clients.databricks.monitor import Ended, cancel, error_text, errors
from forecast_platform.clients.databricks.watch import Watch
from forecast_platform.graph.launchers import step_task
from forecast_platform.graph.launchers.step_config import (
    Family,
    cluster_environment,
    credentials_of,
    launcher_config,
)
from forecast_platform.graph.launchers.step_task import event_without
from forecast_platform.host.deferred_interrupts import deferred_interrupts
from forecast_platform.settings import Settings

T = TypeVar("T")

_NAME = "forecast-platform step"
_UNREACHED = (sdk_errors.DatabricksError, RequestException, TimeoutError)
"""What the library's own calls raise where the workspace refuses, or is not reached."""
_CONCLUDED = (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE, DagsterEventType.STEP_UP_FOR_RETRY)


@contextmanager
def step_launcher(settings: Settings, family: Family) -> Iterator[StepRuns]:
    """The launcher of a family's steps. Raises DatabricksError, before any call, where it could not work."""
    environment = cluster_environment(settings)
    connection = Connection(settings.databricks)
    name, wheel = build_wheel()
    with tempfile.TemporaryDirectory(prefix="forecast-platform-") as package:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            archive.extractall(package)
        hidden = [
            pattern for pattern in DEFAULT_EXCLUDE if re.search(pattern, f"{package}/forecast_platform/cli/main.py")
        ]
        if hidden:
            raise DatabricksError(
                f"the step launcher leaves out paths like {hidden[0]}, and the code to ship is staged in {package}: "
                "set TMPDIR to another folder"
            )
        config = launcher_config(
            settings.databricks,
            family,
            credentials=credentials_of(connection.client.config, os.environ),
            wheel=wheel_path(settings.databricks.folder, name, wheel),
            package=package,
            environment={SOURCE_VARIABLE: source_of(wheel_files(wheel)), **environment},
        )
        # By way of the library's own resource: its schema checks the configuration and reads the token's variable.
        made = resource(databricks_pyspark_step_launcher.config_schema)(
            lambda context: StepRuns(connection, (name, wheel), context.resource_config)
        )
        with warnings.catch_warnings():
            # Superseded by Pipes, in Dagster's words, with no plan to remove it; that is compute=databricks_serverless.
            warnings.filterwarnings("ignore", message=".*StepLauncher")
            launcher: StepRuns = made(build_init_resource_context(config=config))
        yield launcher


class StepRuns(DatabricksPySparkStepLauncher):
    """The library's launcher, which this changes in six ways.

    - A submission whose answer is lost is not a second run: it carries an idempotency token. An error of the service
      while the step is shipped is tried again.
    - A run that a killed process left behind is found by its name and ended before its step is started again.
    - An outage of the service while a run is watched does not end the run, for `outage_seconds`; events are stored a
      batch at a time.
    - No secret leaves the cluster (`step_task`), and nothing that looks like a token is kept of what comes from there.
    - What the remote step printed goes to the step's output here, and not as one text into the event log.
    - A run that ends without a step's outcome fails the step with the remote task's own error; skipped is no success.
    """

    def __init__(self, connection: Connection, wheel: tuple[str, bytes], config: dict[str, Any]) -> None:
        super().__init__(**config)
        self.connection = connection
        self._wheel = wheel
        self._settled = dict(self.run_config)
        submit = self.databricks_runner.submit_run
        # The token makes a second submission the same run; the library itself gives up at the first 500.
        vars(self.databricks_runner)["submit_run"] = lambda config, task: self._submit(lambda: submit(config, task))
        self._submitted: int | None = None
        self._watch: Watch | None = None

    def launch_step(self, step_context: StepExecutionContext) -> Iterator[DagsterEvent]:
        """Run the step on the cluster; its events are those of the remote process.

        Raises DatabricksError where the workspace is not reached or refuses, with the mend.
        """
        step = step_context.step.key
        run_id = step_context.dagster_run.run_id
        self._submitted = self._watch = None
        ship_wheel(self.connection, *self._wheel)
        self._end_left_behind(step_context)
        attempt = f"{self.connection.host}\x1f{run_id}\x1f{step}\x1f{step_context.previous_attempt_count}"
        token = hashlib.blake2b(attempt.encode(), digest_size=16).hexdigest()
        self.run_config = {
            **self._settled,
            "run_name": run_name(step, run_id),
            "idempotency_token": f"forecast-platform-{token}",
        }
        try:
            yield from super().launch_step(step_context)
        except DagsterExecutionInterruptedError:
            self._end_unwatched(step_context)
            raise
        except _UNREACHED as error:
            told = self.connection.redact(str(error))
            # Once the run is there, the library cancels it after every failure; a refusal of that is no cause.
            cause = error.__context__
            if isinstance(cause, DagsterExecutionInterruptedError):
                self._end_unwatched(step_context)
                raise cause from None
            if isinstance(cause, DatabricksError):
                run = self._watch.run_id if self._watch else ""
                if "does not exist" in told:
                    raise DatabricksError(
                        f"{cause}\nrun this again: what Databricks run {run} wrote is kept and not made twice"
                    ) from None
                raise DatabricksError(
                    f"{cause}\nnor could Databricks run {run} be cancelled: {told}\nit may still go on; run this "
                    f"again, which ends it first, or end it with `forecast-platform databricks cancel {run}`"
                ) from None
            raise DatabricksError(f"shipping {step} to {self.connection.host}: {told}\n{suggest(told)}") from None

    def step_events_iterator(
        self, step_context: StepExecutionContext, step_key: str, databricks_run_id: int
    ) -> Iterator[DagsterEvent]:
        """The step's events, as they come, until the run has ended. Raises DatabricksError where they lack an end."""
        log = step_context.log
        watch = Watch(self.connection, databricks_run_id, log.info, log.warning, alike=run_name(step_key, ""))
        self._watch = watch
        events: Sequence[EventLogEntry] = []
        ended: Ended | None = None
        seen = 0
        concluded = False
        began = reached = time.monotonic()
        try:
            yield self.connection.call(
                f"looking at run {databricks_run_id}",
                lambda: self.get_databricks_run_dagster_event(step_context, databricks_run_id),
            )
            while True:
                with raise_execution_interrupts(), deferred_interrupts():
                    time.sleep(self.databricks_runner.poll_interval_sec)
                    try:
                        now = watch.look()
                        # After the state: what an ended run reports is complete.
                        events, ended, reached = self._events(step_context, step_key), now, time.monotonic()
                    except DatabricksError as error:
                        away = time.monotonic() - reached
                        if not error.passing:
                            raise
                        if away >= self.connection.options.outage_seconds:
                            raise DatabricksError(
                                f"{error}\nnot reached for {away:.0f} s: Databricks run {databricks_run_id} is given up"
                            ) from None
                        log.warning(f"{error}; tried again")
                for event in self._store(step_context, events[seen:]):
                    concluded = concluded or event.event_type in _CONCLUDED
                    yield event
                seen = max(seen, len(events))
                if ended is not None:
                    break
                if time.monotonic() - began > self.databricks_runner.max_wait_time_sec:
                    raise DatabricksError(f"run {databricks_run_id} has not ended in time; it is cancelled")
        except DagsterExecutionInterruptedError:
            self._end(step_context, databricks_run_id)
            raise
        if not concluded:
            raise DatabricksError(self._why(databricks_run_id, ended.result))
        step_context.log.info(f"Databricks run {databricks_run_id}: {ended.result}")

    def _submit(self, call: Callable[[], int]) -> int:
        with perhaps_started("run this again, which ends it first"):
            self._submitted = self._again("submitting", call)
        return self._submitted

    def _end_unwatched(self, step_context: StepExecutionContext) -> None:
        """End a run whose step was cancelled while it was shipped: the watch ends the others."""
        if self._submitted is not None and self._watch is None:
            self._end(step_context, self._submitted)

    def _end(self, step_context: StepExecutionContext, databricks_run_id: int) -> None:
        """Cancel a run, and wait for its end: a run that starts now must not meet it in the tables."""
        step_context.log.info(f"Cancelling Databricks run {databricks_run_id}.")
        try:
            cancel(self.connection, databricks_run_id)
        except DatabricksError as error:
            step_context.log.warning(f"Databricks run {databricks_run_id} may go on still: {error}")

    def log_compute_logs(self, log: DagsterLogManager, run_id: str, step_key: str) -> None:
        """What the remote process printed goes to the step's own output, not into events: it can be megabytes."""
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            try:
                text = self.databricks_runner.client.read_file(self._dbfs_path(run_id, step_key, name)).decode()
            except sdk_errors.NotFound:
                continue  # the step never began
            except _UNREACHED as error:
                log.warning(f"{name} of {step_key} could not be read: {self.connection.redact(str(error))}")
                continue
            stream.write(self.connection.redact(text))

    def _main_file_local_path(self) -> str:
        return step_task.__file__

    def _upload_artifacts(self, *about: Any) -> None:
        upload = super()._upload_artifacts
        self._again("uploading the step", lambda: upload(*about))

    def _again(self, what: str, function: Callable[[], T]) -> T:
        """A call that may be repeated. Raises DatabricksError, with the mend."""
        try:
            return self.connection.call(what, function)
        except DatabricksError as error:
            raise DatabricksError(f"{error}\n{suggest(str(error))}", passing=error.passing) from None

    def _events(self, step_context: StepExecutionContext, step_key: str) -> Sequence[EventLogEntry]:
        try:
            found: Sequence[EventLogEntry] = self.connection.call(
                f"reading the events of {step_key}",
                lambda: self.get_step_events(step_context.run_id, step_key, step_context.previous_attempt_count),
            )
        except (EOFError, OSError, zlib.error):
            return []  # half written: whole at the next look
        return found

    def _store(self, step_context: StepExecutionContext, events: Sequence[EventLogEntry]) -> Iterator[DagsterEvent]:
        """Keep these events: materializations in a batch, as a step of this process has them."""
        events = [event_without(event, self.connection.redact) for event in events]
        batch = f"{step_context.run_id}-{step_context.step.key}-{id(events)}"
        for position, event in enumerate(events):
            last = position + 1 == len(events)
            step_context.instance.handle_new_event(event, batch_metadata=DagsterEventBatchMetadata(batch, last))
        for event in events:
            if event.is_dagster_event:
                yield event.get_dagster_event()

    def _why(self, databricks_run_id: int, result: str) -> str:
        found = errors(self.connection, databricks_run_id)
        told = "\n".join(error_text(error) for error in found)
        return f"Databricks run {databricks_run_id} ended as {result} and did not finish the step\n{told}"

    def _end_left_behind(self, step_context: StepExecutionContext) -> None:
        """End runs of this step whose Dagster run is over, or is this one in an earlier attempt."""
        step, own = step_context.step.key, step_context.dagster_run.run_id
        active = self.connection.call(
            "listing active runs", lambda: list(self.connection.client.jobs.list_runs(active_only=True))
        )
        for run in active:
            dagster_run_id = (run.run_name or "").removeprefix(run_name(step, ""))
            if run.run_name != run_name(step, dagster_run_id) or run.run_id is None:
                continue
            # Another instance's runs are not known here, and are none of ours.
            known = step_context.instance.get_run_by_id(dagster_run_id)
            if known is not None and (dagster_run_id == own or known.status in FINISHED_STATUSES):
                step_context.log.warning(f"Databricks run {run.run_id} of run {dagster_run_id} was left behind.")
                cancel(self.connection, run.run_id)
                step_context.log.info(f"Databricks run {run.run_id} is ended.")


def run_name(step: str, run_id: str) -> str:
    """A Databricks run's name, by which its step is found again."""
    return f"{_NAME} {step} {run_id}"
