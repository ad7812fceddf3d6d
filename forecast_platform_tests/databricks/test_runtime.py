"""The wheel beside what the supported Databricks runtime holds: what is installed, and the same bits as here.

Of the runtime these are its libraries and its Spark; Python is the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from forecast_platform.cli.main import main
from forecast_platform.clients.databricks.submit import ENVIRONMENT_VERSION
from forecast_platform.settings.databricks import RUNTIME
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import assert_same_tables, needs_java
from forecast_platform_tests.databricks.environments import NotInstallableError, install
from forecast_platform_tests.worlds import settings_for, write_landing

TOP = Path(__file__).resolve().parents[2]
LIBRARIES = {
    "numpy": "2.1.3",
    "pandas": "2.2.3",
    "pyarrow": "19.0.1",
    "scipy": "1.15.1",
    "scikit-learn": "1.6.1",
    "pydantic": "2.10.6",
    "psutil": "5.9.0",
    "click": "8.1.7",
    "protobuf": "5.29.4",
}
"""What 17.3 LTS and serverless environment 4 both hold, from the lists that Databricks publishes."""
SPARK = "4.0"
MODELS = ("naive", "xgboost", "sarimax_auto_weather", "auto_ets")
SPAN = {"train": ("2017-07-01", "2018-02-28"), "backfill": ("2017-12-21", "2018-01-10")}


def test_the_documents_name_the_runtime_and_what_it_holds() -> None:
    text = (TOP / "docs" / "databricks.md").read_text()
    assert RUNTIME in text
    assert f"serverless environment {ENVIRONMENT_VERSION}" in text
    for name, number in LIBRARIES.items():
        if name in ("numpy", "pandas", "pyarrow", "scipy"):
            assert f"| {name} | {number} |" in text, name


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the runtime's libraries, in which the wheel for clusters was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    assert main(["databricks", "wheel", str(folder)]) == 0
    [wheel] = folder.glob("*.whl")
    bounds = [f"{name}~={number}" for name, number in LIBRARIES.items()]
    try:
        return install(
            tmp_path_factory.mktemp("runtime"), [str(wheel), f"pyspark[connect]=={SPARK}.*"], bounds, seconds=1200
        )
    except NotInstallableError as error:
        pytest.skip(str(error))


def made(root: Path, python: Path, settings: Mapping[str, str]) -> Platform:
    """What the task of a cluster leaves, run with this Python."""
    root.mkdir()
    write_landing(root / "landing")
    values = {
        "SOURCE": "landing",
        "LANDING": str(root / "landing"),
        "WAREHOUSE": str(root / "warehouse"),
        "MODELS": ",".join(MODELS),
        "LOOKBACK_YEARS": "3",
        "START_DATE": "2017-07-01",
        "N_PATHS": "200",
        "MIN_FREE_GB": "0",
        **settings,
    }
    # Nothing of this package's own folder or settings: the environment has the wheel.
    environment = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
    environment.update(HOME=str(root), OMP_NUM_THREADS="1")
    environment.update({f"FORECAST_PLATFORM_{name}": value for name, value in values.items()})
    for action, (first, last) in SPAN.items():
        command = [str(python), "-m", "forecast_platform.remote.entry", f"--action={action}"]
        arguments = [f"--start_date={first}", f"--end_date={last}"]
        done = subprocess.run(
            [*command, *arguments], env=environment, cwd=root, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-3000:]
        steps = json.loads(done.stdout.splitlines()[-1])["steps"]
        assert {step["model"] for step in steps if step["written"]} >= set(MODELS)
    return Platform.from_settings(settings_for(root, models=MODELS))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return made(tmp_path_factory.mktemp("tables") / "here", Path(sys.executable), {"COMPUTE": "local"})


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("compute", ["local", pytest.param("spark", marks=needs_java)])
def test_the_runtime_s_libraries_leave_the_same_bits(
    python: Path, here: Platform, tmp_path: Path, compute: str
) -> None:
    asked = f"import importlib.metadata as m; print(*(m.version(n) for n in {list(LIBRARIES)!r} + ['pyspark']))"
    told = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    for (name, number), found in zip({**LIBRARIES, "pyspark": f"{SPARK}.0"}.items(), told, strict=True):
        assert found in SpecifierSet(f"~={number}"), (name, "is not the runtime's: the wheel replaces it")
    assert told[0] != version("numpy"), "else there is nothing to compare"
    # Its workers are processes with this Python too.
    settings = {"COMPUTE": compute, "SPARK__MASTER": "local[2,4]"}
    assert_same_tables(here, made(tmp_path / compute, python, settings))
