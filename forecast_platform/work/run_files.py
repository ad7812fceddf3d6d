"""Artifacts of MLflow's runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from forecast_platform.host.files import sync_tree
from forecast_platform.models.folder_files import write_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def log_files(client: MlflowClient, run: Run, files: Mapping[str, bytes]) -> None:
    """Keep these as a run's artifacts, by their place among them. Raises ValueError for a place outside; OSError;
    MLflow's own errors.

    MLflow takes files of a folder, looks the run up for each call and copies them: where a run's artifacts are a folder
    of this machine they are written there at once, and are on disk when this returns.
    """
    if outside := [name for name in files if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute()]:
        raise ValueError(f"{outside[0]!r} is no place among a run's artifacts")
    address = urlsplit(str(run.info.artifact_uri))
    if address.scheme == "file" and address.netloc in ("", "localhost"):
        folder = Path(url2pathname(address.path))
        folder.mkdir(parents=True, exist_ok=True)
        write_files(files, folder)
        sync_tree(folder)
        return
    with tempfile.TemporaryDirectory(prefix="forecast-artifacts-") as made:
        write_files(files, Path(made))
        client.log_artifacts(run.info.run_id, made)
