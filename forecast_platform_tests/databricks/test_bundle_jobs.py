"""The bundle's jobs as the workspace runs them: defined by the real SDK, started, and looked at in the tables."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.errors import DatabricksError

from forecast_platform.clients.databricks.deploy import TRAINING_NOTEBOOKS
from forecast_platform.clients.databricks.monitor import result_of
from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS, TABLES, TRAINED_MODELS, Table
from forecast_platform.work.platform import Platform
from forecast_platform_tests.databricks.bundles import Bundle
from forecast_platform_tests.databricks.pipes_worlds import World
from forecast_platform_tests.databricks_workspace import RunFault, Workspace
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import SERIES, days, ingest_all, settings_for, write_landing

TODAY = "2018-03-29"
CAUGHT_UP = "2018-03-16"
"""The first of the days that a daily run makes up for (`catch_up_days`)."""
"""The last date of the settings, which is what the jobs take for today where the calendar is further."""
MODELS = ("naive", "random_walk")
OF_THE_MOMENT = {"created_at", "training_seconds", "generation_timestamp", "mlflow_run_id"}
"""Columns that tell when and how fast; everything else of a row is decided by the data."""


@pytest.fixture
def bundle(workspace: Workspace, tmp_path: Path) -> Bundle:
    """The bundle, deployed; its platform is in `tmp_path/cluster`, where only prices and weather are yet."""
    workspace.spark = False
    write_landing(tmp_path / "cluster" / "landing")
    return deployed(workspace, tmp_path, tmp_path / "cluster")


def deployed(workspace: Workspace, tmp_path: Path, root: Path) -> Bundle:
    """The bundle over the platform in `root`, whose settings file lies in a volume."""
    values = settings_for(root, end_date=TODAY).model_dump(mode="json", exclude_unset=True)
    config = "/Volumes/commodity/forecast/landing/settings.yaml"
    workspace.local(config).parent.mkdir(parents=True, exist_ok=True)
    workspace.local(config).write_text(yaml.safe_dump(values))
    return Bundle(workspace, tmp_path, config=config)


def platform(root: Path) -> Platform:
    return Platform.from_settings(settings_for(root, end_date=TODAY))


def content(made: Platform, table: Table) -> list[dict[str, Any]]:
    """A table's rows in the order of their key, without what differs from one making to the next."""
    rows = made.warehouse.read(table).to_pylist()
    rows.sort(key=lambda row: [str(row[name]) for name in table.key if name not in OF_THE_MOMENT])
    return [{name: value for name, value in row.items() if name not in OF_THE_MOMENT} for row in rows]


def versions(made: Platform) -> dict[str, tuple[int | None, int]]:
    return {table.name: (made.warehouse.version(table), made.warehouse.rows(table)) for table in TABLES}


def steps(report: Mapping[str, Any], step: str) -> list[tuple[int, int]]:
    """What was written and left unchanged, by series and model."""
    return [(one["written"], one["unchanged"]) for one in report["steps"] if one["step"] == step]


@pytest.mark.slow
def test_every_job_is_taken_by_the_workspace_as_it_is_written(bundle: Bundle) -> None:
    forecasts = {"create_tables", "train_models", "daily_inference", "backfill", "train_cpt"}
    small = {f"{name}_serverless" for name in TRAINING_NOTEBOOKS if name != "train_mmf"}
    assert set(bundle.jobs) == forecasts | set(TRAINING_NOTEBOOKS) | small
    for name in TRAINING_NOTEBOOKS:
        cluster = bundle.settings[name]["tasks"][0]["new_cluster"]
        assert cluster["autoscale"] == {"min_workers": 2, "max_workers": 8}
    for name in small:
        [task] = bundle.settings[name]["tasks"]
        _, folder, _ = task["notebook_task"]["base_parameters"]["package"].split()
        assert [path.name for path in bundle.workspace.local(folder).glob("*.whl")] == [bundle.wheel.rpartition("/")[2]]
    for name, job_id in bundle.jobs.items():
        kept = bundle.client.jobs.get(job_id).settings
        assert kept, name
        assert kept.as_dict() == bundle.settings[name], "each field is one that the SDK knows"
        assert "$" not in str(bundle.settings[name])
    assert bundle.settings["daily_inference"]["email_notifications"] == {"on_failure": ["someone@example.com"]}
    assert bundle.settings["backfill"]["tasks"][0]["new_cluster"]["num_workers"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job: job.update(max_concurent_runs=1), "max_concurent_runs"),
        (lambda job: job["tasks"][0].update(max_retry=1), r"tasks\[0\].max_retry"),
        (lambda job: job["tasks"][0]["new_cluster"].update(data_security_mode="ALONE"), "data_security_mode"),
        (lambda job: job["schedule"].update(quartz_cron_expression="0 8 * * *"), "quartz_cron_expression"),
        (lambda job: job["schedule"].update(timezone_id="America/Los Angeles"), "timezone_id"),
        (lambda job: job["tasks"][0]["notebook_task"].update(notebook_path="notebooks/x.py"), "absolute"),
        (lambda job: job["tasks"][0]["libraries"].append({"whl": "dist/*.whl"}), "whl"),
    ],
)
def test_a_mistake_in_a_job_would_be_refused(bundle: Bundle, change: Any, message: str) -> None:
    job = copy.deepcopy(bundle.settings["daily_inference"])
    change(job)
    with pytest.raises(DatabricksError, match=message):
        bundle.client.api_client.do("POST", "/api/2.2/jobs/create", body=job)


