"""The notebook that forecasts on Spark, with its default compute, on a workspace whose clusters have a JVM Spark."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from forecast_platform import settings
from forecast_platform.cli.main import main
from forecast_platform.remote.entry import run
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.computes import event_log, jvm_jobs
from forecast_platform_tests.compute.engines import assert_same_tables, needs_java
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.worlds import days, settings_for

pytestmark = [needs_java, pytest.mark.slow]

FIRST, LAST = "2017-12-20", "2018-01-10"
"""Over the boundary of two windows."""


def config_of(root: Path) -> Path:
    """A settings file for code that is on a cluster."""
    names = {"source", "landing", "warehouse", "models", "lookback_years", "start_date", "n_paths", "min_free_gb"}
    path = root / "cluster.yaml"
    path.write_text(yaml.safe_dump(settings_for(root).model_dump(mode="json", include=names)))
    return path


def test_the_backfill_notebook_forecasts_on_the_cluster_s_spark_to_the_bits_of_local(
    small: Path,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    span, twin = days(FIRST, LAST), tmp_path / "twin"
    shutil.copytree(small, twin)
    # Set here too, so that what the action sets is taken back.
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(config_of(twin)))
    parameters = {"commodity": "Alpha", "start_date": FIRST, "end_date": LAST, "compute": "local"}
    run("backfill", {**parameters, "config": str(config_of(twin))})
    monkeypatch.delenv("FORECAST_PLATFORM_CONFIG")
    # Spark's own configuration, as a cluster has one: the notebook knows nothing of it.
    (tmp_path / "conf").mkdir()
    logged = event_log(tmp_path / "events")
    (tmp_path / "conf" / "spark-defaults.conf").write_text("".join(f"{key} {logged[key]}\n" for key in logged))
    workspace.environment |= {"SPARK_CONF_DIR": str(tmp_path / "conf"), "PYSPARK_PYTHON": sys.executable}
    for name, value in {
        "DATABRICKS_HOST": workspace.host,
        "DATABRICKS_TOKEN": workspace.token,
        "FORECAST_PLATFORM_WAREHOUSE": str(tmp_path / "laptop"),
        "FORECAST_PLATFORM_DATABRICKS__CONFIG": str(config_of(small)),
        "FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS": "0.2",
    }.items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    assert main(["databricks", "deploy"]) == 0
    asked = ["--commodity", "Alpha", "--start-date", FIRST, "--end-date", LAST]
    assert main(["databricks", "submit", "backfill", *asked]) == 0, capsys.readouterr().out
    [[task]] = [remote.tasks for remote in workspace.jobs.runs.values()]
    assert task.spec["notebook_task"]["notebook_path"].endswith("backfill_spark")
    assert not task.spec["notebook_task"].get("base_parameters", {}).get("compute"), "the notebook's own default"
    report = json.loads(task.output["notebook_output"]["result"])
    assert [step["written"] for step in report["steps"] if step["step"] == "forecast"] == [len(span)] * 2
    assert jvm_jobs(tmp_path / "events") >= 2, "a job a model"
    here, there = (Platform.from_settings(settings_for(root)) for root in (twin, small))
    simulated = there.warehouse.read(DISTRIBUTIONS, ["forecast_date"], {"is_actuals": False})
    assert simulated.num_rows == 2 * len(span) * there.settings.n_paths
    assert_same_tables(here, there)
