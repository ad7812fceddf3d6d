"""One consistent copy of the tables, fitted models, Dagster's and MLflow's records, taken while everything runs.

What is referred to is copied after what refers to it (Dagster's log, then the tables at the versions of one moment,
then MLflow and model files, which are only ever added to), so whatever the copy mentions, the copy holds. SQLite files
are copied by SQLite's own online backup; of each table only its current version is kept.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform import __version__
from forecast_platform.host.admission import FOLDER as FOLDER_OF_JOBS
from forecast_platform.host.admission import AdmissionFile
from forecast_platform.host.databases import copy_checked
from forecast_platform.host.disk import full_disk
from forecast_platform.host.files import sync_file, sync_folder, sync_tree
from forecast_platform.host.home import instance_home, refuse_foreign
from forecast_platform.housekeeping import HousekeepingError, exclusive, partial_of, require_folder
from forecast_platform.housekeeping.archive import FolderWriter, Manifest, TarWriter, Writer
from forecast_platform.housekeeping.kept_fits import damaged_fits
from forecast_platform.settings import Settings, SettingsError
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.warehouse.damage import examine, open_table
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.journal import FOLDER, Journal, Print
from forecast_platform.warehouse.schemas import Table

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LOG = "_delta_log"
_ROOMS = ("_artifacts", "_keys", "_landing", "_workflows")
"""Folders of the warehouse that are copied as they are: model files and the key that signs them, what feeds fetched,
submitted workflows with their data."""

_ASIDE = "nothing was written, earlier backups are as they were: run `forecast-platform repair`, then back up"


def backup(settings: Settings, target: Path) -> Manifest:
    """Write a backup to `target`: a folder that is not there yet, or a file that ends in .tar.

    Nothing appears under that name before it is complete. Raises HousekeepingError.
    """
    require_folder(settings, "backup")
    target = target.expanduser().absolute()
    if target.exists():
        raise HousekeepingError(f"{target} is there already: name a new folder or .tar file")
    if not settings.warehouse.is_dir():
        raise HousekeepingError(f"{settings.warehouse}: no such warehouse, nothing to back up")
    if target.is_relative_to(settings.warehouse):
        raise HousekeepingError(f"{target} lies inside the warehouse {settings.warehouse}: put backups elsewhere")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(target)
    writer: Writer = TarWriter(partial) if target.suffix == ".tar" else FolderWriter(partial)
    try:
        with exclusive(settings, "backup", timeout=60):
            manifest = _fill(settings, writer)
        writer.close(manifest)
        # The name must not reach the disk before what it stands for.
        if partial.is_dir():
            sync_tree(partial)
        else:
            sync_file(partial)
        if target.exists():
            raise HousekeepingError(f"{target} was written by another backup meanwhile: name a new folder or .tar file")
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        said = full_disk(error, target.parent, Path(tempfile.gettempdir())) or error
        raise HousekeepingError(f"backup to {target} failed, nothing is left of it: {said}") from error
    finally:
        writer.abandon()
    return manifest


def _fill(settings: Settings, writer: Writer) -> Manifest:
    names = ("dagster", "deltalake", "mlflow")
    manifest = Manifest(
        created_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        warehouse=str(settings.warehouse),
        versions={"forecast_platform": __version__, **{name: version(name) for name in names}},
    )
    home = instance_home(settings)
    try:
        refuse_foreign(home)
        AdmissionFile(settings).refuse_foreign()
    except SettingsError as error:
        raise HousekeepingError(str(error)) from error
    _copy_dagster(home, writer, manifest)
    _copy_tables(settings, writer, manifest)
    local = settings.warehouse / "_mlflow"
    if settings.tracking_uri != f"sqlite:///{local / 'mlflow.db'}":
        manifest.left_out.append(f"MLflow at {settings.tracking_uri}: back it up with the means of that server")
    elif (local / "mlflow.db").is_file() or (local / "artifacts").is_dir():
        # Neither is there while the database is made for the first time, under another name.
        _copy_database(local / "mlflow.db", "warehouse/_mlflow/mlflow.db", writer, manifest)
        _copy_folder(local / "artifacts", "warehouse/_mlflow/artifacts", writer, manifest)
    _copy_training_jobs(settings, writer, manifest)
    for name in _ROOMS:
        _copy_folder(settings.warehouse / name, f"warehouse/{name}", writer, manifest)
    if settings.config is not None and settings.config.is_file():
        _copy_file(settings.config, "settings.yaml", writer, manifest)
    return manifest


def _copy_training_jobs(settings: Settings, writer: Writer, manifest: Manifest) -> None:
    """The admission store first: a job whose folder comes with it is more than it knows, never less."""
    store = JobStore(settings)
    if not store.exists:
        return
    if store.path.parent != store.folder:
        manifest.left_out.append(
            f"the place of the admission store: it comes back as {store.folder / 'jobs.db'}; put it at {store.path} "
            "(JOB_STATE_DB_PATH) before the service is started"
        )
    _copy_database(store.path, f"warehouse/{FOLDER_OF_JOBS}/jobs.db", writer, manifest)
    for name in ("jobs", "uploads"):
        _copy_folder(store.folder / name, f"warehouse/{FOLDER_OF_JOBS}/{name}", writer, manifest)


def _copy_dagster(home: Path, writer: Writer, manifest: Manifest) -> None:
    if not home.is_dir():
        manifest.left_out.append(f"Dagster's records: there is no {home}")
        return
    instance = home / "dagster.yaml"
    if instance.is_file():
        _copy_file(instance, "dagster/dagster.yaml", writer, manifest)
    if instance.is_file() and any(line.startswith("storage:") for line in instance.read_text().splitlines()):
        manifest.left_out.append("Dagster's records in a database server: `pg_dump` it (docs/postgres.md)")
    # The index names runs whose own files are copied after it, so that each of its entries finds its file.
    files = [path for path in home.rglob("*.db") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name != "index.db", path.name != "runs.db", path)):
        with contextlib.suppress(FileNotFoundError):  # a run pruned meanwhile
            _copy_database(path, f"dagster/{path.relative_to(home).as_posix()}", writer, manifest)


def _copy_tables(settings: Settings, writer: Writer, manifest: Manifest) -> None:
    from forecast_platform.ensembles.store import holds_states

    warehouse = DeltaWarehouse(settings.warehouse, horizon=settings.horizon)
    damaged = [one for table in warehouse.tables() for one in examine(warehouse, table)] or damaged_fits(
        settings, warehouse
    )
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise HousekeepingError(f"{damaged[0]}{more}; {_ASIDE}")
    # What refers to another table is pinned before that table: scores and signals, forecasts, models, data. States of
    # workflows' tasks before all of these, and before it is known which there are.
    opened = _pinned(warehouse, [table for table in warehouse.tables() if holds_states(table)])
    opened |= _pinned(warehouse, [table for table in reversed(warehouse.tables()) if not holds_states(table)])
    for table, pinned in opened.items():
        root = warehouse.path(table)
        place = "warehouse/" + "/".join(table.name.split("."))
        names = [_relative(uri, root) for uri in pinned.file_uris()]
        written = warehouse.journal.prints(table.name)
        for name in names:
            _copy_file(root / name, f"{place}/{name}", writer, manifest)
            _refuse_changed(table, name, manifest.files[f"{place}/{name}"], written.get(name))
        for path in sorted((root / _LOG).iterdir()):
            if _belongs(path, pinned.version()):
                _copy_file(path, f"{place}/{_LOG}/{path.name}", writer, manifest)
        _copy_journal(warehouse.journal, table, pinned.version(), writer, manifest)
        manifest.tables[table.name] = {"version": pinned.version(), "files": len(names)}


def _pinned(warehouse: DeltaWarehouse, tables: Iterable[Table]) -> dict[Table, DeltaTable]:
    """Those of the tables that are there, each at its version of now. Raises OSError."""
    from deltalake.exceptions import DeltaError

    opened = {}
    for table in tables:
        try:
            found = open_table(warehouse, table)
        except DeltaError as error:
            raise OSError(f"{table.name}: {str(error).splitlines()[0]}") from error
        if found is not None:
            opened[table] = found
    return opened


def _refuse_changed(table: Table, name: str, copied: Mapping[str, Any], written: Print | None) -> None:
    """A backup of damaged files would take the place of a good one."""
    if written is not None and (copied["size"], copied["blake2b"]) != (written.size, written.blake2b):
        raise HousekeepingError(f"{table.name}: {name} is not what was written (its hash has changed); {_ASIDE}")


def _copy_journal(journal: Journal, table: Table, pinned: int, writer: Writer, manifest: Manifest) -> None:
    """What is known of the versions up to the pinned one."""
    folder = journal.folder(table.name)
    for path in sorted(folder.glob("*.json")):
        if not path.stem.isdigit() or int(path.stem) <= pinned:
            with contextlib.suppress(FileNotFoundError):  # pruned meanwhile
                _copy_file(path, f"warehouse/{FOLDER}/{table.name}/{path.name}", writer, manifest)


def _relative(uri: str, root: Path) -> str:
    from urllib.parse import unquote, urlsplit

    path = Path(unquote(urlsplit(uri).path)) if "://" in uri else Path(uri)
    return path.relative_to(root).as_posix()


def _belongs(path: Path, pinned: int) -> bool:
    """Whether a file of the log describes versions up to `pinned` alone."""
    if path.name == "_last_checkpoint":
        return int(json.loads(path.read_text())["version"]) <= pinned
    number = path.name.split(".", 1)[0]
    return number.isdigit() and int(number) <= pinned and not path.name.endswith(".tmp")


def _copy_folder(folder: Path, place: str, writer: Writer, manifest: Manifest) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):  # replaced meanwhile under a new name
                _copy_file(path, f"{place}/{path.relative_to(folder).as_posix()}", writer, manifest)


def _copy_database(path: Path, place: str, writer: Writer, manifest: Manifest) -> None:
    """One transaction's view, whatever writers do; refused where it is damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is gone")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        copy_checked(path, copy)
        _copy_file(copy, place, writer, manifest)


def _copy_file(path: Path, place: str, writer: Writer, manifest: Manifest) -> None:
    with path.open("rb") as stream:
        manifest.files[place] = writer.add(place, stream, os.fstat(stream.fileno()).st_size)
