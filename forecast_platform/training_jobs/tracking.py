"""A job in MLflow: one run with a child a model, what the job leaves as artifacts, its data as a dataset, and the
registered model, the same locally and in a Databricks workspace.

A job's experiment is /Shared/<family>/jobs/<job_id>, so that a workspace's permissions may be a job's; where
MLFLOW_EXPERIMENT_NAME names one, all jobs are in that, told apart by the tag `job_path`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from forecast_platform import __version__
from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import (
    PROCESS_TAG,
    client_of,
    client_with,
    close_abandoned,
    in_workspace,
    local_folder,
    param_text,
)
from forecast_platform.settings import Settings
from forecast_platform.training_jobs import predictor
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.plots import write_plots
from forecast_platform.training_jobs.results import CONFIG, FORECAST, LEADERBOARD, METRICS
from forecast_platform.training_jobs.store import Job, JobStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

JOBS = "/Shared/forecast_platform/jobs"
"""The folder of the jobs' experiments."""
PRODUCTION = "/Shared/forecast_platform/production/best_models"
"""The experiment with a run for each version of a model that a job registered."""
JOB_TAG = "job_id"
ALIAS = "newest"
_ARTIFACTS = "artifacts/training_jobs"
_LOOKED_BACK = 20
"""Experiments of other jobs in which runs are looked for that a killed process left."""
_LOADER = "forecast_platform.training_jobs.flavor"
_FIGURES = ("mase", "smape", "mape", "wql", "fit_time_marginal", "predict_time", "total_seconds")


