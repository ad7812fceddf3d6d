"""Training jobs on a workspace: the same figures as here, and nothing that is left there, however a run ends."""

from __future__ import annotations

import csv
import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.clients.databricks.deploy import deploy
from forecast_platform.settings import Settings, build, load
from forecast_platform.training_jobs.config import JobError, parse
from forecast_platform.training_jobs.intake import admit, placed
from forecast_platform.training_jobs.modes.base import CancelledError
from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.panel import build as panel_of
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.reading import Limits, from_arrow
from forecast_platform.training_jobs.remote_files import table_of
from forecast_platform.training_jobs.remote_run import RemoteRuns, read_results
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.training import PANEL, run_job
from forecast_platform_tests.api.desk import Desk as Service
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.databricks_workspace.faults import RunFault
from forecast_platform_tests.training_jobs.tables import asked, weekly
from forecast_platform_tests.unity_catalog import Lakehouse


class Desk:
    """A service whose jobs go to the workspace, which it is deployed to."""

    def __init__(self, settings: Settings, workspace: Workspace, lakehouse: Lakehouse) -> None:
        self.settings, self.workspace, self.lakehouse = settings, workspace, lakehouse
        self.connection = Connection(settings.databricks)
        self.runs = RemoteRuns(settings, self.connection)
        self.store = JobStore(settings)

    def submitted(self, **changes: Any) -> Job:
        """A job that waits for its run."""
        config = placed(self.settings, parse(asked(**changes)))
        job = self.store.create("ann", config)
        admit(self.settings, self.store.job_folder(job.job_id), config, None)
        return self.store.submit(job.job_id, "ann")

    def tables(self) -> list[str]:
        """Tables of jobs that are there."""
        with urllib.request.urlopen(f"{self.lakehouse.catalog}/tables?schema_name=forecast", timeout=10) as reply:
            return [table["name"] for table in json.load(reply)["tables"]]

    def left(self) -> list[str]:
        """Whatever is left of jobs: tables, files of the volume, records."""
        volume = self.workspace.local(self.settings.databricks.volume) / "training_jobs"
        found = [*volume.glob("*"), *(self.store.folder / "databricks").glob("*.json")]
        return [*self.tables(), *map(str, found)]


