"""A platform whose steps are shipped to the local workspace by compute=databricks, and what its Dagster shows."""

from __future__ import annotations

import datetime as dt
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import AssetKey, DagsterInstance

from forecast_platform.forecasting.horizon import DEFAULT, day_columns
from forecast_platform.graph.partitions import Partitions
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.forked import Command
from forecast_platform_tests.ui.running import keys
from forecast_platform_tests.waiting import PATIENCE, until
from forecast_platform_tests.worlds import settings_for

TOP = Path(__file__).resolve().parents[2]
WINDOW = dt.date(2018, 1, 1)
FIRST, LAST = "2018-02-01", "2018-02-05"
BACKFILL = ("backfill", "--commodity", "Alpha", "--models", "naive", "--start-date", FIRST, "--end-date", LAST)


@dataclass
class Shipping:
    """A platform whose steps are shipped to a workspace; both see one warehouse folder."""

    root: Path
    workspace: Workspace
    variables: dict[str, str]

    def start(self, *arguments: str) -> Command:
        return Command(*arguments, env=self.variables, cwd=self.root)

    def run(self, *arguments: str) -> tuple[int, str]:
        """One command to its end: exit code and what it printed."""
        process = self.start(*arguments)
        told = process.told(PATIENCE)
        return process.wait(), told

    def instance(self) -> DagsterInstance:
        return DagsterInstance.get()

    def submitted(self) -> Any:
        """The first remote run, once it is there."""
        return until(lambda: next(iter(self.workspace.jobs.runs.values()), None), "a submitted run")

    def paths(self) -> np.ndarray:
        platform = Platform.from_settings(settings_for(self.root))
        return paths_of(platform)

    def dates(self) -> set[dt.date]:
        """Dates that have stored paths."""
        where = {"commodity": "Alpha", "model_name": "naive", "path_id": 0}
        rows = Platform.from_settings(settings_for(self.root)).warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)
        return set(rows["forecast_date"].to_pylist())

    @property
    def states(self) -> list[tuple[str, str | None]]:
        return [(run.state.life, run.state.result) for run in self.workspace.jobs.runs.values()]


def paths_of(platform: Platform) -> np.ndarray:
    where = {"commodity": "Alpha", "model_name": "naive", "model_version": "v1.0"}
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "path_id", *day_columns(DEFAULT)], where)
    rows = rows.sort_by([("forecast_date", "ascending"), ("path_id", "ascending")])
    return np.column_stack([rows[name].to_numpy() for name in day_columns(DEFAULT)])


def models_of(platform: Platform, version: str) -> list[tuple[str, str]]:
    rows = platform.warehouse.read(TRAINED_MODELS, where={"commodity": "Alpha", "model_version": version}).to_pylist()
    return [(row["fitted_model_json"], row["model_id"]) for row in rows]


def materialized(instance: DagsterInstance, *asset: str) -> set[str]:
    return instance.get_materialized_partitions(AssetKey(asset))


def failed(root: Path, instance: DagsterInstance, *asset: str) -> set[str]:
    """Partitions that the UI shows as failed."""
    chosen = keys(["Alpha"], (FIRST, LAST))
    found = (
        instance.get_status_by_partition(
            AssetKey(asset), chosen, Partitions(settings_for(root), settings_for(root).series_groups[0]).days
        )
        or {}
    )
    return {key for key, status in found.items() if status is not None and status.value == "FAILED"}


def run_statuses(instance: DagsterInstance) -> list[str]:
    return sorted(run.status.value for run in instance.get_runs() if run.job_name == "forecast")


def told_by_runs(instance: DagsterInstance) -> str:
    """Every event and log of every run."""
    return "\n".join(
        f"{entry.user_message} {entry.dagster_event}"
        for run in instance.get_runs()
        for entry in instance.all_logs(run.run_id)
    )


def files_with(folder: Path, secret: str) -> list[Path]:
    """The files under a folder that hold a text, also within an archive."""
    return [path for path in folder.rglob("*") if path.is_file() and _holds(path, secret)]


def _holds(path: Path, text: str) -> bool:
    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    return text.encode() in content


def shipped(small: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Shipping:
    """The platform with sail for its cluster's Spark, which starts at once."""
    workspace.spark = False
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        **environment(small),
        "PYTHONPATH": str(TOP),
        "FORECAST_PLATFORM_COMPUTE": "databricks",
        "FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT": json.dumps({"FORECAST_PLATFORM_SPARK__MASTER": "sail"}),
        "FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS": "0.3",
        "DATABRICKS_HOST": workspace.host,
        "DATABRICKS_TOKEN": workspace.token,
    }
    monkeypatch.setenv("DAGSTER_HOME", str(small / "dagster"))
    return Shipping(small, workspace, variables)
