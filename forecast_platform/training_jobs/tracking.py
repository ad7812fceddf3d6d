"""A job in MLflow: one run with a child a model, what the job leaves as artifacts, its data as a dataset, and the
registered model, the same locally and in a Databricks workspace.

The experiment is the family's, /Shared/<family>/jobs unless MLFLOW_EXPERIMENT_NAME says otherwise; the tag `job_path`
adds the job's id to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

from forecast_platform import __version__
from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import PROCESS_TAG, client_with, close_abandoned, in_workspace, param_text
from forecast_platform.settings import Settings
from forecast_platform.training_jobs import predictor
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.plots import write_plots
from forecast_platform.training_jobs.results import CONFIG, FORECAST, LEADERBOARD, METRICS
from forecast_platform.training_jobs.store import Job, JobStore

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "/Shared/forecast_platform/jobs"
JOB_TAG = "job_id"
ALIAS = "newest"
_LOADER = "forecast_platform.training_jobs.flavor"
_FIGURES = ("mase", "smape", "mape", "wql", "fit_time_marginal", "predict_time", "total_seconds")


class JobTracker:
    """Writes jobs to MLflow."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def experiment(self) -> str:
        """The experiment that all jobs belong to."""
        return self.settings.training_jobs.experiment or EXPERIMENT

    @cached_property
    def client(self) -> MlflowClient:
        """The client; creates database and experiment on first use, one process at a time.

        Raises StoreError where the database is another or was lost.
        """
        return client_with(self.settings, self.experiment, "artifacts/training_jobs")[0]

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
        experiment = self.client.get_experiment_by_name(self.experiment)
        if experiment is None:
            raise LookupError(f"experiment {self.experiment} is gone: restore it in MLflow")
        close_abandoned(self.client, experiment.experiment_id)
        name = f"job_{job.job_id[:8]}"
        tags = {
            JOB_TAG: job.job_id,
            "job_path": f"{self.experiment}/{job.job_id}",
            "user_id": job.user_id,
            "mode": config.training_mode,
            "code_version": __version__,
            PROCESS_TAG: process_identity.this_process(),
        }
        run = self.client.create_run(experiment.experiment_id, tags=tags, run_name=name)
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
            self.client.log_batch(run_id, params=params, metrics=_metrics(best))
            self._log_data(run_id, job, results)
            for row in results["leaderboard"]:
                self._log_child(experiment.experiment_id, run_id, name, row)
            self._log_files(run_id, folder)
            if config.register_model:
                results["registered_model"] = self._register(run_id, job, results)
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id)
        return run_id

    def _log_data(self, run_id: str, job: Job, results: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = {"file": job.asked.file, "table": job.asked.table}
        data = Dataset(
            name=f"job_{job.job_id[:8]}",
            digest=results["data_hash"][:32],
            source_type="training_job",
            source=json.dumps({key: value for key, value in source.items() if value} or {"rows": "in the request"}),
            profile=json.dumps({"series": results["series"], "sha256": results["data_hash"]}),
        )
        self.client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])

    def _log_child(self, experiment_id: str, parent: str, name: str, row: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        tags = {"mlflow.parentRunId": parent, PROCESS_TAG: process_identity.this_process()}
        child = self.client.create_run(experiment_id, tags=tags, run_name=f"{name} {row['model']}").info.run_id
        covered = {key: value for key, value in row.items() if key.startswith("coverage_") and value is not None}
        self.client.log_batch(
            child, params=[Param("model", str(row["model"]))], metrics=_metrics({**_figures(row), **covered})
        )
        self.client.set_terminated(child)

    def _log_files(self, run_id: str, folder: Path) -> None:
        from mlflow.models import Model

        for name in (CONFIG, FORECAST, LEADERBOARD, METRICS):
            self.client.log_artifact(run_id, str(folder / name))
        write_plots(folder)
        self.client.log_artifacts(run_id, str(folder / "plots"), "plots")
        described = Model(run_id=run_id)
        # Loaded by our own code, from JSON and numpy's own format.
        described.add_flavor("python_function", loader_module=_LOADER, python_version=python_version())
        if in_workspace(self.settings.tracking_uri):
            described.signature = _signature()
        described.save(str(folder / predictor.FOLDER / "MLmodel"))
        self.client.log_artifacts(run_id, str(folder / predictor.FOLDER), predictor.FOLDER)

    def registered_name(self, name: str) -> str:
        """catalog.schema.name, as Unity Catalog's registry wants it; the same locally."""
        return f"{self.settings.unity.catalog}.{self.settings.unity.registry_schema}.{name}".lower()

    def _register(self, run_id: str, job: Job, results: Mapping[str, Any]) -> str:
        """The name and version that the predictor is registered under."""
        from mlflow.exceptions import MlflowException

        name = self.registered_name(str(job.asked.model_name))
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        run = self.client.get_run(run_id)
        tags = {"job_id": job.job_id, "best_model": results["best_model"], "mape": str(results["mape"])}
        version = self.client.create_model_version(
            name, source=f"{run.info.artifact_uri}/{predictor.FOLDER}", run_id=run_id, tags=tags
        )
        self.client.set_registered_model_alias(name, ALIAS, version.version)
        return f"{name}/{version.version}"

    def forget(self, job_id: str) -> None:
        """Move a job's runs, children too, to MLflow's deleted stage; those with a registered model are kept."""
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            return
        for run in self.client.search_runs([found.experiment_id], f"tags.{JOB_TAG} = '{job_id}'"):
            run_id = run.info.run_id
            if self.client.search_model_versions(f"run_id = '{run_id}'"):
                continue
            children = f"tags.`mlflow.parentRunId` = '{run_id}'"
            for child in self.client.search_runs([found.experiment_id], children):
                self.client.delete_run(child.info.run_id)
            self.client.delete_run(run_id)


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
