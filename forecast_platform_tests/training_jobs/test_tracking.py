"""A job in MLflow: its run, children, data and the registered model, which forecasts the same again."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import mlflow
import pytest

from forecast_platform.api.app import warm
from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import PROCESS_TAG, client_of
from forecast_platform.runs.training_jobs import TrainingJobs
from forecast_platform.settings import build
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.tracking import JOB_TAG, JOBS, PRODUCTION, JobTracker
from forecast_platform.training_jobs.training import PANEL, run_job
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly


@pytest.mark.slow
def test_a_job_is_one_run_with_a_child_a_model_and_its_model_loads_back_to_the_same_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    panel, config = panel_of(asked(weekly(2, 60), models=["DynamicTheta"], register_model=True, model_name="Sales"))
    store, tracker = JobStore(settings), JobTracker(settings)
    job = store.create("ann", config)
    folder = store.job_folder(job.job_id)
    folder.mkdir(parents=True)
    panel.save(folder / PANEL)
    found = run_job(folder, config, Progress(), keep=lambda results: tracker.log(job, folder, results))
    assert found["notes"] == []
    assert found["registered_model"] == "commodity.forecast.sales/1"

    client, experiment_id = tracker.client_for(job.job_id)
    path = f"/Shared/forecast_platform/jobs/{job.job_id}"
    assert client.get_experiment(experiment_id).name == path
    run = client.get_run(found["mlflow_run_id"])
    assert run.info.run_name == f"job_{job.job_id[:8]}"
    assert run.data.tags["job_path"] == path
    assert run.info.experiment_id == experiment_id
    assert {"job_id", "horizon", "frequency", "models"} <= set(run.data.params)
    assert run.data.metrics["mape"] == found["mape"] > 0
    assert run.data.metrics["training_time"] > 0
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"config.json", "forecast.csv", "leaderboard.csv", "metrics.json", "plots", "predictor"}
    [data] = run.inputs.dataset_inputs
    assert data.dataset.digest == panel.fingerprint[:32]
    assert json.loads(data.dataset.profile)["sha256"] == panel.fingerprint
    children = client.search_runs([experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    by_model = {child.data.params["model"]: child.data.metrics["mase"] for child in children}
    assert by_model == {row["model"]: row["mase"] for row in found["leaderboard"]}
    version = client.get_model_version_by_alias("commodity.forecast.sales", "newest")
    assert {"job_id", "best_model", "mape"} <= set(version.tags)
    production = client.get_experiment_by_name(PRODUCTION)
    assert production is not None
    [best] = client.search_runs([production.experiment_id])
    assert PRODUCTION == "/Shared/forecast_platform/production/best_models"
    assert (best.info.run_name, best.info.status) == ("commodity.forecast.sales/1", "FINISHED")
    assert best.data.tags["job_id"] == job.job_id
    assert best.data.params["best_model"] == found["best_model"]
    assert best.data.metrics["mase"] == found["leaderboard"][0]["mase"]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", settings.tracking_uri)
    loaded = mlflow.pyfunc.load_model("models:/commodity.forecast.sales@newest")
    assert loaded.predict(None).to_dict("records") == found["forecast"]

    tracker.forget(job.job_id)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active", "its model is registered"
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"


def test_the_service_makes_the_local_database_before_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = build(warehouse=tmp_path / "warehouse")
    warm(TrainingJobs(settings))
    assert [one.name for one in client_of(settings.tracking_uri).search_experiments()] == ["Default"]


@pytest.mark.parametrize("chosen", [None, "/Shared/ours"])
def test_a_forgotten_job_takes_its_own_experiment_with_it_and_not_one_that_others_share(
    tmp_path: Path, chosen: str | None
) -> None:
    settings = build(warehouse=tmp_path / "warehouse", training_jobs={"experiment": chosen})
    tracker, ids = JobTracker(settings), (str(uuid.uuid4()), str(uuid.uuid4()))
    runs = {}
    for job_id in ids:
        client, experiment_id = tracker.client_for(job_id)
        assert client.get_experiment(experiment_id).name == (chosen or f"{JOBS}/{job_id}")
        runs[job_id] = client.create_run(experiment_id, tags={JOB_TAG: job_id}).info
        client.log_text(runs[job_id].run_id, "{}", "config.json")
    tracker.forget(ids[0])
    tracker.forget(ids[0])
    stages = [client.get_run(runs[job_id].run_id).info.lifecycle_stage for job_id in ids]
    assert stages == ["deleted", "active"]
    files = (settings.warehouse / "_mlflow" / "artifacts" / "training_jobs").rglob("config.json")
    assert [file.parts[-3] for file in files] == [runs[ids[1]].run_id]
    experiments = [client.get_experiment(runs[job_id].experiment_id).lifecycle_stage for job_id in ids]
    assert experiments == ["active" if chosen else "deleted", "active"]


def test_results_are_whole_where_mlflow_is_not_there(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse", mlflow_tracking_uri="nonsense://host")
    panel, config = panel_of(asked())
    panel.save(tmp_path / PANEL)
    job = JobStore(settings).create("ann", config)
    found = run_job(tmp_path, config, Progress(), keep=lambda results: JobTracker(settings).log(job, tmp_path, results))
    assert found["mlflow_run_id"] is None
    assert found["notes"][-1].startswith("not in MLflow (nonsense://host): ")
    assert (tmp_path / "forecast.csv").is_file()


def test_a_job_closes_what_a_killed_one_left_running_and_no_parameter_is_cut_without_a_word(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    panel, config = panel_of(asked())
    panel.save(tmp_path / PANEL)
    job, tracker = JobStore(settings).create("ann", config), JobTracker(settings)
    client, experiment_id = tracker.client_for("another, which was killed")
    owners = (process_identity.nobody(), process_identity.this_process())
    gone, mine = (client.create_run(experiment_id, tags={PROCESS_TAG: one}) for one in owners)

    def keep(results: dict[str, Any]) -> str | None:
        board = [{**row, "model": "m" * 600} for row in results["leaderboard"][:1]]
        return tracker.log(job, tmp_path, {**results, "leaderboard": board})

    found = run_job(tmp_path, config, Progress(), keep=keep)
    assert found["notes"] == []
    states = [client.get_run(run.info.run_id).info.status for run in (gone, mine)]
    assert states == ["KILLED", "RUNNING"]
    shown = client.get_run(found["mlflow_run_id"]).data.params["models"]
    assert shown == "600 characters: leaderboard.csv, model"
