"""The part of `forecast-platform doctor` that looks at what is stored: tables, MLflow, the Dagster instance."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.doctor.horizon import horizon
from forecast_platform.host.finding import Finding
from forecast_platform.host.home import instance_home, shipped_file
from forecast_platform.host.mlflow_store import client_of
from forecast_platform.host.private_files import keeps_modes, too_open
from forecast_platform.settings import PREFIX, Settings
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from forecast_platform.warehouse.schemas import Table


def folder(settings: Settings) -> Iterator[Finding]:
    """The warehouse folder can be written to (tried with a file that is removed again), and has room."""
    root = settings.warehouse
    existing = next(path for path in (root, *root.parents) if path.exists())
    later = "" if existing == root else " (not there yet: the first command makes it)"
    mend = f"set {PREFIX}WAREHOUSE to a folder that you may write to"
    if not existing.is_dir():
        yield Finding("warehouse", "error", f"{root}: {existing} is a file, not a folder", f"move it away, or {mend}")
        return
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".doctor-"):
            pass
    except OSError as error:
        yield Finding("warehouse", "error", f"{root}: cannot write in {existing} ({error.strerror})", mend)
        return
    yield Finding("warehouse", "good", f"{root}: writable{later}")
    free = shutil.disk_usage(existing).free / 1e9
    found = f"{free:.1f} GB free, {settings.min_free_gb:g} GB are to stay free"
    if free > settings.min_free_gb:
        yield Finding("disk", "good", found)
    else:
        mend = f"free some space, or lower {PREFIX}MIN_FREE_GB; nothing is written until then"
        yield Finding("disk", "error", found, mend)


def privacy(settings: Settings) -> Iterator[Finding]:
    """Nobody may read the warehouse and the instance but whom the settings say."""
    opened = list(too_open(settings))
    if opened and not keeps_modes(settings.warehouse if settings.warehouse.is_dir() else opened[0].parent):
        # No command would mend it, so it is said and not warned of.
        found = f"{settings.warehouse} lies on a file system that keeps no permissions"
        yield Finding("privacy", "good", f"{found}: how it is mounted (umask, dmask, fmask) says who may read")
    elif opened:
        found = f"{len(opened):,} files and folders that others may read (readable_by is {settings.readable_by})"
        yield Finding("privacy", "warning", f"{found}, such as {opened[0]}", "run `forecast-platform migrate`")
    elif settings.warehouse.is_dir():
        who = "its owner" if settings.readable_by == "owner" else "its owner and group"
        yield Finding("privacy", "good", f"{settings.warehouse}: for {who} alone to read")


def tables(settings: Settings, *, deep: bool = False) -> Iterator[Finding]:
    """Each table that exists opens, has all of its files, and has the schema of this version; `deep` reads every byte
    and compares it with what was written."""
    from forecast_platform.housekeeping.kept_fits import damaged_fits
    from forecast_platform.warehouse.damage import examine
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import TRAINED_MODELS

    if settings.tables == "unity_catalog":
        from forecast_platform.doctor.unity import unity_tables

        yield from unity_tables(settings)
        return
    yield from horizon(settings, Platform.from_settings(settings).warehouse)
    absent = []
    warehouse = DeltaWarehouse(settings.warehouse, horizon=settings.horizon)
    for table in (one.at(settings.horizon) for one in warehouse.tables()):
        path = settings.warehouse.joinpath(*table.name.split("."))
        damaged = examine(warehouse, table, deep=deep)
        if deep and table.name == TRAINED_MODELS.name and not damaged:
            damaged = damaged_fits(settings, warehouse)
        yield from (Finding("tables", "error", str(one), "run `forecast-platform repair`") for one in damaged)
        if damaged or not table.columns:  # another's table, of which no more is known
            continue
        if (path / "_delta_log").is_dir():
            yield _table(table, path, deep=deep)
        else:
            absent.append(table.short_name)
    if absent:
        yield Finding("tables", "good", f"not there yet: {', '.join(absent)}")


def _table(table: Table, path: Path, *, deep: bool) -> Finding:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    aside = (
        f"restore {path} from a backup, or move it away and run `forecast-platform backfill --train` to make it anew"
    )
    try:
        opened = DeltaTable(str(path))
        names = {one.name for one in opened.schema().fields}
        files = opened.file_uris()
    except (DeltaError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        return Finding("tables", "error", f"{table.name} does not open: {reason}", aside)
    expected = {column.name for column in table.columns}
    missing = sorted(expected - names)
    unknown = [] if table.open_columns else sorted(names - expected)
    if missing or unknown:
        found = f"{table.name}: columns missing {missing or 'none'}, unknown {unknown or 'none'}"
        mend = f"it was written by another version of this package: install that one, or {aside}"
        return Finding("tables", "error", found, mend)
    said = ", every byte as it was written" if deep else ""
    text = f"{table.name}: version {opened.version()}, {len(files)} files, schema as defined{said}"
    return Finding("tables", "good", text)


def tracking(settings: Settings) -> Iterator[Finding]:
    """MLflow's store opens."""
    uri = settings.tracking_uri
    if uri.startswith("sqlite:///"):
        yield _sqlite_tracking(Path(uri.removeprefix("sqlite:///")))
        return
    mend = f"start the server, or unset {PREFIX}MLFLOW_TRACKING_URI for the local store; fits are kept without it"
    if uri.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):  # noqa: S310 - http or https
                yield Finding("mlflow", "good", f"{uri} answers")
        except OSError as error:
            yield Finding("mlflow", "error", f"{uri}: {error}", mend)
        return
    from mlflow.exceptions import MlflowException

    try:
        client_of(uri).search_experiments(max_results=1)
        yield Finding("mlflow", "good", f"{uri} opens")
    except MlflowException as error:
        yield Finding("mlflow", "error", f"{uri}: {error}", mend)


