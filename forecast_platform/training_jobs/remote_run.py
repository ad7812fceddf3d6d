"""A job on a Databricks cluster: its temporary table, its run, its results, and the removal of what it leaves there.

One run of two tasks: the first makes the job's own table of Unity Catalog from a file in the volume, the second is the
mode's notebook, which reads that table. What was asked for stands in a file here before it is asked for, so that a
process that is killed leaves a run, a table and files that `sweep` finds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.monitor import ENDED, cancel, error_text, errors, life_of, result_of
from forecast_platform.clients.databricks.submit import ENVIRONMENT, launch, new_cluster, run_or_none
from forecast_platform.clients.databricks.volume import Volume
from forecast_platform.host.admission import OPEN, UnknownJobError
from forecast_platform.host.files import write_whole
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.remote_files import DATA, EXTRAS, PROGRESS, RESULTS_FOLDER, table_bytes
from forecast_platform.training_jobs.results import NEEDED, RESULTS
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.training import PANEL

if TYPE_CHECKING:
    from forecast_platform.clients.databricks.deploy import Deployment

WORKERS = (2, 8)
"""Workers of a new training cluster, which scales between them."""
_STAGE_SECONDS = 1800
_MORE_SECONDS = 1800
"""Seconds of the notebook's run beside twice its time limit: start, installation, refits, MLflow."""


@dataclass(frozen=True)
class Record:
    """What may be there of an attempt at a job."""

    job_id: str
    token: str
    """Submitting again with it gives the same run."""
    folder: str
    table: str | None
    run_id: int | None = None


