"""A simulated platform: its own clock, landing files cut at the simulated day, ticks and runs as the daemon does them.

The daemon's part is small and kept to its contract: it evaluates a tick, drops requests whose run key it has seen
from that sensor, executes the others, and stores the cursor.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from dagster import (
    DagsterInstance,
    RepositoryDefinition,
    RunRequest,
    ScheduleEvaluationContext,
    SensorDefinition,
    build_sensor_context,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.execution.api import execute_run, execute_run_iterator
from dagster._core.instance import InstanceType
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.remote_origin import RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.load_target import WorkspaceFileTarget

from forecast_platform.definitions import build_definitions
from forecast_platform.graph.automation.messages import Message
from forecast_platform.graph.automation.notifiers import REGISTRY
from forecast_platform.graph.partitions import range_tags
from forecast_platform.host.home import shipped_file
from forecast_platform.settings import Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Clock:
    """A clock that is set by hand, and moves on by a millisecond whenever it is asked."""

    def __init__(self, now: dt.datetime) -> None:
        self.at = now

    def __call__(self) -> dt.datetime:
        self.at += dt.timedelta(milliseconds=1)
        return self.at


class Recorder:
    """A notifier that keeps what it was told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


class Landing:
    """Landing files that hold their source's rows up to a day, each file's day of its own."""

    def __init__(self, folder: Path, source: Path, first: str, files: tuple[str, ...]) -> None:
        self.folder = folder
        self.lines: dict[str, dict[str, str]] = {}
        self.headers: dict[str, str] = {}
        for name in files:
            header, *rows = (source / name).read_text().splitlines()
            self.headers[name] = header
            self.lines[name] = {row.split(",", 1)[0]: row for row in rows if row >= first}

    def land(self, name: str, last: dt.date, at: dt.datetime) -> None:
        """Write the rows of `name` up to `last`, with `at` as the file's time of change."""
        rows = [row for day, row in self.lines[name].items() if day <= str(last)]
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([self.headers[name], *rows]) + "\n")
        os.utime(path, (at.timestamp(), at.timestamp()))

    def revise(self, name: str, day: dt.date, change: Callable[[list[str]], list[str]]) -> None:
        """Change the cells of one day; it takes effect when the file lands again."""
        self.lines[name][str(day)] = ",".join(change(self.lines[name][str(day)].split(",")))


class _ScheduleContext(ScheduleEvaluationContext):
    """A schedule's context over an instance in memory, which has no reference to open it by."""

    def __init__(self, instance: DagsterInstance, at: dt.datetime, repository: RepositoryDefinition) -> None:
        super().__init__(instance_ref=None, scheduled_execution_time=at, repository_def=repository)
        self._held = instance

    @property
    def instance(self) -> DagsterInstance:
        return self._held


