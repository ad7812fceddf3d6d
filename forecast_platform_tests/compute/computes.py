"""Every compute as a command's settings: what must be there while it runs, and a count of the work it did itself.

The tables alone do not say who made them: a compute that quietly fell back on the local one would leave the same. So
each counts where the work is seen from outside: runs of the workspace, plans that reached an engine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.forked import Command
from forecast_platform_tests.waiting import until

MODELS = ("naive", "xgboost")
ONE = ("xgboost",)
"""For what is put together of parts that have made both: each model costs a remote run a series and command."""
SERIES = [{"name": "Alpha", "roll_rule": "wti"}, {"name": "Beta"}]
"""One series with bars, a second contract and a roll rule, one with closes alone."""

SAIL_LOG = "error,sail_spark_connect::server=debug"
"""RUST_LOG with which sail says which plans it was sent."""

Environment = dict[str, str]


@dataclass(frozen=True)
class Serving:
    """A compute that is ready."""

    environment: Environment
    """The settings that choose it."""
    worked: Callable[[str], int]
    """How often it did work until now; given what the commands printed until now."""
    tables: dict[str, Any] = field(default_factory=dict)
    """Changes of `settings_for` with which this process reads the tables."""
    models: tuple[str, ...] = MODELS


def environment_of(root: Path, models: Sequence[str] = MODELS) -> Environment:
    """The settings of `worlds.settings_for`, for a process of its own."""
    others = ("FORECAST_", "DATABRICKS_", "SPARK_", "RUST_LOG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {
        **kept,
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(root / "landing"),
        "FORECAST_PLATFORM_WAREHOUSE": str(root / "warehouse"),
        "FORECAST_PLATFORM_MODELS": ",".join(models),
        "FORECAST_PLATFORM_SERIES": json.dumps(SERIES),
        "FORECAST_PLATFORM_LOOKBACK_YEARS": "3",
        "FORECAST_PLATFORM_START_DATE": "2017-07-01",
        "FORECAST_PLATFORM_N_PATHS": "200",
        "FORECAST_PLATFORM_MIN_FREE_GB": "0",
        "DAGSTER_HOME": str(root / "dagster"),
        "OMP_NUM_THREADS": "1",
    }


def sail_jobs(log: str) -> int:
    """The plans with our functions in them that a sail server says it was sent."""
    return sum("ExecutePlanRequest" in line and "MapPartitions" in line for line in log.splitlines())


def jvm_jobs(events: Path) -> int:
    """The queries with our functions in them of all event logs in the folder; each needs a task that was done."""
    found = 0
    # A JVM writes the end of its log, and renames it, after the Python process that had it.
    until(lambda: not any(log.suffix == ".inprogress" for log in events.iterdir()), "the end of the event logs")
    for log in events.iterdir():
        told = [json.loads(line) for line in log.read_text().splitlines()]
        assert any(event["Event"] == "SparkListenerTaskEnd" for event in told), log.name
        plans = [event["physicalPlanDescription"] for event in told if "SQLExecutionStart" in event["Event"]]
        found += sum("MapInArrow" in plan for plan in plans)
    return found


def event_log(events: Path) -> dict[str, str]:
    """Spark's settings that make it write what it does to the folder, which is made."""
    events.mkdir(parents=True)
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }


@contextmanager
def _local(_: Path) -> Iterator[Serving]:
    yield Serving({"FORECAST_PLATFORM_COMPUTE": "local"}, lambda _: 0)


@contextmanager
def _sail(_: Path) -> Iterator[Serving]:
    chosen = {"FORECAST_PLATFORM_COMPUTE": "spark", "FORECAST_PLATFORM_SPARK__MASTER": "sail"}
    # The server is in the command's process: what it says is in the command's output.
    yield Serving({**chosen, "RUST_LOG": SAIL_LOG}, sail_jobs)


@contextmanager
def _jvm(root: Path) -> Iterator[Serving]:
    chosen = {
        "FORECAST_PLATFORM_COMPUTE": "spark",
        "FORECAST_PLATFORM_SPARK__MASTER": "local[2,4]",
        "FORECAST_PLATFORM_SPARK__CONFIG": json.dumps(event_log(root / "events")),
    }
    yield Serving(chosen, lambda _: jvm_jobs(root / "events"))