class JobTracker:
    """Writes jobs to MLflow."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def experiment_of(self, job_id: str) -> str:
        """The experiment that a job's runs are in."""
        return self.settings.training_jobs.experiment or f"{JOBS}/{job_id}"

    def prepare(self) -> None:
        """Make the local database where it is not there yet, which takes seconds."""
        if self.settings.tracking_uri.startswith("sqlite:"):
            client_with(self.settings, "Default")  # MLflow's own, which every database has

    def client_for(self, job_id: str) -> tuple[MlflowClient, str]:
        """A client, and the id of the job's experiment; creates database, folder and experiment on first use, one
        process at a time."""
        own = self.settings.training_jobs.experiment is None
        return self._client(self.experiment_of(job_id), f"{_ARTIFACTS}/{job_id}" if own else _ARTIFACTS)

    def _client(self, experiment: str, artifacts: str) -> tuple[MlflowClient, str]:
        if in_workspace(self.settings.tracking_uri):
            self._make_folder(experiment.rpartition("/")[0])
        return client_with(self.settings, experiment, artifacts)

    def _make_folder(self, folder: str) -> None:
        """A workspace makes no experiment in a folder that is not there."""
        from forecast_platform.clients.databricks.connection import Connection

        connection = Connection(self.settings.databricks)
        connection.call(f"making {folder}", lambda: connection.client.workspace.mkdirs(folder))

    def job_of(self, job_id: str, user: str, config: JobConfig) -> Job:
        """A job that no store holds: one that a notebook runs by hand."""
        now = JobStore(self.settings).now()
        return Job(
            job_id,
            user,
            "running",
            config.stored(),
            0,
            "",
            config.priority,
            now,
            now,
            now,
            None,
            1,
            None,
            0,
            None,
            None,
        )

    def log(self, job: Job, folder: Path, results: dict[str, Any]) -> str | None:
        """Record a job's results; returns the MLflow run's id.

        Where MLflow cannot be reached, the results are the job's all the same: their notes say why there is no run.
        """
        try:
            return self._log(job, folder, results)
        except Exception as error:  # noqa: BLE001 - whatever MLflow or its database raises
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            results["notes"].append(f"not in MLflow ({self.settings.tracking_uri}): {said}")
            return None

    def _log(self, job: Job, folder: Path, results: dict[str, Any]) -> str:
        from mlflow.entities import Param

        config = job.asked
        client, experiment_id = self.client_for(job.job_id)
        self._close_abandoned(client, experiment_id)
        name = f"job_{job.job_id[:8]}"
        tags = {
            JOB_TAG: job.job_id,
            "job_path": f"{self.settings.training_jobs.experiment or JOBS}/{job.job_id}",
            "user_id": job.user_id,
            "mode": config.training_mode,
            "code_version": __version__,
            PROCESS_TAG: process_identity.this_process(),
        }
        run = client.create_run(experiment_id, tags=tags, run_name=name)
        run_id = str(run.info.run_id)
        try:
            parameters = {
                "job_id": job.job_id,
                "models": ",".join(row["model"] for row in results["leaderboard"]),
                **{
                    key: results[key]
                    for key in ("horizon", "frequency", "season_length", "series", "backtest_windows", "metric")
                },
                "presets": config.presets,
                "time_limit": config.time_limit,
            }
            whole = {"models": f"{LEADERBOARD}, model"}
            params = [Param(key, param_text(value, whole.get(key, CONFIG))) for key, value in parameters.items()]
            best = {**_figures(results["leaderboard"][0]), "training_time": results["training_time"]}
            client.log_batch(run_id, params=params, metrics=_metrics(best))
            self._log_data(client, run_id, job, results)
            for row in results["leaderboard"]:
                self._log_child(client, experiment_id, run_id, name, row)
            self._log_files(client, run_id, folder)
            if config.register_model:
                results["registered_model"] = self._register(client, run_id, job, results)
                self._log_best(run_id, job, results)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
        return run_id

    def _log_data(self, client: MlflowClient, run_id: str, job: Job, results: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = {"file": job.asked.file, "table": job.asked.table}
        data = Dataset(
            name=f"job_{job.job_id[:8]}",
            digest=results["data_hash"][:32],
            source_type="training_job",
            source=json.dumps({key: value for key, value in source.items() if value} or {"rows": "in the request"}),
            profile=json.dumps({"series": results["series"], "sha256": results["data_hash"]}),
        )
        client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])

    def _log_child(
        self, client: MlflowClient, experiment_id: str, parent: str, name: str, row: Mapping[str, Any]
    ) -> None:
        from mlflow.entities import Param

        tags = {"mlflow.parentRunId": parent, PROCESS_TAG: process_identity.this_process()}
        child = client.create_run(experiment_id, tags=tags, run_name=f"{name} {row['model']}").info.run_id
        covered = {key: value for key, value in row.items() if key.startswith("coverage_") and value is not None}
        client.log_batch(
            child, params=[Param("model", str(row["model"]))], metrics=_metrics({**_figures(row), **covered})
        )
        client.set_terminated(child)

    def _log_files(self, client: MlflowClient, run_id: str, folder: Path) -> None:
        from mlflow.models import Model

        for name in (CONFIG, FORECAST, LEADERBOARD, METRICS):
            client.log_artifact(run_id, str(folder / name))
        write_plots(folder)
        client.log_artifacts(run_id, str(folder / "plots"), "plots")
        described = Model(run_id=run_id)
        # Loaded by our own code, from JSON and numpy's own format.
        described.add_flavor("python_function", loader_module=_LOADER, python_version=python_version())
        if in_workspace(self.settings.tracking_uri):
            described.signature = _signature()
        described.save(str(folder / predictor.FOLDER / "MLmodel"))
        client.log_artifacts(run_id, str(folder / predictor.FOLDER), predictor.FOLDER)

    def registered_name(self, name: str) -> str:
        """catalog.schema.name, as Unity Catalog's registry wants it; the same locally."""
        return f"{self.settings.unity.catalog}.{self.settings.unity.registry_schema}.{name}".lower()

    def _register(self, client: MlflowClient, run_id: str, job: Job, results: Mapping[str, Any]) -> str:
        """The name and version that the predictor is registered under."""
        from mlflow.exceptions import MlflowException

        name = self.registered_name(str(job.asked.model_name))
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        run = client.get_run(run_id)
        tags = {"job_id": job.job_id, "best_model": results["best_model"], "mape": str(results["mape"])}
        version = client.create_model_version(
            name, source=f"{run.info.artifact_uri}/{predictor.FOLDER}", run_id=run_id, tags=tags
        )
        client.set_registered_model_alias(name, ALIAS, version.version)
        return f"{name}/{version.version}"

    def _log_best(self, job_run: str, job: Job, results: Mapping[str, Any]) -> None:
        """A run in PRODUCTION that names what was registered, by whom, and how good it was in the job's backtest. It
        stays when the job is pruned, as the model does."""
        from mlflow.entities import Param

        client, experiment_id = self._client(PRODUCTION, f"{_ARTIFACTS}/best_models")
        close_abandoned(client, experiment_id)
        best, version = results["leaderboard"][0], str(results["registered_model"])
        tags = {
            JOB_TAG: job.job_id,
            "job_run": job_run,
            "user_id": job.user_id,
            "registered_model": version,
            PROCESS_TAG: process_identity.this_process(),
        }
        run_id = str(client.create_run(experiment_id, tags=tags, run_name=version).info.run_id)
        parameters = {
            "job_id": job.job_id,
            "best_model": results["best_model"],
            "data_hash": results["data_hash"],
            **{key: results[key] for key in ("horizon", "frequency", "series")},
        }
        params = [Param(key, str(value)) for key, value in parameters.items()]
        client.log_batch(run_id, params=params, metrics=_metrics(_figures(best)))
        client.set_terminated(run_id)

    def forget(self, job_id: str) -> None:
        """Move a job's runs, children too, to MLflow's deleted stage, and its experiment where that is its own; those
        with a registered model are kept. Of the local store their files go too."""
        uri = self.settings.tracking_uri
        if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
            return  # a client would make it
        client = client_of(uri)
        found = client.get_experiment_by_name(self.experiment_of(job_id))
        if found is None:
            return
        kept = False
        for run in client.search_runs([found.experiment_id], f"tags.{JOB_TAG} = '{job_id}'"):
            run_id = run.info.run_id
            if client.search_model_versions(f"run_id = '{run_id}'"):
                kept = True
                continue
            children = f"tags.`mlflow.parentRunId` = '{run_id}'"
            for child in client.search_runs([found.experiment_id], children):
                client.delete_run(child.info.run_id)
            client.delete_run(run_id)
            self._remove_files(str(run.info.artifact_uri).removesuffix("/artifacts"))
        if not kept and self.settings.training_jobs.experiment is None and found.lifecycle_stage == "active":
            client.delete_experiment(found.experiment_id)
            self._remove_files(str(found.artifact_location))

    def _remove_files(self, place: str) -> None:
        """A folder of artifacts, where it is one of the local store's own."""
        address = urlsplit(place)
        path = Path(unquote(address.path))
        own = local_folder(self.settings) / _ARTIFACTS
        if address.scheme in ("", "file") and own in path.parents:
            shutil.rmtree(path, ignore_errors=True)

    def _close_abandoned(self, client: MlflowClient, experiment_id: str) -> None:
        """End what killed processes of this machine left running: in the job's experiment, and of the local store in
        those of the newest jobs, for a killed one that nobody tries again has no next run of its own."""
        others: Sequence[Experiment] = ()
        if self.settings.training_jobs.experiment is None and self.settings.tracking_uri.startswith("sqlite:"):
            others = client.search_experiments(
                max_results=_LOOKED_BACK, filter_string=f"name LIKE '{JOBS}/%'", order_by=["creation_time DESC"]
            )
        close_abandoned(client, *dict.fromkeys([experiment_id, *(str(other.experiment_id) for other in others)]))


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in _FIGURES if row[name] is not None}


def _metrics(figures: Mapping[str, float]) -> list[Any]:
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, value, now, 0) for name, value in figures.items()]


def _signature() -> Any:
    """What Unity Catalog demands of a registered model: a table of any columns goes in, the forecast comes out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    outputs = Schema([ColSpec("string", "series"), ColSpec("string", "date"), ColSpec("double", "forecast")])
    return ModelSignature(inputs=Schema([ColSpec(AnyType(), "data")]), outputs=outputs)