def memory_instance(folder: Path) -> DagsterInstance:
    """A Dagster instance whose runs and events are kept in memory, and its ticks under `folder`: years take minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    return DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=LocalArtifactStorage(str(folder)),
        run_storage=InMemoryRunStorage(),
        event_storage=InMemoryEventLogStorage(),
        schedule_storage=SqliteScheduleStorage.from_local(str(folder)),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=DefaultRunCoordinator(),
        run_launcher=SyncInMemoryRunLauncher(),
    )


class Simulation:
    """The platform of `settings` under a simulated clock, with its schedules, sensors and runs."""

    def __init__(self, settings: Settings, instance: DagsterInstance, start: dt.datetime) -> None:
        self.clock = Clock(start)
        self.recorder = Recorder()
        REGISTRY["recorder"] = lambda _: self.recorder
        self.settings = settings.with_clock(self.clock)
        self.instance = instance
        self._load()
        self.cursors: dict[str, str | None] = {}
        self.keys: set[tuple[str, str]] = set()
        self.runs: list[tuple[dt.datetime, str, str]] = []
        """When, run key, status."""
        self.crash_next: str | None = None
        self.forgets: str | None = None
        """The sensor whose next cursor is lost, since the daemon dies before it keeps it."""
        self.daemons = 1
        """How many look at each sensor and schedule at the same time."""
        location, *_ = WorkspaceFileTarget([str(shipped_file("workspace.yaml"))]).create_origins()
        self._origin = RemoteRepositoryOrigin(location, "__repository__")
        for definition in self.repository.schedule_defs:
            data = ScheduleInstigatorData(definition.cron_schedule, start.timestamp())
            self.instance.add_instigator_state(
                InstigatorState(
                    RemoteInstigatorOrigin(self._origin, definition.name),
                    InstigatorType.SCHEDULE,
                    InstigatorStatus.RUNNING,
                    data,
                )
            )

    def _load(self) -> None:
        self.definitions = build_definitions(self.settings)
        self.repository = self.definitions.get_repository_def()

    def restart(self, settings: Settings | None = None) -> None:
        """A new daemon and code server, with other settings where they are given: what the instance keeps (runs, ticks,
        cursors) and the tables is all that they know."""
        self.settings = (settings or self.settings).with_clock(self.clock)
        self._load()

    def local(self, day: dt.date, hour: int, minute: int = 0, second: int = 0) -> None:
        """Set the clock to a wall-clock time."""
        at = dt.datetime.combine(day, dt.time(hour, minute, second), ZoneInfo(self.settings.timezone))
        self.clock.at = at.astimezone(dt.timezone.utc)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        with freeze_time(self.clock()):
            yield

    def sensor(self, name: str) -> tuple[list[str], str]:
        """One tick; returns the statuses of the runs it started, and its skip message."""
        looked = [self._look(name) for _ in range(self.daemons)]
        fresh = [one.run_key for one in looked[0].run_requests or [] if (name, one.run_key) not in self.keys]
        if self.forgets == name:
            self.forgets = None
        elif looked[-1].cursor is not None:
            self.cursors[name] = looked[-1].cursor
        statuses = []
        for data in looked:
            for request in data.run_requests or []:
                if request.run_key in fresh:
                    self.keys.add((name, request.run_key))
                    statuses.append(self.execute(request))
        return statuses, looked[0].skip_message or ""

    def _look(self, name: str) -> SensorExecutionData:
        definition: SensorDefinition = self.repository.get_sensor_def(name)
        with (
            self.frozen(),
            build_sensor_context(
                instance=self.instance,
                cursor=self.cursors.get(name),
                repository_def=self.repository,
                sensor_name=name,
            ) as context,
        ):
            return definition.evaluate_tick(context)

    def schedule(self, name: str, due: dt.datetime | None = None) -> tuple[list[str], str]:
        """One tick of a schedule that was due at `due` (now where it is not said)."""
        definition = self.repository.get_schedule_def(name)
        at = due or self.clock.at
        with self.frozen():
            data = definition.evaluate_tick(_ScheduleContext(self.instance, at, self.repository))
        origin = RemoteInstigatorOrigin(self._origin, name)
        status = TickStatus.SUCCESS if data.run_requests else TickStatus.SKIPPED
        self.instance.create_tick(
            TickData(
                origin.get_id(),
                name,
                InstigatorType.SCHEDULE,
                status,
                at.timestamp(),
                run_ids=[],
                selector_id=origin.get_selector().get_id(),
            )
        )
        requests = list(data.run_requests or []) * self.daemons
        statuses = [self.execute(request, definition.job_name) for request in requests]
        return statuses, data.skip_message or ""

    def execute(self, request: RunRequest, job: str | None = None) -> str:
        """Run it in this process, as a run worker would."""
        name = request.job_name or job
        assert name is not None
        with self.frozen():
            definition = self.definitions.resolve_job_def(name)
            selection = frozenset(request.asset_selection) if request.asset_selection else None
            run = self.instance.create_run_for_job(
                definition, run_config=QUIET, tags=request.tags, asset_selection=selection
            )
            if self.crash_next is not None and self.crash_next == request.tags.get("forecast_platform/step"):
                self.crash_next = None
                self._crash(definition, run)
            else:
                execute_run(InMemoryJob(definition), run, self.instance, raise_on_error=False)
            finished = self.instance.get_run_by_id(run.run_id)
        assert finished is not None
        self.runs.append((self.clock.at, request.run_key or "", finished.status.value))
        return finished.status.value

    def _crash(self, definition, run) -> None:
        """Run the first model's step and no more; then what the monitoring daemon does with a run that vanished."""
        events = execute_run_iterator(InMemoryJob(definition), run, self.instance)
        for event in events:
            if event.is_step_success:
                break
        events.close()
        left = self.instance.get_run_by_id(run.run_id)
        if left is not None and not left.is_finished:
            self.instance.report_run_failed(left, "The run worker terminated unexpectedly.")

    def command(self, job: str, keys: list, first: dt.date, last: dt.date, series: tuple[str, ...]) -> str:
        """What an operator's command runs."""
        return self.execute(RunRequest(job_name=job, tags=range_tags(first, last, series), asset_selection=keys))

    def until_quiet(self, name: str, most: int = 12) -> str:
        """Tick a sensor until it requests nothing; returns its last message."""
        for _ in range(most):
            statuses, message = self.sensor(name)
            if not statuses:
                return message
            self.clock.at += dt.timedelta(seconds=30)
        raise AssertionError(f"{name} still requests runs after {most} ticks: {self.runs[-most:]}")

    def tick_all(self) -> Mapping[str, str]:
        """Every sensor until it is quiet."""
        names = ("new_data", "train_missing_windows", "daily_forecast", "alerts")
        return {name: self.until_quiet(name) for name in names}
