"""Artifacts of MLflow's runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from forecast_platform.models.folder_files import write_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def log_files(client: MlflowClient, run: Run, files: Mapping[str, bytes]) -> None:
    """Keep these as a run's artifacts, by their place among them. Raises OSError; MLflow's own errors.

    MLflow takes files of a folder, looks the run up for each call and copies them: where a run's artifacts are a folder
    of this machine they are written there at once.
    """
    address = urlsplit(str(run.info.artifact_uri))
    if address.scheme == "file":
        write_files(files, Path(url2pathname(address.path)))
        return
    with tempfile.TemporaryDirectory(prefix="forecast-artifacts-") as made:
        write_files(files, Path(made))
        client.log_artifacts(run.info.run_id, made)
