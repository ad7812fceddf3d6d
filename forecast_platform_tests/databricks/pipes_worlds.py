"""A small platform whose chunks are runs of the workspace: for the tests of compute databricks_serverless, _classic."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.clients.databricks.deploy import deploy
from forecast_platform.forecasting.horizon import DEFAULT, day_columns
from forecast_platform.graph.keys import FORECAST, TRAIN, Keys
from forecast_platform.settings import Settings
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.worlds import days, settings_for

if TYPE_CHECKING:
    from forecast_platform.runs.launch import Finished, Launcher

FIRST, LAST = "2018-02-01", "2018-02-03"
MESSAGES = "/Volumes/commodity/forecast/pipes"


def _on(*classic: pytest.MarkDecorator) -> pytest.MarkDecorator:
    computes = ["databricks_serverless", pytest.param("databricks_classic", marks=classic)]
    return pytest.mark.parametrize("world", computes, ids=["serverless", "classic"], indirect=True)


both = _on(pytest.mark.slow)
"""Runs a test on serverless compute and on a cluster."""

cluster_before_release = _on(pytest.mark.slow, pytest.mark.long)
"""As `both`, on a cluster before a release alone: what happens to a submitted run is watched by the same code for both,
and what differs, submitting and what a cluster reports, is in test_pipes_compute and test_pipes_clients."""


@dataclass
class World:
    """A trained platform under `root`, deployed to the workspace, and the Dagster instance of its own."""

    root: Path
    workspace: Workspace
    compute: str
    options: dict[str, Any] = field(default_factory=dict)
    """Settings below `databricks`, of the Dagster process."""
    cluster: dict[str, Any] = field(default_factory=dict)
    """Settings of the cluster that differ."""
    models: tuple[str, ...] = ("naive", "random_walk")

    @property
    def settings(self) -> Settings:
        """The settings of the Dagster process."""
        options = {"poll_seconds": 0.1, "config": str(self.root / "cluster.yaml"), **self.options}
        return settings_for(self.root, compute=self.compute, databricks=options, models=self.models)

    @property
    def platform(self) -> Platform:
        """The tables, as this process sees them."""
        return Platform.from_settings(settings_for(self.root, models=self.models))

    @property
    def launcher(self) -> Launcher:
        """Runs jobs in this process."""
        from forecast_platform.runs.launch import Launcher

        return Launcher(self.settings)

    def deploy(self) -> None:
        """What an operator does once."""
        self._write("cluster.yaml", self.cluster)
        deploy(Connection(self.settings.databricks), lambda _: None)

    def config(self) -> Path:
        """A settings file for Dagster processes of their own."""
        options = self.settings.databricks.model_dump(mode="json", exclude_unset=True)
        return self._write("dagster.yaml", {"compute": self.compute, "databricks": options, "automation": False})

    def _write(self, name: str, changes: Mapping[str, Any]) -> Path:
        values = {
            "source": "landing",
            "landing": str(self.root / "landing"),
            "warehouse": str(self.root / "warehouse"),
            "models": list(self.models),
            "lookback_years": 3,
            "start_date": "2017-07-01",
            "n_paths": 200,
            "min_free_gb": 0.0,
            **changes,
        }
        path = self.root / name
        path.write_text(yaml.safe_dump(values))
        return path

    def forecast(self, first: str = FIRST, last: str = LAST, model: str = "naive", **tags: str) -> Finished:
        """Forecast Alpha's dates in a Dagster run."""
        return self.launcher.run(
            FORECAST, Keys().of_job(FORECAST, [model], actuals=False), day(first), day(last), ["Alpha"], tags=tags
        )

    def train(self, window: str, model: str = "naive", **tags: str) -> Finished:
        """Fit Alpha's window in a Dagster run."""
        return self.launcher.run(TRAIN, Keys().of_job(TRAIN, [model]), day(window), day(window), ["Alpha"], tags=tags)

    def paths(self, model: str = "naive") -> np.ndarray:
        """Alpha's stored paths, [dates * paths, 14]."""
        where = {"commodity": "Alpha", "model_name": model}
        rows = self.platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "path_id", *day_columns(DEFAULT)], where)
        rows = rows.sort_by([("forecast_date", "ascending"), ("path_id", "ascending")])
        return np.column_stack([rows[name].to_numpy() for name in day_columns(DEFAULT)])

    def twin(self, root: Path) -> World:
        """A copy of this world as it is, that computes in this process."""
        shutil.copytree(self.root, root)
        return World(root, self.workspace, "local", models=self.models)

    def dates(self, model: str = "naive") -> set[dt.date]:
        """Alpha's dates that have stored paths."""
        where = {"commodity": "Alpha", "model_name": model, "path_id": 0}
        return set(self.platform.warehouse.read(DISTRIBUTIONS, ["forecast_date"], where)["forecast_date"].to_pylist())

    def fits(self, model: str, version: str) -> dict[dt.date, str]:
        """Alpha's fitted models, as text, by training cutoff."""
        where = {"commodity": "Alpha", "model_name": model, "model_version": version, "is_active": True}
        rows = self.platform.warehouse.read(TRAINED_MODELS, ["training_cutoff_date", "fitted_model_json"], where)
        return {row["training_cutoff_date"]: row["fitted_model_json"] for row in rows.to_pylist()}

    def partitions(self, asset: str = "distributions/naive") -> dict[str, set[str]]:
        """Partitions by status, of those that have one."""
        from dagster import AssetKey

        key = AssetKey(asset.split("/"))
        launcher = self.launcher
        graph = launcher.definitions.resolve_asset_graph()
        found = launcher.instance.get_status_by_partition(
            key, graph.get(key).partitions_def.get_partition_keys(), graph.get(key).partitions_def
        )
        by_status: dict[str, set[str]] = {}
        for partition, status in (found or {}).items():
            if status is not None:
                by_status.setdefault(status.value, set()).add(partition)
        return by_status

    def log(self, run_id: str) -> str:
        """Everything that a run's events say."""
        return "\n".join(f"{entry.level} {entry.user_message} {entry.dagster_event}" for entry in self.events(run_id))

    def events(self, run_id: str) -> Sequence[Any]:
        """A run's events."""
        return self.launcher.instance.all_logs(run_id)

    def metadata(self, run_id: str, asset: str = "distributions/naive") -> Mapping[str, Any]:
        """What the first materialization of an asset in a run says."""
        for entry in self.events(run_id):
            event = entry.dagster_event
            if event and event.is_step_materialization and event.asset_key.to_user_string() == asset:
                return {name: value.value for name, value in event.materialization.metadata.items()}
        raise AssertionError(f"{asset} was not materialized")

    def book(self) -> list[Path]:
        """Files of runs that may be going on."""
        return list((self.root / "warehouse" / "_databricks" / "runs").glob("*.json"))

    def no_secret_anywhere(self, *secrets: str) -> None:
        """No token is in any file of the warehouse, the instance or its logs."""
        tokens = [*self.workspace.tokens, self.workspace.token, *secrets]
        for path in (self.root / "warehouse").rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                for token in tokens:
                    assert token.encode() not in content, path


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def keys(first: str = FIRST, last: str = LAST) -> set[str]:
    """Alpha's partition keys."""
    return {f"{day}|Alpha" for day in days(first, last)}
