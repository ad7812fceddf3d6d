"""Fixtures shared by all tests: where the real data are, and settings over a fresh warehouse."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from forecast_platform_tests.unity_catalog import Lakehouse

_SHARED = Path(os.environ.get("FORECAST_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

# How long an example takes says how busy the machine is.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A JVM lives for seconds here: half of its processor time would go into the optimizing compiler.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

LONGEST = (
    "test_repair.py",
    "test_every_compute.py",
    "test_backfills.py",
    "test_pipes_interrupts.py",
    "test_a_month.py",
    "test_automation.py",
    "test_compute_databricks.py",
    "test_chaos.py",
    "test_workflow_service.py",
    "test_service.py",
    "test_quickstart.py",
    "test_spark_jvm.py",
    "test_unchanged.py",
)
"""Files of slow tests that take minutes: begun last, they would be waited for alone."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The extras' tests are for environments of their own: they are collected where they are named alone."""
    return True if collection_path.name == "extras" and not any("extras" in name for name in config.args) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they were."""
    place = {name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def _folder(name: str) -> Path:
    path = _SHARED / name
    if not path.is_dir():
        pytest.skip(f"no real data in {path}: set FORECAST_TEST_DATA to a folder that holds landing/, eia/ and panel/")
    return path


@pytest.fixture(scope="session")
def landing() -> Path:
    """Real Coffee, Sugar, macro and weather landing files."""
    return _folder("landing")


@pytest.fixture(scope="session")
def panel() -> Path:
    """Nine real nearby series to 2017 with bars, and coffee's second contract."""
    return _folder("panel")


@pytest.fixture(scope="session")
def eia() -> Path:
    """Real EIA spot prices, with WTI's negative close of 2020-04-20."""
    return _folder("eia")


@pytest.fixture(scope="session")
def cases() -> Path:
    """Small inputs in the shapes of real exports and public reports, a folder a case."""
    path = _SHARED.parent / "cases"
    if not path.is_dir():
        pytest.skip(f"no shared cases in {path}: they lie beside the folder that FORECAST_TEST_DATA names")
    return path


@pytest.fixture(autouse=True)
def _plain_environment() -> Iterator[None]:
    """No test depends on what the caller's shell has set, or on what another test has set or loaded."""
    _forget_settings()
    yield
    # Also now: fixtures of a wider scope are made before this one, and would see what this test's code has left.
    _forget_settings()


def _forget_settings() -> None:
    if loading := sys.modules.get("forecast_platform.settings.loading"):
        loading.load.cache_clear()
    for name in list(os.environ):
        if name.startswith("FORECAST_PLATFORM_") or name == "DAGSTER_HOME":
            del os.environ[name]


@pytest.fixture(scope="session")
def trained_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained small platform, made once; tests that write take a copy (`small`)."""
    from forecast_platform_tests.worlds import trained, write_landing

    root = tmp_path_factory.mktemp("template")
    write_landing(root / "landing")
    trained(root)
    return root


@pytest.fixture
def small(trained_template: Path, tmp_path: Path) -> Path:
    """The root of a trained small platform of this test's own."""
    root = tmp_path / "platform"
    shutil.copytree(trained_template, root)
    return root


@pytest.fixture(scope="session")
def running_lakehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A Unity Catalog and a sail server over it, started once; use `lakehouse`."""
    from forecast_platform_tests.unity_catalog import lakehouse

    with lakehouse(tmp_path_factory.mktemp("lakehouse")) as running:
        yield running


@pytest.fixture
def lakehouse(request: pytest.FixtureRequest) -> Lakehouse:
    """An empty Unity Catalog that sail serves; skipped where sail is not installed."""
    if find_spec("pysail") is None:
        pytest.skip("pysail is not installed: install the extra `sail` to run Unity Catalog tables without Databricks")
    running: Lakehouse = request.getfixturevalue("running_lakehouse")
    running.reset()
    return running