@contextmanager
def _unity(root: Path) -> Iterator[Serving]:
    """A catalog and a sail server of their own, as `unity_catalog.lakehouse`, whose log is kept."""
    files, log = root / "lakehouse", root / "lakehouse.log"
    files.mkdir()
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "forecast_platform_tests.unity_catalog", str(files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=root,
            env={**environment_of(root), "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "RUST_LOG": SAIL_LOG},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()[-2000:]
            spark = {"master": json.loads(line)["remote"], "writer": "spark", "cores": 2}
            chosen = {f"FORECAST_PLATFORM_SPARK__{name.upper()}": str(value) for name, value in spark.items()}
            chosen |= {"FORECAST_PLATFORM_COMPUTE": "spark", "FORECAST_PLATFORM_TABLES": "unity_catalog"}
            yield Serving(chosen, lambda _: sail_jobs(log.read_text()), {"tables": "unity_catalog", "spark": spark})
        finally:
            process.communicate()


_FOLDER = Serving({}, lambda _: 0, {"spark": {"master": "sail"}})
"""Tables in a folder, as both sides of a workspace have them, and the engine that its clusters have for Spark."""


@contextmanager
def _workspace(
    compute: str, root: Path, tables: Serving = _FOLDER, models: tuple[str, ...] = MODELS
) -> Iterator[Serving]:
    """A workspace on loopback that is deployed to; its clusters see the same files, and the same `tables`."""
    with Workspace(root / "databricks", environment={"OMP_NUM_THREADS": "1"}) as workspace:
        workspace.spark = False
        over_catalog = tables.tables.get("tables") == "unity_catalog"
        workspace.serverless_spark = tables.tables["spark"]["master"] if over_catalog else None
        cluster = {
            name.removeprefix("FORECAST_PLATFORM_").lower(): json.loads(value) if value.startswith("[") else value
            for name, value in environment_of(root, models).items()
            if name.startswith("FORECAST_PLATFORM_")
        }
        cluster |= tables.tables
        if over_catalog and compute == "databricks_serverless":
            # As on Databricks: the session is the one that serverless compute gives, with the few settings it takes.
            cluster["spark"] = {**cluster["spark"], "master": "auto"}
        (root / "cluster.yaml").write_text(yaml.safe_dump(cluster))
        chosen = {
            **tables.environment,
            "FORECAST_PLATFORM_COMPUTE": compute,
            "FORECAST_PLATFORM_DATABRICKS__CONFIG": str(root / "cluster.yaml"),
            "FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS": "0.3",
            "DATABRICKS_HOST": workspace.host,
            "DATABRICKS_TOKEN": workspace.token,
        }
        deploying = Command("databricks", "deploy", env={**environment_of(root), **chosen})
        told = deploying.told(120)
        assert deploying.wait() == 0, told
        runs = workspace.jobs.runs

        def succeeded(_: str) -> int:
            return sum(run.state.result == "SUCCESS" for run in list(runs.values()))

        yield Serving(chosen, succeeded, tables.tables, models)


@contextmanager
def _workspace_on_unity(compute: str, root: Path) -> Iterator[Serving]:
    """A workspace and a catalog: the platform on Databricks as it is meant to be, its tables by name on both sides."""
    with _unity(root) as tables, _workspace(compute, root, tables, ONE) as workspace:
        yield workspace


COMPUTES: dict[str, Callable[[Path], AbstractContextManager[Serving]]] = {
    "local": _local,
    "sail": _sail,
    "jvm": _jvm,
    "Unity Catalog": _unity,
    "step launcher": partial(_workspace, "databricks"),
    "Pipes serverless": partial(_workspace, "databricks_serverless"),
    "Pipes classic": partial(_workspace, "databricks_classic", models=ONE),
    "step launcher on Unity Catalog": partial(_workspace_on_unity, "databricks"),
    "Pipes serverless on Unity Catalog": partial(_workspace_on_unity, "databricks_serverless"),
}
