"""What a cluster installs: the package's requirements, but never a Spark in the place of the runtime's own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from forecast_platform.cli.main import main
from forecast_platform.clients.databricks.deploy import NOT_ON_CLUSTERS
from forecast_platform.training_jobs.remote_files import EXTRAS

BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError("not on this cluster: " + name, name=name)
sys.meta_path.insert(0, Absent())
"""

ABSENT = tuple(name.replace("-", "_") for name in NOT_ON_CLUSTERS if name != "pyspark")
"""Modules that a cluster does not have; pyspark is its own there."""


WORK = """
from forecast_platform.remote import task, entry
from forecast_platform.definitions import defs
defs.resolve_job_def("forecast")
from forecast_platform.graph.spark_resource import spark_resource
from forecast_platform.settings import load
from dagster import build_init_resource_context
resource = spark_resource(load()).resource_fn(build_init_resource_context())
print(type(resource).__name__)
"""


def test_the_wheel_for_clusters_brings_no_spark(tmp_path: Path) -> None:
    assert main(["databricks", "wheel", str(tmp_path)]) == 0
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [about] = [name for name in archive.namelist() if name.endswith("METADATA")]
        lines = archive.read(about).decode().splitlines()
    needs = {Requirement(line.partition(": ")[2]).name for line in lines if line.startswith("Requires-Dist")}
    assert not needs & set(NOT_ON_CLUSTERS)
    assert {"dagster", "deltalake", "databricks-sdk", "xgboost-cpu", "exchange-calendars"} <= needs
    # The notebooks of training jobs install `<wheel>[automl]`: pip takes an extra that is not there with a warning.
    for extra in EXTRAS.values():
        assert f"Provides-Extra: {extra}" in lines
        assert any(line.endswith(f'extra == "{extra}"') or line.endswith(f"extra == '{extra}'") for line in lines)


@pytest.mark.slow
def test_definitions_and_tasks_do_without_what_clusters_lack(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATABRICKS_RUNTIME_VERSION": "17.3",
        "FORECAST_PLATFORM_COMPUTE": "spark",
        "FORECAST_PLATFORM_WAREHOUSE": str(tmp_path),
    }
    code = BLOCKED.format(modules=ABSENT) + WORK
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ClusterSession"]
