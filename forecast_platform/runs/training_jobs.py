"""Training jobs for whoever asks: create, submit, look, cancel, delete. The API says over HTTP what is here."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.host.admission import OPEN, UnknownJobError, WrongStateError
from forecast_platform.host.home import prepare_home
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import JobError, parse
from forecast_platform.training_jobs.intake import admit, limits_of, placed
from forecast_platform.training_jobs.keeping import remove_folder
from forecast_platform.training_jobs.panel import build, described
from forecast_platform.training_jobs.reading import column_names, read_file
from forecast_platform.training_jobs.results import DOWNLOADS, RESULTS
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.uploads import Arrival, Upload, UploadStore

if TYPE_CHECKING:
    from dagster import DagsterInstance

_USE_SECONDS = 30.0
"""How often it is noted at the most that somebody asks."""

_BEAT_SECONDS = 90.0
"""Age of the sensor daemon's heartbeat (every 30 s) beyond which nobody would run a job."""


class UnavailableError(RuntimeError):
    """Jobs cannot be taken now; the message says why."""


@dataclass
class Receiving:
    """An upload that comes in."""

    store: UploadStore
    user: str
    arrival: Arrival
    path: Path
    kept: bool = False

    @property
    def most(self) -> int:
        """Bytes that it may have."""
        return self.arrival.most

    def keep(self, name: str, size: int) -> Upload:
        """The file is whole and good; size in bytes."""
        found = self.store.keep(self.arrival, self.user, name[:200], size)
        self.kept = True
        return found


