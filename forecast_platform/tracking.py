"""MLflow: one run a fit, its artifact in an open format, and a registered model a series whose versions are windows."""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING

from forecast_platform import __version__
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from forecast_platform.pipeline.training import Fit

EXPERIMENT = "forecast_platform"


class TrackingError(RuntimeError):
    """MLflow could not be reached or refused; the fit itself is kept without it."""


class Tracker:
    """Writes fits to MLflow. Local default: an SQLite file in the warehouse, artifacts beside it, no server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._registered: set[str] = set()

    @property
    def folder(self) -> Path:
        """Where the local store and its artifacts are."""
        return self.settings.warehouse / "_mlflow"

    @cached_property
    def client(self) -> MlflowClient:
        """The client; creates the local database on first use, one process at a time."""
        from filelock import FileLock
        from mlflow import MlflowClient

        # MLflow announces each migration of a new database: nothing an operator could act on.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)

        uri = self.settings.tracking_uri
        self.folder.mkdir(parents=True, exist_ok=True)
        # Two processes that create the SQLite database at once kill one another's migration.
        with FileLock(str(self.folder / ".create.lock")):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            if client.get_experiment_by_name(EXPERIMENT) is None:
                local = uri.startswith("sqlite:")
                location = (self.folder / "artifacts").as_uri() if local else None
                client.create_experiment(EXPERIMENT, artifact_location=location)
        return client

    @cached_property
    def experiment_id(self) -> str:
        """The experiment that all fits belong to."""
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise TrackingError(f"experiment {EXPERIMENT} is not in {self.settings.tracking_uri}")
        return str(found.experiment_id)

    def log_fit(self, fit: Fit, version: str, data_version: str) -> str:
        """Record one fit; returns the MLflow run id. Raises TrackingError."""
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        series, model, window = fit.task.series, fit.task.model, fit.task.window_start
        now = int(dt.datetime.now(dt.timezone.utc).timestamp() * 1000)
        tags = {
            "series": series,
            "model": model,
            "model_version": version,
            "window": str(window),
            "code_version": __version__,
            "data_version": data_version,
        }
        try:
            run = self.client.create_run(
                self.experiment_id, start_time=now, tags=tags, run_name=f"{series} {model} {version} {window}"
            )
            run_id = str(run.info.run_id)
            self.client.log_batch(
                run_id,
                metrics=[Metric(name, value, now, 0) for name, value in (fit.metrics or {}).items()],
                params=[Param(name, str(value)[:500]) for name, value in fit.parameters.items()],
            )
            self._log_artifact(run_id, fit)
            self._register(run_id, series, model, tags)
            self.client.set_terminated(run_id)
        except (MlflowException, OSError) as error:
            raise TrackingError(f"MLflow at {self.settings.tracking_uri} did not take the fit: {error}") from error
        return run_id

    def run_url(self, run_id: str) -> str:
        """Address of a run in the MLflow UI."""
        return f"{self.settings.mlflow_ui_url}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def _log_artifact(self, run_id: str, fit: Fit) -> None:
        from mlflow.models import Model

        window = fit.task.window
        about = {"series": fit.task.series, "model": fit.task.model}
        about |= {"window_start": str(window.start), "window_end": str(window.end)}

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder)
            (target / "fitted_model.json").write_text(fit.text)
            described = Model(run_id=run_id, metadata=about)
            # Loaded by our own code from JSON: no pickled object is ever stored.
            described.add_flavor(
                "python_function",
                loader_module="forecast_platform.tracking_flavor",
                data="fitted_model.json",
                python_version=python_version(),
            )
            described.save(str(target / "MLmodel"))
            self.client.log_artifacts(run_id, str(target), "model")

    def _register(self, run_id: str, series: str, model: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        name = f"{series}-{model}"
        if name not in self._registered:
            try:
                self.client.create_registered_model(name, tags={"series": series, "model": model})
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            self._registered.add(name)
        run = self.client.get_run(run_id)
        self.client.create_model_version(
            name, source=f"{run.info.artifact_uri}/model", run_id=run_id, tags=dict(tags), description=tags["window"]
        )
