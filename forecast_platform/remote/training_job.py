"""A training job on a cluster: what the notebooks notebooks/train_<mode> call, by hand or for the service.

The data are a table; the results go into a folder (of a volume, so that they outlive the cluster) and to MLflow.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from forecast_platform.remote.parameters import ParameterError
from forecast_platform.settings import PREFIX, Settings, load
from forecast_platform.training_jobs.config import JobConfig, JobError, parse
from forecast_platform.training_jobs.intake import limits_of
from forecast_platform.training_jobs.panel import build
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.reading import from_arrow
from forecast_platform.training_jobs.remote_files import PROGRESS
from forecast_platform.training_jobs.results import RESULTS
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.tracking import JobTracker
from forecast_platform.training_jobs.training import PANEL, check, run_job
from forecast_platform.warehouse.predicates import quoted

WIDGETS = ("job_id", "config", "data_table", "folder", "user_id", "tracking_uri", "experiment", "settings")
"""Parameters of each notebook, all texts. folder: where results go (empty: a new one of the warehouse's). settings: a
YAML file of the cluster's."""
_TELL_SECONDS = 3.0


class Session(Protocol):
    """As much of a Spark session as is used."""

    def table(self, name: str) -> Any:
        """A table, which gives its rows by toArrow."""
        ...


def run_training_job(mode: str, parameters: Mapping[str, str], spark: Session) -> str:
    """Train a job of this mode on its table; returns, as JSON, what results.json holds without the forecast's rows.

    Raises ParameterError, JobError.
    """
    settings = _settings(parameters)
    config = _config(mode, parameters)
    job_id = parameters.get("job_id") or str(uuid.uuid4())
    store = JobStore(settings)
    folder = Path(parameters["folder"]) if parameters.get("folder") else store.job_folder(job_id)
    folder.mkdir(parents=True, exist_ok=True)
    limits = limits_of(settings)
    panel = build(from_arrow(spark.table(quoted(config.table or "")).toArrow(), config, limits), config, limits)
    check(panel, config)
    tracker = JobTracker(settings)
    about = tracker.job_of(job_id, parameters.get("user_id") or "notebook", config)
    with tempfile.TemporaryDirectory() as made:
        # On the cluster's own disk, and then as whole files: a volume takes no archive that is written to and fro.
        work = Path(made)
        panel.save(work / PANEL)
        found = run_job(work, config, Progress(_Teller(folder)), keep=lambda results: tracker.log(about, work, results))
        _copy(work, folder)
    return json.dumps({name: value for name, value in found.items() if name != "forecast"} | {"job_id": job_id})


def _settings(parameters: Mapping[str, str]) -> Settings:
    if parameters.get("settings"):
        os.environ[f"{PREFIX}CONFIG"] = parameters["settings"]
    settings = load()
    changes: dict[str, Any] = {"mlflow_tracking_uri": parameters.get("tracking_uri") or "databricks"}
    if parameters.get("experiment"):
        changes["training_jobs"] = settings.training_jobs.model_copy(update={"experiment": parameters["experiment"]})
    return settings.model_copy(update=changes)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's files, results.json last."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    for path in sorted(files, key=lambda one: one.name == RESULTS):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())


def _config(mode: str, parameters: Mapping[str, str]) -> JobConfig:
    """The config with the table in the place of whatever data it names. Raises ParameterError, JobError."""
    if not parameters.get("data_table"):
        raise ParameterError("data_table: name the table with the job's data, catalog.schema.table")
    try:
        given = json.loads(parameters.get("config") or "{}")
    except ValueError as error:
        raise ParameterError(f"config: no JSON: {error}") from None
    if not isinstance(given, dict):
        raise JobError(f"{type(given).__name__} is no mapping of names to values", "config")
    data = {"data": None, "file": None, "table": parameters["data_table"], "training_mode": mode}
    return parse({**given, **data})


class _Teller:
    """Says how far a job is: in the notebook's output, and in a file beside the results for who waits elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / PROGRESS
        self._last = float("-inf")

    def __call__(self, percent: int, step: str) -> None:
        print(f"{percent:3d} % {step}", flush=True)  # noqa: T201 - a notebook's output is where one looks
        if time.monotonic() - self._last >= _TELL_SECONDS:
            self._last = time.monotonic()
            try:
                self._file.write_text(json.dumps({"percent": percent, "step": step}))
            except OSError as error:
                print(f"{self._file} is not told how far this is: {error}", flush=True)  # noqa: T201 - as above
