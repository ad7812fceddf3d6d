"""The bundle and the notebooks agree with the package: names, schedules, runtime, parameters."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecast_platform import __version__
from forecast_platform.clients.databricks.deploy import NOTEBOOKS
from forecast_platform.clients.databricks.submit import NOTEBOOK_OF
from forecast_platform.graph.automation.schedules import DAILY, TRAINING, crons
from forecast_platform.remote.entry import OF_THE_PROCESS, PARAMETERS, WIDGETS
from forecast_platform.settings import build
from forecast_platform.settings.databricks import RUNTIME, DatabricksOptions
from forecast_platform.training_jobs.remote_files import EXTRAS
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TABLES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "databricks.yml").read_text()))


def test_the_schedules_are_first_of_january_and_july_and_eight_in_the_morning(bundle: dict[str, Any]) -> None:
    schedules = {name: job.get("schedule") for name, job in bundle["resources"]["jobs"].items()}
    assert schedules["train_models"]["quartz_cron_expression"] == "0 0 0 1 1,7 ?"
    assert schedules["daily_inference"]["quartz_cron_expression"] == "0 0 8 * * ?"
    assert schedules["backfill"] is None


def test_the_schedules_are_dagster_s_own(bundle: dict[str, Any]) -> None:
    ours = crons(build())
    jobs = bundle["resources"]["jobs"]
    for name, job in ((TRAINING, jobs["train_models"]), (DAILY, jobs["daily_inference"])):
        seconds, *fields = job["schedule"]["quartz_cron_expression"].replace("?", "*").split()
        assert seconds == "0"
        assert job["schedule"]["timezone_id"] == "${var.timezone}"
        assert (" ".join(fields), bundle["variables"]["timezone"]["default"]) == ours[name]


def test_production_is_deployed_to_a_folder_of_its_own(bundle: dict[str, Any]) -> None:
    # Databricks' own tool refuses a production target without one.
    target = bundle["targets"]["prod"]
    assert target["mode"] == "production"
    assert target["workspace"]["root_path"].endswith("/.bundle/${bundle.name}/${bundle.target}")


def test_what_holds_tables_and_files_is_not_destroyed_with_the_bundle(bundle: dict[str, Any]) -> None:
    for kind in ("schemas", "volumes"):
        for item in bundle["resources"][kind].values():
            assert item["lifecycle"] == {"prevent_destroy": True}


def test_the_target_to_try_it_out_keeps_the_names_of_the_tables_and_schedules_nothing(bundle: dict[str, Any]) -> None:
    # The mode `development`, and a preset of the prefix, would rename the schemas.
    target = bundle["targets"]["dev"]
    assert target["default"]
    assert "mode" not in target
    assert target["presets"] == {"trigger_pause_status": "PAUSED"}
    assert target["variables"]["catalog"] != bundle["variables"]["catalog"]["default"]
    assert {job["name"].removeprefix("${var.prefix}") for job in bundle["resources"]["jobs"].values()} == {
        f"forecast_platform {name}" for name in bundle["resources"]["jobs"]
    }


def test_the_guide_gives_every_bundle_command_the_settings_file_it_asks_for(bundle: dict[str, Any]) -> None:
    needed = {name for name, about in bundle["variables"].items() if "default" not in about}
    assert needed == {"config"}
    guide = (ROOT / "docs" / "databricks.md").read_text()
    blocks = [block for block in re.findall(r"```bash\n(.*?)```", guide, re.DOTALL) if "databricks bundle" in block]
    for block in blocks:
        assert block.startswith("export BUNDLE_VAR_config=/Volumes/")
        run = set(re.findall(r"databricks bundle run (\w+) -t prod", block))
        assert run <= set(bundle["resources"]["jobs"])
    assert blocks


def test_every_job_runs_a_notebook_that_is_there_once_at_a_time(bundle: dict[str, Any]) -> None:
    for name, job in bundle["resources"]["jobs"].items():
        assert job["max_concurrent_runs"] == 1
        # What the API's version 2.2 and the bundle tool take as the default; said, so that no version decides it.
        assert job["queue"] == {"enabled": True}
        [task] = job["tasks"]
        if name == "create_tables":
            continue
        assert (ROOT / task["notebook_task"]["notebook_path"]).is_file()
    assert bundle["variables"]["runtime"]["default"] == RUNTIME
    assert set(NOTEBOOK_OF.values()) == set(NOTEBOOKS)


@pytest.mark.parametrize("mode", ["statsforecast", "autogluon", "neuralforecast"])
def test_a_small_training_job_has_a_serverless_variant_that_installs_the_deployed_wheel(
    bundle: dict[str, Any], mode: str
) -> None:
    jobs = bundle["resources"]["jobs"]
    [small], [large] = jobs[f"train_{mode}_serverless"]["tasks"], jobs[f"train_{mode}"]["tasks"]
    assert large["new_cluster"]["autoscale"] == {"min_workers": 2, "max_workers": 8}
    # Serverless takes neither a cluster nor libraries of a notebook: the notebook installs what `package` names.
    assert set(small) == {"task_key", "notebook_task"}
    assert small["notebook_task"]["notebook_path"] == large["notebook_task"]["notebook_path"]
    parameters = small["notebook_task"]["base_parameters"]
    extra = f"[{EXTRAS[mode]}]" if mode in EXTRAS else ""
    # The wheel's own version has a local part, which is newer than, and as good as, the same without one.
    package = f"--find-links ${{var.wheels}} forecast-platform{extra}=={__version__}"
    assert parameters == {"settings": "${var.config}", "package": package}
    assert 'dbutils.widgets.text("package", ' in (ROOT / small["notebook_task"]["notebook_path"]).read_text()
    assert bundle["variables"]["wheels"]["default"] == "${workspace.file_path}/dist"
    assert bundle["sync"]["include"] == ["dist/*.whl"], "what Git ignores is not copied to the workspace"


def volumes(bundle: dict[str, Any]) -> list[dict[str, str]]:
    return list(bundle["resources"]["volumes"].values())


def test_the_bundle_makes_every_volume_that_the_guide_names(bundle: dict[str, Any]) -> None:
    guide = (ROOT / "docs" / "databricks.md").read_text()
    catalog, schema = "commodity", bundle["resources"]["schemas"]["forecast"]["name"]
    named = re.findall(rf"/Volumes/{catalog}/{schema}/(\w+)|volume: {catalog}\.{schema}\.(\w+)", guide)
    assert {item["name"] for item in volumes(bundle)} == {one or other for one, other in named}
    for item in volumes(bundle):
        assert item["catalog_name"] == "${var.catalog}"
        assert item["schema_name"] == "${resources.schemas.forecast.name}"
        assert item["volume_type"] == "MANAGED"
        assert item["comment"].startswith("forecast_platform: ")


def test_the_bundle_makes_the_schemas_the_volumes_and_the_tables(bundle: dict[str, Any], tmp_path: Path) -> None:
    schemas = {item["name"] for item in bundle["resources"]["schemas"].values()}
    assert schemas == {table.name.split(".")[1] for table in TABLES}
    assert {bundle["variables"]["catalog"]["default"]} == {table.name.split(".")[0] for table in TABLES}
    assert DatabricksOptions().volume.rsplit("/", 1)[1] in {item["name"] for item in volumes(bundle)}
    [task] = bundle["resources"]["jobs"]["create_tables"]["tasks"]
    wheel = task["python_wheel_task"]
    entry = re.search(
        rf'^{wheel["entry_point"]} = "([\w.]+):main"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert entry
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"warehouse": str(tmp_path / "warehouse")}))
    defaults = {f"${{var.{name}}}": about.get("default", "") for name, about in bundle["variables"].items()}
    arguments = {name: defaults.get(text, text) for name, text in wheel["named_parameters"].items()}
    arguments["config"] = str(tmp_path / "settings.yaml")
    command = [sys.executable, "-m", entry[1]]
    done = subprocess.run(
        [*command, *(f"--{name}={value}" for name, value in arguments.items())], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tables"] == [table.name for table in TABLES]
    warehouse = DeltaWarehouse(tmp_path / "warehouse")
    assert {warehouse.version(table) for table in TABLES} == {0}
    assert {warehouse.rows(table) for table in TABLES} == {0}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_holds_parameters_and_one_call_and_no_logic(name: str) -> None:
    source = (ROOT / "notebooks" / f"{name}.py").read_text()
    assert source.startswith("# Databricks notebook source\n# MAGIC %md\n")
    assert "**The cluster needs**" in source
    tree = ast.parse(source)
    kinds = {type(node) for node in tree.body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}
    imported = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert imported == ["forecast_platform.remote.entry"]
    widgets = [
        node.value.args[0].value
        for node in tree.body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).startswith("dbutils.widgets.")
        and isinstance(node.value.args[0], ast.Constant)
    ]
    assert set(widgets) <= {*PARAMETERS, *OF_THE_PROCESS}
    assert set(OF_THE_PROCESS) <= set(widgets)
    [action] = [action for action, notebook in NOTEBOOK_OF.items() if notebook == name]
    assert sorted(widgets) == sorted(WIDGETS[action]), "each that is read is there, and each that is there is read"
    assert {"config", "commodity", "models", "start_date"} <= set(widgets)