@pytest.mark.slow
def test_the_jobs_take_an_empty_workspace_to_the_forecasts_that_local_makes(bundle: Bundle, tmp_path: Path) -> None:
    write_landing(tmp_path / "here" / "landing")
    there, here = platform(tmp_path / "cluster"), platform(tmp_path / "here")

    assert bundle.run("create_tables")["tables"] == [table.name for table in TABLES]
    assert set(versions(there).values()) == {(0, 0)}
    assert steps(bundle.run("train_models"), "train") == [(1, 0)] * 4
    # With the days before today that the new model could have forecast.
    assert steps(bundle.run("daily_inference"), "forecast") == [(14, 0)] * 4
    # The backfill's cluster has Spark, this workspace has none: its driver alone.
    first, last = "2018-01-10", "2018-01-12"
    span = {"start_date": first, "end_date": last, "compute": "local", "commodity": SERIES[0]}
    assert steps(bundle.run("backfill", notebook_params=span), "forecast") == [(3, 0)] * 2

    ingest_all(here)
    for name in SERIES:
        dates = [*(days(first, last) if name == SERIES[0] else []), *days(CAUGHT_UP, TODAY)]
        for model in MODELS:
            assert not train(here, name, model, [dt.date(2018, 1, 1)]).failed
            assert not forecast(here, name, model, dates).failed
        write_actuals(here, name, dates)
    for table in (TRAINED_MODELS, DISTRIBUTIONS, POINT_FORECASTS):
        assert content(there, table) == content(here, table), table.name
    assert len(content(there, TRAINED_MODELS)) == 4
    assert len([row for row in content(there, DISTRIBUTIONS) if not row["is_actuals"]]) == (4 * 14 + 6) * 200


@pytest.mark.slow
def test_a_second_run_makes_nothing_anew_nor_does_one_of_what_dagster_has_made(
    workspace: Workspace, small: Path, tmp_path: Path
) -> None:
    workspace.spark = False
    bundle, made = deployed(workspace, tmp_path, small), platform(small)
    assert steps(bundle.run("daily_inference"), "forecast") == [(14, 0)] * 4
    before = versions(made)
    assert steps(bundle.run("daily_inference"), "forecast") == [(0, 1)] * 4
    assert steps(bundle.run("train_models"), "train") == [(0, 1)] * 4
    assert versions(made) == before

    dagster = World(small, workspace, "local")
    assert dagster.forecast("2018-02-05", "2018-02-05").success
    where = {"model_name": "naive", "forecast_date": dt.date(2018, 2, 5)}
    rows = made.warehouse.read(DISTRIBUTIONS, where=where)
    alike = {"start_date": "2018-02-05", "commodity": "Alpha", "models": "naive"}
    assert steps(bundle.run("daily_inference", notebook_params=alike), "forecast") == [(0, 1)]
    assert made.warehouse.read(DISTRIBUTIONS, where=where).equals(rows), "with the moment they were made"


@pytest.mark.slow
@pytest.mark.parametrize("queue", [True, False])
def test_two_runs_of_a_job_are_never_at_once(workspace: Workspace, small: Path, tmp_path: Path, queue: bool) -> None:
    workspace.spark = False
    bundle, made = deployed(workspace, tmp_path, small), platform(small)
    assert bundle.settings["daily_inference"]["queue"] == {"enabled": True}
    more = {} if queue else {"queue": _no_queue()}
    workspace.faults.add(RunFault("slow_start", seconds=2))
    first = bundle.start("daily_inference")
    second = bundle.start("daily_inference", **more)
    other = workspace.jobs.runs[second]
    until(lambda: other.state.life == ("QUEUED" if queue else "SKIPPED"))
    assert workspace.jobs.runs[first].state.life == "PENDING"
    if queue:
        third = bundle.start("daily_inference")
        bundle.client.jobs.cancel_run(third)
        assert result_of(bundle.end(third)) == "CANCELED", "while it waited"
        assert other.state.life == "QUEUED"
    assert result_of(bundle.end(first)) == "SUCCESS"
    ended = bundle.end(second)
    run, task = workspace.jobs.runs[first], other.tasks[0]
    if queue:
        assert other.state.result == "SUCCESS"
        assert (task.state.running or 0) >= (run.state.ended or 0), "it waited for the first one's end"
        assert '"unchanged": 1' in task.output["notebook_output"]["result"]
        assert '"written": 1' not in task.output["notebook_output"]["result"]
    else:
        assert "limit of 1 maximum concurrent runs" in str(ended.state and ended.state.state_message)
        assert (task.state.running, task.cluster, task.output) == (None, None, {})
    day = dt.date.fromisoformat(TODAY)
    rows = made.warehouse.read(DISTRIBUTIONS, where={"forecast_date": day, "is_actuals": False})
    assert rows.num_rows == len(SERIES) * len(MODELS) * 200


def _no_queue() -> Any:
    from databricks.sdk.service.jobs import QueueSettings

    return QueueSettings(enabled=False)