class TrainingJobs:
    """The jobs of one platform. Every method with a `user` sees that user's jobs alone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = JobStore(settings)
        self.uploads = UploadStore(settings)
        self._lock = threading.Lock()
        self._instance: DagsterInstance | None = None
        self._noted = -math.inf

    @property
    def instance(self) -> DagsterInstance:
        """Dagster's instance. Raises UnavailableError."""
        from dagster import DagsterInstance

        with self._lock:
            if self._instance is None:
                try:
                    prepare_home(self.settings)
                    self._instance = DagsterInstance.get()
                except Exception as error:
                    raise UnavailableError(f"Dagster's instance cannot be opened: {error}") from error
            return self._instance

    def note_use(self) -> None:
        """Somebody asks for something: Dagster's sensor is there from now on when a job is submitted."""
        now = time.monotonic()
        if now - self._noted > _USE_SECONDS and self.store.exists:
            self._noted = now
            self.store.note_use()

    def create(self, user: str, given: Any) -> Job:
        """A new job of a config (data among it), checked, and nothing left behind where it is refused.

        Raises JobError, LimitReachedError, UnavailableError.
        """
        self.require_enabled()
        config = placed(self.settings, parse(given))
        job_id = str(uuid.uuid4())
        upload = None
        if config.file is not None:
            upload = self.upload_file(user, config.file)
        admit(self.settings, self.store.job_folder(job_id), config, upload)
        try:
            job = self.store.create(user, config, job_id)
        except BaseException:
            remove_folder(self.store, job_id)
            raise
        self.note_use()
        return job

    def upload_file(self, user: str, upload_id: str) -> Path:
        """Where a user's upload is. Raises JobError."""
        with contextlib.suppress(UnknownJobError):
            if self.uploads.one(upload_id, user) is not None:
                return self.uploads.path(upload_id)
        raise JobError(f"no upload {upload_id!r}: POST it to /api/v2/uploads first", "file")

    def look(self, user: str, upload_id: str, time_col: str, target_col: str, id_col: str | None) -> dict[str, Any]:
        """What is in an upload. Raises JobError where it could not be trained on, UnknownJobError."""
        if self.uploads.one(upload_id, user) is None:
            raise UnknownJobError(f"no upload {upload_id!r}")
        path = self.uploads.path(upload_id)
        found: dict[str, Any] = {"columns": column_names(path)}
        if not time_col or not target_col:
            return found
        config = parse({"file": upload_id, "time_col": time_col, "target_col": target_col, "id_col": id_col})
        limits = limits_of(self.settings)
        return {**found, **described(build(read_file(path, config, limits), config, limits))}

    def submit(self, user: str, job_id: str, *, again: bool = False) -> Job:
        """Admit a job to the queue; with `again` one that failed or was cancelled.

        Raises UnknownJobError, WrongStateError, LimitReachedError, UnavailableError.
        """
        self.require_enabled()
        self.store.get(job_id, user)
        self.require_daemon()
        return self.store.submit(job_id, user, again=again)

    def get(self, user: str, job_id: str) -> Job:
        """A job as it is now. Raises UnknownJobError."""
        return self._settled(self.store.get(job_id, user))

    def step_of(self, job: Job) -> str:
        """What is being done: for a job in the queue, its place."""
        if job.status == "submitting":
            return f"queued, place {self.store.place(job)}"
        return job.step

    def listed(self, user: str, status: str | None, limit: int) -> tuple[list[Job], int]:
        """A user's newest jobs, at most `limit` (a count), and how many there are in all."""
        return self.store.listed(user, status, limit)

    def cancel(self, user: str, job_id: str) -> Job:
        """Cancel a job, now or as soon as that can be done. Raises UnknownJobError, WrongStateError."""
        self._settled(self.store.get(job_id, user))
        return self._settled(self.store.cancel(job_id, user))

    def delete(self, user: str, job_id: str) -> str:
        """Remove a job that does not run: rows, data, results, its partition, its runs, its MLflow runs.

        Returns what could not be removed, in words; empty where all is gone. Raises UnknownJobError, WrongStateError.
        """
        job = self._settled(self.store.get(job_id, user))
        self.store.remove(job_id, user)
        remove_folder(self.store, job_id)
        if job.submitted_at is not None:
            from forecast_platform.graph.training_jobs import forget_runs
            from forecast_platform.training_jobs.tracking import JobTracker

            with contextlib.suppress(UnavailableError):
                forget_runs(self.instance, [job_id])
            try:
                JobTracker(self.settings).forget(job_id)
            except Exception as error:  # noqa: BLE001 - whatever MLflow raises; the job is gone all the same
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                return f"MLflow keeps its runs ({self.settings.tracking_uri}): {said}"
        return ""

    def results(self, user: str, job_id: str) -> dict[str, Any]:
        """What a completed job found. Raises UnknownJobError, WrongStateError."""
        job = self.get(user, job_id)
        if job.status != "completed":
            raise WrongStateError(f"job {job_id} is {job.status}: results are there once it is completed")
        found: dict[str, Any] = json.loads((self.store.job_folder(job_id) / RESULTS).read_text(encoding="utf-8"))
        return found

    def file(self, user: str, job_id: str, name: str) -> Path | None:
        """One of a completed job's files; None where it has no such file. Raises UnknownJobError."""
        self.store.get(job_id, user)
        path = self.store.job_folder(job_id) / name
        return path if name in DOWNLOADS and path.is_file() else None

    @contextlib.contextmanager
    def receiving(self, user: str, declared: int | None) -> Iterator[Receiving]:
        """A place for a new upload; nothing is left of it where it is not kept.

        declared: bytes of the request's body, where it says so. Raises UnavailableError, LimitReachedError.
        """
        self.require_enabled()
        folder = self.store.folder / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        self._require_room(folder)
        arrival = self.uploads.begin(user, declared)
        place = Receiving(self.uploads, user, arrival, self.uploads.path(arrival.upload_id))
        try:
            yield place
        finally:
            if not place.kept:
                place.path.unlink(missing_ok=True)
                self.uploads.give_up(arrival)

    def _require_room(self, folder: Path) -> None:
        free = shutil.disk_usage(folder).free / 1e9
        if free < self.settings.min_free_gb:
            raise UnavailableError(f"only {free:.2f} GB of disk are free (min_free_gb {self.settings.min_free_gb:g})")

    def _settled(self, job: Job) -> Job:
        """In line with Dagster where that can be asked; else as the store has it: a poll never fails for it."""
        from forecast_platform.graph.training_jobs import settle

        if job.status not in OPEN:
            return job
        try:
            return settle(self.instance, self.store, job)
        except (UnavailableError, sqlite3.OperationalError, OSError):
            return job

    def require_enabled(self) -> None:
        """Refuse where nothing is taken. Raises UnavailableError."""
        if not self.settings.training_jobs.enabled:
            raise UnavailableError("training jobs are switched off here (setting training_jobs.enabled)")

    def require_daemon(self) -> None:
        """Refuse what nobody would run. Raises UnavailableError."""
        beats = self.instance.get_daemon_heartbeats()
        newest = max((beat.timestamp for kind, beat in beats.items() if kind == "SENSOR"), default=0.0)
        if time.time() - newest > _BEAT_SECONDS:
            raise UnavailableError(
                "Dagster's daemon does not run, so nobody would start the job: start `forecast-platform up`, then "
                "submit it again"
            )
