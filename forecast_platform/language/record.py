"""The run in MLflow: parameters, figures as they happen, the adapter, and a registered version of it."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import (
    PROCESS_TAG,
    WORKSPACE,
    StoreError,
    client_with,
    close_abandoned,
    in_workspace,
    param_text,
)
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.servable import describe, servable
from forecast_platform.settings import Settings

PARAMETERS = "parameters.json"


def is_databricks() -> bool:
    """Whether this is a Databricks cluster."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def for_here(settings: Settings) -> Settings:
    """The settings with the workspace's own MLflow on a cluster where none was set: never another in its place."""
    if is_databricks() and settings.mlflow_tracking_uri is None:
        return settings.model_copy(update={"mlflow_tracking_uri": WORKSPACE})
    return settings


class Record:
    """One run of an experiment; goes on with the run `run_id` where one is given and known."""

    def __init__(
        self, settings: Settings, experiment: str, name: str | None, tags: Mapping[str, str], run_id: str | None = None
    ) -> None:
        from mlflow.exceptions import MlflowException

        self.settings = for_here(settings)
        self.experiment = self._path(experiment)
        try:
            self.client, experiment_id = client_with(self.settings, self.experiment)
            close_abandoned(self.client, experiment_id)
            if run_id is None or not self._goes_on(run_id):
                owned = {**tags, PROCESS_TAG: process_identity.this_process()}
                run_id = self.client.create_run(experiment_id, tags=owned, run_name=name).info.run_id
        except (MlflowException, StoreError) as error:
            said = str(error).splitlines()[0]
            raise LanguageError(
                f"MLflow at {self.settings.tracking_uri}: {said}: mend it, or train without it (output.report_to: none)"
            ) from error
        self.run_id = str(run_id)

    def _path(self, experiment: str) -> str:
        """A workspace names experiments by a path."""
        if not in_workspace(self.settings.tracking_uri) or experiment.startswith("/"):
            return experiment
        return f"{self.settings.databricks.folder}/{experiment}"

    def _goes_on(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self.client.set_tag(run_id, PROCESS_TAG, process_identity.this_process())
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        return True

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record parameters, those that are new; one that servers would cut says where it is whole, an artifact."""
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        texts = {name: param_text(value, f"{PARAMETERS}, {name}") for name, value in values.items()}
        if any(texts[name] != str(value) for name, value in values.items()):
            self.client.log_text(self.run_id, json.dumps(dict(values), indent=1, default=str), PARAMETERS)
        self.client.log_batch(self.run_id, params=[Param(name, texts[name]) for name in texts if name not in known])

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Record figures of a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def model(self, folder: Path, name: str, tags: Mapping[str, str], merged: Path | None = None) -> str:
        """Log a trained model's folder and register it; returns the address of what is registered.

        That is the adapter, whose base's name, revision and tokenizer's hash are among the tags: the base is not copied
        beside it. Where base and adapter were `merged`, it is those, as something that MLflow serves.
        """
        from mlflow.exceptions import MlflowException

        for path in sorted(folder.iterdir()):
            if path.is_file():
                self.client.log_artifact(self.run_id, str(path), "adapter")
        root = self.client.get_run(self.run_id).info.artifact_uri
        with tempfile.TemporaryDirectory() as made:
            if merged is None:
                address = f"{root}/adapter"
                self.client.log_artifact(self.run_id, str(describe(Path(made), tags)), "adapter")
            else:
                address = f"{root}/model"
                self.client.log_artifacts(self.run_id, str(servable(merged, Path(made) / "model", tags)), "model")
        try:
            self.client.create_registered_model(name, tags={"kind": "language-model"})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self.client.create_model_version(name, source=address, run_id=self.run_id, tags=dict(tags))
        return address

    def finish(self, status: str = "FINISHED") -> None:
        """End the run."""
        self.client.set_terminated(self.run_id, status)


def registered_name(settings: Settings, base: str) -> str:
    """The registered model of adapters of a base: cpt-<base>, in Unity Catalog with catalog and schema before it."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", Path(base).name).strip("-").lower() or "model"
    if not in_workspace(for_here(settings).tracking_uri):
        return f"cpt-{plain}"
    return f"{settings.unity.catalog}.{settings.unity.registry_schema}.cpt_{plain.replace('-', '_')}".lower()