@pytest.fixture
def desk(workspace: Workspace, lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    monkeypatch.setenv("ENABLE_CLUSTER_DELEGATION", "true")
    workspace.serverless_spark, workspace.unity_catalog = lakehouse.remote, lakehouse.catalog
    workspace.local("/Volumes/commodity/forecast/pipes").mkdir(parents=True)
    body = json.dumps({"catalog_name": "commodity", "name": "forecast"}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{lakehouse.catalog}/schemas", data=body), timeout=10).close()
    load.cache_clear()
    made = Desk(build(warehouse=tmp_path / "w", databricks={"poll_seconds": 0.2}), workspace, lakehouse)
    deploy(made.connection, lambda _: None)
    yield made
    load.cache_clear()


@pytest.mark.slow
def test_a_job_on_the_cluster_has_the_results_of_one_here_and_leaves_nothing_there(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    service = Service(desk.settings)
    service.beat()
    assert service.ask("GET", "/jobs/delegation-status")[1]["message"].startswith("training jobs run on Databricks")
    job_id = service.create(asked(models=["HistoricAverage", "AutoETS"], horizon=4))
    assert service.ask("POST", f"/jobs/{job_id}/submit")[0] == 200
    [request] = service.tick()
    assert service.run(request)
    status, found = service.ask("GET", f"/jobs/{job_id}/results")
    assert status == 200
    folder, here = desk.store.job_folder(job_id), tmp_path / "here"
    here.mkdir()
    (here / PANEL).write_bytes((folder / PANEL).read_bytes())
    alike = run_job(here, desk.store.get(job_id).asked, Progress())
    assert found["forecast"] == alike["forecast"]
    assert [row["mase"] for row in found["leaderboard"]] == [row["mase"] for row in alike["leaderboard"]]
    assert (folder / "forecasts.csv").read_text() == (here / "forecasts.csv").read_text()
    assert (folder / "predictor" / "predictor.json").is_file()
    [remote] = desk.workspace.jobs.runs.values()
    assert remote.body["run_name"] == f"forecast_{job_id[:8]}"
    assert [task.key for task in remote.tasks] == ["data", "train"]
    given = remote.tasks[1].spec["notebook_task"]["base_parameters"]
    assert given["job_id"] == job_id
    assert json.loads(given["config"])["training_mode"] == "statsforecast"
    assert given["data_table"] == f"commodity.forecast.training_job_{job_id.replace('-', '_')}"
    assert desk.left() == []


MMF = """
import numpy as np
import pandas as pd

def run_forecast(spark, train_data, group_id, date_col, target, freq, prediction_length, backtest_length, stride,
                 scoring_output, active_models, run_id):
    rows = []
    for series, part in train_data.toPandas().groupby(group_id):
        last = float(part.sort_values(date_col)[target].iloc[-1])
        for model in active_models:
            dates = [str(k) for k in range(prediction_length)]
            rows.append((series, dates, [last] * prediction_length, b"", run_id, model))
    names = ["series", "date", "target", "model_pickle", "run_id", "model"]
    spark.createDataFrame(pd.DataFrame(rows, columns=names)).writeTo(scoring_output).using("delta").create()
    return run_id
"""


@pytest.mark.slow
def test_an_mmf_job_is_trained_on_a_new_cluster_that_ends_with_it(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mmf_sa.py").write_text(MMF)
    desk.workspace.environment["PYTHONPATH"] = str(tmp_path / "site")
    desk.workspace.cluster_spark = desk.lakehouse.remote
    options = desk.settings.training_jobs.model_copy(update={"serverless_rows": 0})
    settings = desk.settings.model_copy(update={"training_jobs": options})
    job = desk.submitted(training_mode="mmf", models=["LastValue"], horizon=4)
    found = RemoteRuns(settings, desk.connection).train(job, Progress())
    assert [row["model"] for row in found["leaderboard"]].count("LastValue") == 1
    assert found["leaderboard"][0]["fallbacks"] == 0
    with (desk.store.job_folder(job.job_id) / "forecasts.csv").open() as stream:
        told = [row for row in csv.DictReader(stream) if row["model"] == "LastValue"]
    panel = Panel.open(desk.store.job_folder(job.job_id) / PANEL)
    lasts = {name: panel.series(k)[-1] for k, name in enumerate(panel.ids)}
    assert len(told) == 2 * 4
    assert all(float(row["forecast"]) == pytest.approx(lasts[row["series"]]) for row in told)
    [remote] = desk.workspace.jobs.runs.values()
    cluster = remote.tasks[1].cluster
    assert cluster is not None
    assert cluster.spec["autoscale"] == {"min_workers": 2, "max_workers": 8}
    assert remote.tasks[1].spec["notebook_task"]["notebook_path"].endswith("/train_mmf")
    assert cluster.about["state"] == "TERMINATED"
    assert desk.left() == []


@pytest.mark.slow
def test_a_failed_run_leaves_nothing_and_says_why(desk: Desk) -> None:
    job = desk.submitted()
    desk.workspace.faults.add(RunFault("task", "train"))
    with pytest.raises(JobError, match="this failure was asked for"):
        desk.runs.train(job, Progress())
    assert desk.workspace.count("DELETE", desk.runs.table_of(job.job_id)) == 1
    assert desk.left() == []


@pytest.mark.slow
def test_a_cancel_ends_the_run_on_the_cluster_too(desk: Desk) -> None:
    job = desk.submitted()
    desk.workspace.faults.add(RunFault("slow_start", "train", seconds=600))
    wish = threading.Event()

    def tell(percent: int, step: str) -> None:
        if step == "waiting for the cluster":
            wish.set()

    with pytest.raises(CancelledError):
        desk.runs.train(job, Progress(tell, wish.is_set))
    [remote] = desk.workspace.jobs.runs.values()
    assert remote.state.result == "CANCELED"
    assert desk.left() == []


@pytest.mark.slow
def test_what_a_killed_service_left_is_swept_once_its_job_has_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = desk.submitted()
    desk.workspace.faults.add(RunFault("slow_start", "train", seconds=600))

    class KilledError(BaseException):
        """The process ends here."""

    def killed(self: RemoteRuns, record: Any) -> None:
        raise KilledError

    def watched(self: RemoteRuns, record: Any, run_id: int, progress: Progress) -> None:
        self._keep(replace(record, run_id=None))  # killed before it knew which run it is
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RemoteRuns, "_remove", killed)
        patch.setattr(RemoteRuns, "_watch", watched)
        with pytest.raises(KilledError):
            desk.runs.train(job, Progress())
    desk.runs.sweep(pytest.fail)
    assert desk.left(), "the job is open: its run is to go on"
    desk.store.fail(job.job_id, "the process was killed")
    desk.runs.sweep(pytest.fail)
    [remote] = desk.workspace.jobs.runs.values()
    assert remote.state.result == "CANCELED"
    assert desk.left() == []


def test_the_table_of_a_panel_makes_the_same_panel_again() -> None:
    rows = [{**row, "price": 1.0 + number % 7, "he at": number % 3} for number, row in enumerate(weekly(2, 40))]
    del rows[5], rows[50]
    rows += [
        {"store": f"s{k}", "week": f"2023-{month:02d}-{day:02d}", "price": 2.5}
        for k in range(2)
        for month, day in ((10, 9), (10, 16), (10, 23), (10, 30))
    ]
    given = asked(rows, covariates=["price", "he at"])
    config = parse(given)
    from forecast_platform.training_jobs.reading import read_rows

    first: Panel = panel_of(read_rows(config.data or (), config, Limits()), config, Limits())
    assert first.future, "price is known ahead"
    again = panel_of(from_arrow(table_of(first, config), config, Limits()), config, Limits())
    assert again.fingerprint == first.fingerprint
    assert again.notes == first.notes


@pytest.mark.parametrize(
    ("enabled", "changes", "where"),
    [
        (False, {}, "local"),
        (True, {}, "cluster"),
        (True, {"compute": "local"}, "local"),
        (True, {"training_mode": "legacy", "models": ["arima"]}, "local"),
    ],
)
def test_where_a_job_is_trained(tmp_path: Path, enabled: bool, changes: dict[str, Any], where: str) -> None:
    settings = build(warehouse=tmp_path, training_jobs={"delegation": enabled})
    assert placed(settings, parse(asked(**changes))).compute == where


def test_a_cluster_that_is_not_enabled_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="compute: 'cluster': set ENABLE_CLUSTER_DELEGATION"):
        placed(build(warehouse=tmp_path), parse(asked(compute="cluster")))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"serverless_rows": 10**6}, set()),
        ({"serverless_rows": 0}, {"new_cluster"}),
        ({"cluster_id": "1128-abc"}, {"existing_cluster_id"}),
    ],
)
def test_a_small_job_is_serverless_and_a_large_one_has_2_to_8_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: set[str]
) -> None:
    settings = build(warehouse=tmp_path, training_jobs={"delegation": True, **options})
    config = placed(settings, parse(asked()))
    job = JobStore(settings).create("ann", config)
    runs = RemoteRuns(settings)
    admit(settings, runs.store.job_folder(job.job_id), config, None)
    place = runs._place(job)
    assert set(place) == expected
    if "new_cluster" in place:
        assert place["new_cluster"]["autoscale"] == {"min_workers": 2, "max_workers": 8}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<html>", "results.json is no JSON"),
        (b"[1]", "lacks best_model, leaderboard, horizon, levels, data_hash, mlflow_run_id"),
        (b'{"best_model": "naive", "leaderboard": [], "horizon": 4, "data_hash": "a"}', "lacks levels, mlflow_run_id"),
    ],
)
def test_what_a_notebook_of_one_s_own_left_out_is_named(content: bytes, told: str) -> None:
    with pytest.raises(JobError, match=told):
        read_results(content, "run 7: /Volumes/a/b/c/results.json")
