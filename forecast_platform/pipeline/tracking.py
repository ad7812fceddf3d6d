"""MLflow: one run a fit, its artifact in an open format, and a registered model a series whose versions are windows."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING

from forecast_platform import __version__
from forecast_platform.host import process_identity
from forecast_platform.host.disk import full_disk
from forecast_platform.host.mlflow_store import (
    PROCESS_TAG,
    StoreError,
    client_with,
    close_abandoned,
    in_workspace,
    param_text,
)
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from forecast_platform.work.fitting import Fit

EXPERIMENT = "forecast_platform"

_FILE = "sqlite:///"

PARAMETERS = "parameters.json"


def registered_name(settings: Settings, series: str, model: str) -> str:
    """A model's name in the registry: catalog.schema.series_model in Unity Catalog, which keeps names in lower case."""
    if not in_workspace(settings.tracking_uri):
        return f"{series}-{model}"
    return f"{settings.unity.catalog}.{settings.unity.registry_schema}.{series}_{model}".lower()


def experiment_name(settings: Settings) -> str:
    """The experiment that all fits belong to; a Databricks workspace wants a path."""
    return f"{settings.databricks.folder}/fits" if in_workspace(settings.tracking_uri) else EXPERIMENT


class TrackingError(RuntimeError):
    """MLflow could not be reached or refused; the fit itself is kept without it."""


@contextmanager
def _told(settings: Settings, what: str) -> Iterator[None]:
    """Whatever MLflow or its database raises, as TrackingError: it costs the record of a fit, never the fit."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        uri = settings.tracking_uri
        places = (Path(uri.removeprefix(_FILE)).parent,) if uri.startswith(_FILE) else ()
        said = full_disk(error, *places) or (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrackingError(f"MLflow at {settings.tracking_uri} {what}: {said}") from error


class Tracker:
    """Writes fits to MLflow. Local default: an SQLite file in the warehouse, artifacts beside it, no server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._registered: set[str] = set()

    @cached_property
    def client(self) -> MlflowClient:
        """The client; creates the local database on first use, one process at a time. Raises TrackingError."""
        try:
            return client_with(self.settings, experiment_name(self.settings))[0]
        except StoreError as error:
            raise TrackingError(str(error)) from error

    def close_abandoned(self) -> int:
        """End the runs that a killed process of this machine left running; returns how many. Raises TrackingError."""
        with _told(self.settings, "does not answer"):
            return close_abandoned(self.client, self.experiment_id)

    @cached_property
    def experiment_id(self) -> str:
        """The experiment that all fits belong to. Raises TrackingError where there is none."""
        name = experiment_name(self.settings)
        found = self.client.get_experiment_by_name(name)
        if found is None:
            raise TrackingError(f"experiment {name} is not in {self.settings.tracking_uri}")
        return str(found.experiment_id)

    def log_fit(self, fit: Fit, version: str, data_version: str) -> str:
        """Record one fit; returns the MLflow run id. Raises TrackingError."""
        from mlflow.entities import Metric, Param

        series, model, window = fit.task.series, fit.task.model, fit.task.window_start
        now = int(dt.datetime.now(dt.timezone.utc).timestamp() * 1000)
        tags = {
            "series": series,
            "model": model,
            "model_version": version,
            "window": str(window),
            "code_version": __version__,
            "data_version": data_version,
            PROCESS_TAG: process_identity.this_process(),
        }
        with _told(self.settings, "did not take the fit"):
            run = self.client.create_run(
                self.experiment_id, start_time=now, tags=tags, run_name=f"{series} {model} {version} {window}"
            )
            run_id = str(run.info.run_id)
            self.client.log_batch(
                run_id,
                metrics=[Metric(name, value, now, 0) for name, value in (fit.metrics or {}).items()],
                params=[
                    Param(name, param_text(value, f"model/{PARAMETERS}, {name}"))
                    for name, value in fit.parameters.items()
                ],
            )
            self._log_artifact(run_id, fit)
            self._register(run_id, series, model, tags)
            self.client.set_terminated(run_id)
        return run_id

    def run_url(self, run_id: str) -> str:
        """Address of a run in the MLflow UI, or in the workspace. Raises TrackingError."""
        uri = self.settings.tracking_uri
        with _told(self.settings, "does not answer"):
            experiment = self.experiment_id
            if in_workspace(uri):
                from mlflow.utils.databricks_utils import get_databricks_host_creds

                return f"{get_databricks_host_creds(uri).host.rstrip('/')}/ml/experiments/{experiment}/runs/{run_id}"
        return f"{self.settings.mlflow_ui_url}/#/experiments/{experiment}/runs/{run_id}"

    def _log_artifact(self, run_id: str, fit: Fit) -> None:
        from mlflow.models import Model

        window = fit.task.window
        about = {"series": fit.task.series, "model": fit.task.model, "spec": fit.task.wanted.to_json()}
        about["horizon"] = str(self.settings.horizon)
        about |= {"window_start": str(window.start), "window_end": str(window.end)}

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder)
            (target / "fitted_model.json").write_text(fit.text)
            for name, data in fit.files.items():
                file = target / "files" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            (target / PARAMETERS).write_text(json.dumps(fit.parameters, indent=1))
            described = Model(run_id=run_id, metadata=about)
            # Loaded by our own code, from JSON or files that are compared with their manifest.
            described.add_flavor(
                "python_function",
                loader_module="forecast_platform.tracking_flavor",
                data="fitted_model.json",
                python_version=python_version(),
            )
            if in_workspace(self.settings.tracking_uri):
                described.signature = _signature(self.settings.horizon)
            described.save(str(target / "MLmodel"))
            self.client.log_artifacts(run_id, str(target), "model")

    def _register(self, run_id: str, series: str, model: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        name = registered_name(self.settings, series, model)
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

    def move_alias(self, series: str, model: str, run_id: str, alias: str, others: Sequence[str]) -> bool:
        """Give `alias` to the version that `run_id` registered, and take it from the series' `others` (models).

        False where there is no such version. Raises MlflowException.
        """
        from mlflow.exceptions import MlflowException

        name = registered_name(self.settings, series, model)
        # One condition: Unity Catalog's registry takes no conjunction.
        versions = [one for one in self.client.search_model_versions(f"run_id = '{run_id}'") if one.name == name]
        if not versions:
            return False
        self.client.set_registered_model_alias(name, alias, versions[0].version)
        for other in others:
            if other == model:
                continue
            try:
                its_name = registered_name(self.settings, series, other)
                self.client.get_model_version_by_alias(its_name, alias)
                self.client.delete_registered_model_alias(its_name, alias)
            except MlflowException as error:
                # The local store calls an alias that is not set an invalid parameter.
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
        return True


def _signature(horizon: int) -> ModelSignature:
    """What Unity Catalog demands of a registered model: the types of what goes in and what comes out.

    In: the forecast dates; history, paths and seed are objects of ours, which MLflow has no type for.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    outputs = Schema([TensorSpec(np.dtype("float32"), (-1, -1, horizon))])
    return ModelSignature(inputs=Schema([ColSpec("datetime", "origins")]), outputs=outputs)
