"""The MLflow store: which one an address stands for, and a client that has its experiment."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from forecast_platform.host import process_identity
from forecast_platform.host.databases import why_foreign
from forecast_platform.host.files import sync_folder
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

WORKSPACE = "databricks"

PROCESS_TAG = "forecast_platform.process"
"""host:pid:start of the process that logs a run, so that one that was killed over it can be told."""

LONGEST_PARAM = 500
"""Characters that every MLflow server keeps of a parameter: Databricks' limit is the lowest."""

_SQLITE = "sqlite:///"


class StoreError(RuntimeError):
    """The local store is not what it is taken for: a lost database, or another one in its place."""


def registry_uri(tracking_uri: str) -> str:
    """Where models are registered: in Unity Catalog for a Databricks workspace (or profile), else beside the runs."""
    if not in_workspace(tracking_uri):
        return tracking_uri
    return f"databricks-uc{tracking_uri.removeprefix(WORKSPACE)}"


def in_workspace(tracking_uri: str) -> bool:
    """Whether a tracking store is a Databricks workspace: `databricks`, or `databricks://profile`."""
    return tracking_uri == WORKSPACE or tracking_uri.startswith(f"{WORKSPACE}://")


def local_folder(settings: Settings) -> Path:
    """Where the local store and its artifacts are."""
    return settings.warehouse / "_mlflow"


def client_of(uri: str) -> MlflowClient:
    """A client of a store.

    It names the registry: MLflow 3 asks the process's active Spark session for one that is not named, for minutes
    where that session's server is gone.
    """
    from mlflow import MlflowClient

    # MLflow announces each migration of a new database, and shows the traceback of a full disk that it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri, registry_uri=registry_uri(uri))


def client_with(settings: Settings, experiment: str, artifacts: str = "artifacts") -> tuple[MlflowClient, str]:
    """A client of the settings' store that has an experiment, and the experiment's id.

    Creates the local database on first use, one process at a time, with its artifacts in a folder of that name beside
    it; addresses in the database of a warehouse that was moved or copied follow. Raises StoreError where the local
    database is another or was lost; MLflow's own errors.
    """
    from filelock import FileLock

    uri, folder = settings.tracking_uri, local_folder(settings)
    local = uri.startswith("sqlite:")
    if local:
        _refuse_foreign(settings)  # the client makes a database of an empty file
        folder.mkdir(parents=True, exist_ok=True)
    # Two processes that create the SQLite database at once kill one another's migration.
    with FileLock(str(folder / ".create.lock")) if local else contextlib.nullcontext():
        if local:
            _create_whole(Path(uri.removeprefix(_SQLITE)))
        client = client_of(uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            if local and (old := _left_behind(str(found.artifact_location), folder)):
                follow(Path(uri.removeprefix(_SQLITE)), old, folder.parent)
            return client, str(found.experiment_id)
        place = (folder / artifacts).as_uri() if local else None
        return client, str(client.create_experiment(experiment, artifact_location=place))


def follow(database: Path, old: Path, new: Path) -> None:
    """Let the addresses of artifacts in a local database follow a warehouse from `old` to `new`.

    Raises sqlite3.Error.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for table, column in _address_columns(connection):
            for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
                # The names are those of the database's own catalogue.
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '  # noqa: S608
                    f'WHERE substr("{column}", 1, ?) = ?',
                    (after + "/", len(before) + 2, len(before) + 1, before + "/"),
                )


def _address_columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    names = {"artifact_uri", "artifact_location", "source", "storage_location"}
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, row[1])
        for table in tables
        for row in connection.execute(f'PRAGMA table_info("{table}")')
        if row[1] in names
    ]


def _left_behind(location: str, folder: Path) -> Path | None:
    """The warehouse that an experiment's artifacts would go to, where that is not the one of `folder`: this one was
    moved, or is a copy, and what it logs would be mixed with the other's, or lost with it."""
    place = Path(unquote(urlsplit(location).path))
    there = next((parent for parent in place.parents if parent.name == folder.name), folder)
    if there == folder or (there.exists() and there.samefile(folder)):
        return None
    return there.parent


def close_abandoned(client: MlflowClient, *experiments: str) -> int:
    """End the runs of these experiments that a killed process of this machine left running; returns how many.

    Raises MLflow's own errors.
    """
    running = client.search_runs(list(experiments), "attributes.status = 'RUNNING'", max_results=1000)
    left = [run for run in running if (owner := run.data.tags.get(PROCESS_TAG)) and not process_identity.alive(owner)]
    for run in left:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(left)


def param_text(value: object, whole: str) -> str:
    """A parameter's text; MLflow cuts longer ones without a word, so those name where it is `whole`."""
    text = str(value)
    return text if len(text) <= LONGEST_PARAM else f"{len(text):,} characters: {whole}"


def _create_whole(database: Path) -> None:
    """Make the local database under another name first, where there is none: it is whole, or not there.

    MLflow 3.17 makes it in some sixty migrations, each committed by itself, and begins anew where a table lacks: what
    a kill leaves in the middle fails at every later start. One that an earlier version left so is made anew.
    """
    if database.is_file() and not _half_made(database):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    made = database.with_name(f".{database.name}.being-made")
    for left in (made, made.with_name(f"{made.name}-journal")):
        left.unlink(missing_ok=True)
    client_of(f"{_SQLITE}{made}").search_experiments(max_results=1)
    made.replace(database)
    sync_folder(database.parent)


def _half_made(database: Path) -> bool:
    """Whether its making was cut off: the default experiment, which MLflow writes last, is not there, nor any other."""
    if database.stat().st_size == 0:
        return True
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as store:
        there = store.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone()
        return there is None or store.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is None


def _refuse_foreign(settings: Settings) -> None:
    folder = local_folder(settings)
    database = Path(settings.tracking_uri.removeprefix(_SQLITE))
    artifacts = folder / "artifacts"
    # The artifacts are of the database beside them: one that is named elsewhere may well be new.
    records = database.parent == folder and artifacts.is_dir() and any(artifacts.iterdir())
    why = why_foreign(database, "experiments", records=records)
    if why is not None:
        raise StoreError(
            f"{database} {why}; it is left as it is: put a backup's back, or move {folder} away (the tables "
            "hold the fitted models)"
        )