class RemoteRuns:
    """The jobs of one warehouse that go to its Databricks workspace."""

    def __init__(self, settings: Settings, connection: Connection | None = None) -> None:
        self.settings, self.store = settings, JobStore(settings)
        self._connection = connection
        self._records = self.store.folder / "databricks"

    @property
    def connection(self) -> Connection:
        """The workspace. Raises DatabricksError."""
        if self._connection is None:
            self._connection = Connection(self.settings.databricks)
        return self._connection

    def table_of(self, job_id: str) -> str:
        """The job's temporary table."""
        unity = self.settings.unity
        return f"{unity.catalog}.{unity.registry_schema}.training_job_{job_id.replace('-', '_')}"

    def train(self, job: Job, progress: Progress) -> dict[str, Any]:
        """Train a job on the cluster, bring its results into its folder, and leave nothing there but MLflow's run.

        Returns what results.json holds. Raises CancelledError, JobError, DatabricksError.
        """
        from forecast_platform.clients.databricks.deploy import current_deployment

        deployed = current_deployment(self.connection)
        token = f"forecast-platform-job-{job.job_id}-{job.attempt}"
        before = self._read(job.job_id)
        if before is not None and before.token != token:
            self._remove(before)
        if before is not None and before.token == token and before.run_id is not None:
            record = before
        else:
            record = self._begin(job, token, progress)
        try:
            if record.run_id is None:
                record = replace(record, run_id=self._submit(job, deployed, record))
                self._keep(record)
            self._watch(record, int(record.run_id or 0), progress)
            return self._collect(job, record)
        finally:
            # Where the workspace is not reached now, the record stays, and `sweep` tries again and says so.
            with suppress(DatabricksError):
                self._remove(record)

    def _begin(self, job: Job, token: str, progress: Progress) -> Record:
        """Put the data where the cluster finds them."""
        config = job.asked
        folder = f"{self.settings.databricks.volume}/training_jobs/{job.job_id}"
        record = Record(job.job_id, token, folder, None if config.table else self.table_of(job.job_id))
        self._keep(record)
        progress.begin("handing the data to the cluster")
        volume = Volume(self.connection)
        volume.make(folder)
        if record.table is not None:
            panel = Panel.open(self.store.job_folder(job.job_id) / PANEL)
            volume.write(f"{folder}/{DATA}", table_bytes(panel, config))
        return record

    def _submit(self, job: Job, deployed: Deployment, record: Record) -> int:
        config, options = job.asked, self.settings.training_jobs
        payload: list[dict[str, Any]] = []
        if record.table is not None:
            entry = {"package_name": "forecast-platform", "entry_point": "forecast-platform-task"}
            given = {"action": "training_data", "data_file": f"{record.folder}/{DATA}", "data_table": record.table}
            place = (
                {"existing_cluster_id": options.cluster_id, "libraries": [{"whl": deployed.wheel}]}
                if options.cluster_id
                else {"environment_key": ENVIRONMENT}
            )
            task = {"task_key": "data", "timeout_seconds": _STAGE_SECONDS, **place}
            payload.append({**task, "python_wheel_task": {**entry, "named_parameters": given}})
        notebook = {
            "notebook_path": self._notebook(deployed, config),
            "base_parameters": self._parameters(job, deployed, record),
            "source": "WORKSPACE",
        }
        payload.append(
            {
                "task_key": "train",
                "timeout_seconds": int(2 * config.time_limit) + _MORE_SECONDS,
                "notebook_task": notebook,
                **({"depends_on": [{"task_key": "data"}]} if payload else {}),
                **self._place(job),
            }
        )
        name, serverless = _run_name(job.job_id), not options.cluster_id
        return launch(self.connection, deployed, name, payload, record.token, serverless=serverless)

    def _notebook(self, deployed: Deployment, config: JobConfig) -> str:
        chosen = self.settings.training_jobs.notebook
        if chosen is None:
            return f"{deployed.folder}/train_{config.training_mode}"
        return chosen.replace("{mode}", config.training_mode)

    def _parameters(self, job: Job, deployed: Deployment, record: Record) -> dict[str, str]:
        config, settings = job.asked, self.settings
        extra = EXTRAS.get(config.training_mode)
        tracking = settings.mlflow_tracking_uri or ""
        return {
            "job_id": job.job_id,
            "config": config.stored(),
            "data_table": record.table or config.table or "",
            "folder": f"{record.folder}/{RESULTS_FOLDER}",
            "user_id": job.user_id,
            # A store of this machine's is none of the cluster's.
            "tracking_uri": tracking if tracking.startswith(("http", "databricks")) else "",
            "experiment": settings.training_jobs.experiment or "",
            "settings": deployed.config or "",
            "package": f"{deployed.wheel}[{extra}]" if extra else deployed.wheel,
        }

    def _place(self, job: Job) -> dict[str, Any]:
        """Where the notebook runs: the settings' cluster, serverless compute for a small job, else a new cluster."""
        options = self.settings.training_jobs
        if options.cluster_id:
            return {"existing_cluster_id": options.cluster_id}
        panel = self.store.job_folder(job.job_id) / PANEL
        if panel.is_file() and len(Panel.open(panel).values) <= options.serverless_rows:
            return {}
        least, most = WORKERS
        sized = self.settings.databricks.model_copy(update={"training_workers": least, "max_workers": most})
        return {"new_cluster": new_cluster(sized, "training_job")}

    def _watch(self, record: Record, run_id: int, progress: Progress) -> None:
        """Until the run has ended. Raises CancelledError, JobError with why it failed, DatabricksError."""
        options = self.settings.databricks
        quick, step = Volume(self.connection, quick=True), "waiting for the cluster"
        while True:
            run = run_or_none(self.connection, run_id)
            if run is None:
                raise JobError(f"Databricks no longer knows run {run_id}: submit the job again")
            if life_of(run) in ENDED:
                break
            percent, step = self._told(quick, record, progress.percent, step)
            progress.tell(percent, step)
            time.sleep(options.poll_seconds)
        if result_of(run) != "SUCCESS":
            found = "\n".join(map(error_text, errors(self.connection, run_id)))
            raise JobError(self.connection.redact(f"Databricks run {run_id}: {result_of(run)}\n{found}"))

    @staticmethod
    def _told(volume: Volume, record: Record, percent: int, step: str) -> tuple[int, str]:
        """How far the notebook says it is; what is known already where that cannot be read now."""
        with suppress(DatabricksError, ValueError, TypeError, KeyError):
            told = json.loads(volume.read(f"{record.folder}/{RESULTS_FOLDER}/{PROGRESS}") or b"null")
            return int(told["percent"]), str(told["step"])
        return percent, step

    def _collect(self, job: Job, record: Record) -> dict[str, Any]:
        """Bring the results here, results.json last."""
        source, folder = f"{record.folder}/{RESULTS_FOLDER}", self.store.job_folder(job.job_id)
        volume = Volume(self.connection)
        found = volume.read(f"{source}/{RESULTS}")
        if found is None:
            raise JobError(f"run {record.run_id} succeeded, but left no {RESULTS} in {source}: see docs/jobs.md")
        results = read_results(found, f"run {record.run_id}: {source}/{RESULTS}")
        for path in volume.files_in(source):
            name = PurePosixPath(path).relative_to(source)
            if ".." in name.parts or str(name) in (RESULTS, PROGRESS):
                continue
            target = folder.joinpath(*name.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(volume.read(path) or b"")
        write_whole(folder / RESULTS, found.decode(), 0o644)
        return results

    def sweep(self, say: Callable[[str], object]) -> None:
        """End and remove what jobs that are open no more have left in the workspace, as after a killed process."""
        for path in sorted(self._records.glob("*.json")):
            record = self._read(path.stem)
            if record is None or self._is_open(record.job_id):
                continue
            try:
                self._remove(record)
            except DatabricksError as error:
                say(f"job {record.job_id} has left {record.table} in the workspace, which is tried again: {error}")

    def _is_open(self, job_id: str) -> bool:
        try:
            return self.store.get(job_id).status in OPEN
        except UnknownJobError:
            return False

    def _remove(self, record: Record) -> None:
        """End the run if it goes on, then remove table, files and record. Raises DatabricksError."""
        for run_id in self._begun(record):
            run = run_or_none(self.connection, run_id)
            if run is not None and life_of(run) not in ENDED:
                cancel(self.connection, run_id)
        if record.table is not None:
            self._drop(record.table)
        Volume(self.connection).remove(record.folder)
        self._path(record.job_id).unlink(missing_ok=True)

    def _begun(self, record: Record) -> list[int]:
        """The runs that may go on of a record: where its process died before it knew which, those of its name."""
        from databricks.sdk.service.jobs import RunType

        if record.run_id is not None:
            return [record.run_id]
        jobs, name = self.connection.client.jobs, _run_name(record.job_id)
        active = self.connection.call(
            "listing active runs", lambda: list(jobs.list_runs(active_only=True, run_type=RunType.SUBMIT_RUN))
        )
        return [int(run.run_id) for run in active if run.run_name == name and run.run_id is not None]

    def _drop(self, table: str) -> None:
        from databricks.sdk.errors import NotFound

        def drop() -> None:
            with suppress(NotFound):
                self.connection.client.tables.delete(table)

        self.connection.call(f"dropping {table}", drop)

    def _path(self, job_id: str) -> Path:
        return self._records / f"{job_id}.json"

    def _keep(self, record: Record) -> None:
        self._records.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(record.job_id), json.dumps(asdict(record), indent=1))

    def _read(self, job_id: str) -> Record | None:
        try:
            found: Mapping[str, Any] = json.loads(self._path(job_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Record(**found)


def _run_name(job_id: str) -> str:
    return f"forecast_{job_id[:8]}"


def read_results(content: bytes, name: str) -> dict[str, Any]:
    """What a notebook's results.json holds. Raises JobError where a notebook of one's own leaves out what is needed."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise JobError(f"{name} is no JSON ({error}): see docs/jobs.md") from error
    lacking = [key for key in NEEDED if key not in found] if isinstance(found, dict) else list(NEEDED)
    if lacking:
        raise JobError(f"{name} lacks {', '.join(lacking)}: let the notebook write them, as docs/jobs.md says")
    return dict(found)