def _sqlite_tracking(path: Path) -> Finding:
    if not path.exists():
        return Finding("mlflow", "good", f"{path}: not created yet (the first training does)")
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5) as store:
            [count] = store.execute("select count(*) from runs").fetchone()
    except sqlite3.Error as error:
        mend = f"restore {path} from a backup, or move it away: a new one is made; fitted models are in the tables"
        return Finding("mlflow", "error", f"{path}: {error}", mend)
    return Finding("mlflow", "good", f"{path}: opens, {count} runs")


def dagster(settings: Settings) -> Iterator[Finding]:
    """DAGSTER_HOME, how its events are stored, and that the instance opens."""
    import yaml

    home = instance_home(settings)
    how = "set" if os.environ.get("DAGSTER_HOME") else "not set: the default is taken"
    file = home / "dagster.yaml"
    if not file.exists():
        yield Finding("DAGSTER_HOME", "good", f"{home} ({how}); not created yet (the first command does)")
        return
    try:
        config: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        yield Finding("DAGSTER_HOME", "error", f"{file}: {error}", f"cp {shipped_file('dagster.yaml')} {file}")
        return
    batched = config.get("event_log_storage", {}).get("class") == "BatchedSqliteEventLogStorage"
    postgres = "postgres" in config.get("storage", {})
    if os.environ.get("DAGSTER_EVENT_BATCH_SIZE") == "0" or not (batched or postgres):
        found = f"{file}: events are written one by one, 10 to 25 ms a partition instead of under 1"
        mend = (
            "unset DAGSTER_EVENT_BATCH_SIZE"
            if batched or postgres
            else f"cp {shipped_file('dagster.yaml')} {file}  (the history is kept), or take over its block "
            "event_log_storage"
        )
        yield Finding("DAGSTER_HOME", "warning", found, mend)
    else:
        kind = "batched SQLite" if batched else "Postgres"
        yield Finding("DAGSTER_HOME", "good", f"{home} ({how}), events in {kind}")
    yield _instance(home)


def _instance(home: Path) -> Finding:
    from dagster import DagsterInstance, RunsFilter

    try:
        with _dagster_home_set(home), DagsterInstance.from_config(str(home)) as instance:
            return Finding("instance", "good", f"opens, {instance.get_runs_count(RunsFilter())} runs")
    except Exception as error:  # noqa: BLE001 - storage classes raise what their drivers raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        mend = (
            f"mend {home / 'dagster.yaml'} (or cp {shipped_file('dagster.yaml')} there), or the database that it names"
        )
        return Finding("instance", "error", f"{home} does not open: {reason}", mend)


@contextlib.contextmanager
def _dagster_home_set(home: Path) -> Iterator[None]:
    """Our dagster.yaml names the folder by its variable."""
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before
