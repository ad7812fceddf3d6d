"""From what a request brings to a panel in the job's folder: checked as a whole before anything is kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import MODES, JobConfig, JobError
from forecast_platform.training_jobs.modes.choose import methods_of
from forecast_platform.training_jobs.panel import Panel, build
from forecast_platform.training_jobs.reading import Limits, from_arrow, read_file, read_rows
from forecast_platform.training_jobs.training import PANEL, check
from forecast_platform.warehouse.schemas import TRAINING_JOB_FORECASTS as FORECASTS

_TABLE = re.compile(r"[A-Za-z0-9_]{1,128}(\.[A-Za-z0-9_]{1,128}){2}")


def limits_of(settings: Settings) -> Limits:
    """How much a job may bring here."""
    given = settings.training_jobs
    return Limits(given.max_rows, given.max_rows_a_series, given.max_series, given.max_uncompressed_mb)


def admit(settings: Settings, folder: Path, config: JobConfig, upload: Path | None) -> None:
    """Keep a new job's data in `folder`, or nothing at all.

    upload: the file that config.file names. Raises JobError for data or a config that could not be trained.
    """
    given = settings.training_jobs
    if config.time_limit > given.max_seconds:
        raise JobError(f"{config.time_limit:g} s; at most {given.max_seconds:g} s here", "time_limit")
    if config.table is not None:
        if config.compute == "cluster":
            _plain_name(config.table)
        else:
            table_path(settings, config.table)
            methods_of(config)
        folder.mkdir(parents=True)
        return
    limits = limits_of(settings)
    columns = read_rows(config.data or (), config, limits) if upload is None else read_file(upload, config, limits)
    panel = build(columns, config, limits)
    check(panel, config)
    folder.mkdir(parents=True)
    try:
        panel.save(folder / PANEL)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def panel_of(settings: Settings, folder: Path, config: JobConfig) -> Panel:
    """The panel of a job that runs; read from its table where it names one. Raises JobError."""
    file = folder / PANEL
    if config.table is not None:
        limits = limits_of(settings)
        panel = build(from_arrow(_read_table(settings, config), config, limits), config, limits)
        check(panel, config)
        panel.save(file)
        return panel
    try:
        return Panel.open(file)
    except (OSError, ValueError, EOFError) as error:
        raise JobError(f"{file.name} of the job cannot be read ({error}): create the job anew", "data") from error


def table_path(settings: Settings, name: str) -> Path:
    """The folder of a table of the warehouse. Raises JobError where there is none of this name."""
    _plain_name(name)
    if settings.tables != "folder":
        raise JobError(f"{name}: tables of Unity Catalog are read by jobs on the cluster alone", "table")
    path = settings.warehouse.joinpath(*name.split("."))
    if not (path / "_delta_log").is_dir():
        raise JobError(f"{name}: the warehouse has no such table", "table")
    return path


def _plain_name(name: str) -> None:
    if not _TABLE.fullmatch(name):
        raise JobError(f"{name!r} is no name of a table: catalog.schema.table", "table")
    # Who is let through to the API is not let through to the results of others.
    schema, table = name.lower().split(".")[1:]
    if schema == FORECASTS.name.split(".")[1] and table.startswith("training_job_"):
        raise JobError(f"{name}: jobs' own tables, which hold those of all users, are not read by jobs", "table")


def delegated_modes(settings: Settings) -> tuple[str, ...]:
    """The modes whose jobs go to a cluster: all that have a notebook, where that is enabled."""
    return tuple(mode for mode in MODES if mode != "legacy") if settings.training_jobs.delegation else ()


def placed(settings: Settings, config: JobConfig) -> JobConfig:
    """The config with where it is trained. Raises JobError where that cannot be."""
    enabled = settings.training_jobs.delegation
    if config.compute == "cluster" and not enabled:
        raise JobError("'cluster': set ENABLE_CLUSTER_DELEGATION=true on the service, or leave it out", "compute")
    if config.compute == "cluster" and config.training_mode == "legacy":
        raise JobError("'cluster': mode legacy is trained on the service's machine alone", "compute")
    if config.compute is not None:
        return config
    on_cluster = config.training_mode in delegated_modes(settings)
    return config.model_copy(update={"compute": "cluster" if on_cluster else "local"})


def _read_table(settings: Settings, config: JobConfig) -> Any:
    from deltalake import DeltaTable
    from pyarrow import dataset

    table = DeltaTable(table_path(settings, config.table or ""))
    names = [field.name for field in table.schema().fields]
    wanted = [name for name in config.columns if name in names]
    found = dataset.dataset(table.file_uris(), format="parquet", partitioning="hive")
    if missing := [name for name in config.columns if name not in names]:
        raise JobError(f"{config.table} has no column {missing[0]!r}; there are {', '.join(names)}", "table")
    rows = found.count_rows()
    if rows > settings.training_jobs.max_rows:
        raise JobError(f"{config.table}: {rows:,} rows; at most {settings.training_jobs.max_rows:,}", "table")
    return found.to_table(columns=wanted)
