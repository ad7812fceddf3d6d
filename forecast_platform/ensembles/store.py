"""Where a workflow's fits and outcomes are kept, and its tables and states in the warehouse."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.ensembles.arrays import array_bytes, array_from
from forecast_platform.ensembles.grammar import Context
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.plain import plain_table
from forecast_platform.ensembles.rows import Rows, RowsError
from forecast_platform.ensembles.source_files import read_csv, read_parquet
from forecast_platform.models.saved import from_bytes, to_parts
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import Warehouse
from forecast_platform.warehouse.schemas import Column, Table
from forecast_platform.work import artifacts

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.warehouse.delta import DeltaWarehouse

FINISHED, FAILED, RUNNING = "finished", "failed", "running"
_STATES = "ensemble_tasks"
_LOCKS = "_locks"
"""Folder of the warehouse with a file of no bytes a key, which stays: to remove one would let two processes in."""
KEPT_DATA = ("_workflows", "data")
"""The folder of the warehouse that has submitted workflows' files; a source's path that begins so is one in it."""


class FileStore:
    """Bundles of files among the warehouse's artifacts: one file a key, whole or not there."""

    def __init__(self, settings: Settings, slug: str) -> None:
        self.settings = settings
        self.root = artifacts.root(settings) / "ensembles" / slug

    def path(self, key: str) -> Path:
        """Where a key's bundle is."""
        return self.root / f"{key}.zip"

    def get(self, key: str) -> dict[str, bytes] | None:
        """The files of a key; None where there are none, or what is there is no whole bundle."""
        data = artifacts.read_bytes(self.settings, self.path(key))
        try:
            return None if data is None else from_bytes(data)
        except zipfile.BadZipFile:
            return None

    def put(self, key: str, files: dict[str, bytes]) -> None:
        """Keep the files of a key. Raises OSError."""
        artifacts.write_bytes(self.settings, self.path(key), to_parts(files))

    def put_hashed(self, key: str, files: dict[str, bytes]) -> str:
        """Keep the files of a key; returns the hash that `digest` gives of what was kept. Raises OSError."""
        parts, running = to_parts(files), hashlib.sha256()
        for part in parts:
            running.update(part)
        artifacts.write_bytes(self.settings, self.path(key), parts)
        return running.hexdigest()

    def digest(self, key: str) -> str:
        """The hash of a key's bundle; empty where there is none."""
        data = artifacts.read_bytes(self.settings, self.path(key))
        return "" if data is None else hashlib.sha256(data).hexdigest()

    def lock(self, key: str) -> Any:
        """A context in which no other process of this user and machine makes this key."""
        from filelock import FileLock

        name = hashlib.sha256(str(self.path(key)).encode()).hexdigest()[:32]
        if self.settings.tables == "folder":
            # In the warehouse, for a service may have a folder of temporary files of its own; in no backup.
            folder = self.settings.warehouse / _LOCKS
        else:
            # A volume has no locks. A folder a user: what one has made there, another may not open.
            user = os.getuid() if hasattr(os, "getuid") else "all"
            folder = Path(tempfile.gettempdir()) / f"forecast-ensemble-locks-{user}"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(str(folder / f"{name}.lock"))


def states_table(context: Context) -> Table:
    """The table of a schema's workflow tasks: one row a task."""
    catalog, schema, _ = context.source.place
    return _states_at(f"{catalog}.{schema}.{_STATES}")


def _states_at(name: str) -> Table:
    return Table(
        name,
        "One row a task of a workflow: its state, what it was made from, and its result.",
        (
            Column("workflow", "string", "Name of the workflow.", False),
            Column("task", "string", "Name of the task.", False),
            Column("state", "string", "running, finished or failed.", False),
            Column("input_hash", "string", "Hash of rows, parameters, code and the tasks before it.", False),
            Column("attempts", "int", "Times that it was begun with this input hash.", False),
            Column("started_at", "timestamp", "When it was begun last, UTC.", False),
            Column("finished_at", "timestamp", "When it ended, UTC; null while it runs."),
            Column("seconds", "float", "Seconds that it took."),
            Column("cpu_seconds", "float", "Seconds of processor time."),
            Column("fits", "int", "Base models that it fitted, and did not find."),
            Column("result", "string", "Its outcome without arrays, as JSON."),
            Column("artifact_sha256", "string", "Hash of the file of its outcome."),
            Column("error", "string", "Why it failed."),
            Column("run_id", "string", "The run that did it: Dagster's, or its job run's on Databricks."),
            Column("report", "string", "Whether its end was posted to the webhook: delivered, or why not."),
        ),
        partition_by=(),
        key=("workflow", "task"),
    )


@dataclass(frozen=True)
class State:
    """A task's row of `ensemble_tasks`."""

    state: str
    input_hash: str
    attempts: int
    started_at: dt.datetime
    finished_at: dt.datetime | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    fits: int | None = None
    result: str | None = None
    artifact_sha256: str | None = None
    error: str | None = None
    run_id: str | None = None
    report: str | None = None


def aware(moment: dt.datetime) -> dt.datetime:
    """A state's time with its zone, which not every warehouse gives back: UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.timezone.utc)


class States:
    """What became of a workflow's tasks, in the warehouse."""

    def __init__(self, warehouse: Warehouse, context: Context) -> None:
        self.warehouse, self.name, self.table = warehouse, context.name, states_table(context)

    def read(self) -> dict[str, State]:
        """The states by task."""
        rows = self.warehouse.read(self.table, where={"workflow": self.name}).to_pylist()
        return {row.pop("task"): State(**{k: v for k, v in row.items() if k != "workflow"}) for row in rows}

    def write(self, task: str, state: State) -> None:
        """Replace a task's state. Raises WarehouseError."""
        import pyarrow as pa

        row = {"workflow": self.name, "task": task, **vars(state)}
        data = pa.Table.from_pylist([row], schema=self.table.arrow_schema())
        self.warehouse.replace(self.table, data, {"workflow": self.name, "task": task})


def holds_states(table: Table) -> bool:
    """Whether a table is one of workflows' states, whose rows say of other tables that they are written."""
    return table.short_name == _STATES


def forget_tasks(warehouse: DeltaWarehouse, name: str) -> list[str]:
    """Let no task count as finished of the workflows whose table this is (by its full name), for rows of it are lost;
    returns their names. Raises WarehouseError."""
    found: list[str] = []
    for table in warehouse.tables():
        if not holds_states(table) or table.name == name:
            continue
        states = _states_at(table.name)
        for workflow in sorted(set(warehouse.read(states, ["workflow"])["workflow"].to_pylist())):
            # A task's tables end in its workflow's name and its own, that of the newest forecasts in the first.
            if f"_{workflow.replace('-', '_')}" in name:
                warehouse.replace(states, states.arrow_schema().empty_table(), {"workflow": workflow})
                found.append(workflow)
    return found


def put_outcome(store: FileStore, outcome: Outcome) -> str:
    """Keep an outcome; returns the hash of its file."""
    files = {"outcome.json": json.dumps(outcome.to_dict(), sort_keys=True, allow_nan=True).encode()}
    if outcome.predicted is not None:
        files["predicted.npy"] = array_bytes(outcome.predicted)
    if outcome.cells is not None:
        files["cells.npy"] = array_bytes(outcome.cells)
    return store.put_hashed(f"tasks/{outcome.task}", files)


def get_outcome(store: FileStore, task: str) -> Outcome | None:
    """The outcome of a task; None where there is none."""
    files = store.get(f"tasks/{task}")
    if files is None:
        return None
    predicted = array_from(files["predicted.npy"]) if "predicted.npy" in files else None
    cells = array_from(files["cells.npy"]) if "cells.npy" in files else None
    return Outcome.from_dict(json.loads(files["outcome.json"]), predicted, cells)


def source_frame(warehouse: Warehouse, settings: Settings, context: Context) -> pd.DataFrame:
    """The table of a workflow: its rows and columns as they are stored. Raises FileNotFoundError: there is none;
    RowsError: it cannot be read."""
    source = context.source
    if source.path is not None:
        path = _placed(settings, Path(source.path).expanduser())
        if not path.is_file():
            raise FileNotFoundError(f"source.path {str(path)!r} is no file: name a CSV or Parquet file")
        parquet = path.suffix.lower() in (".parquet", ".pq")
        try:
            return read_parquet(path) if parquet else read_csv(path)
        except ValueError as error:
            kind = "Parquet" if parquet else "CSV (its suffix is not .parquet)"
            why = str(error).strip().splitlines()[0]
            raise RowsError(f"source.path {str(path)!r} cannot be read as {kind}: {why}: mend the file") from error
    found = warehouse.read(_open_table(settings, ".".join(source.place)))
    if not found.num_columns:
        raise FileNotFoundError(f"there is no table {'.'.join(source.place)} in the warehouse")
    return found.to_pandas()


def _placed(settings: Settings, path: Path) -> Path:
    """Where the file of a source is: what the service keeps lies in the warehouse, wherever that is by now."""
    return settings.warehouse / path if path.parts[: len(KEPT_DATA)] == KEPT_DATA else path


def _open_table(settings: Settings, name: str) -> Table:
    """Somebody's table, with the columns that it has."""
    partitions: Sequence[str] = ()
    if settings.tables == "folder":
        from deltalake import DeltaTable

        path = settings.warehouse.joinpath(*name.split("."))
        if DeltaTable.is_deltatable(str(path)):
            partitions = DeltaTable(str(path)).metadata().partition_columns
    return Table(name, "", (), tuple(partitions), (), open_columns=True)


def write_clustered(warehouse: Warehouse, context: Context, rows: Rows, outcome: Outcome, frame: pd.DataFrame) -> str:
    """The table with each row's `cluster_id` (a column of its own that has this name is `cluster_id_2`); returns its
    name. Raises WarehouseError."""
    catalog, schema, table = context.source.place
    name = f"{catalog}.{schema}.{table}_clustered_{context.slug}_{outcome.task}"
    assert outcome.cells is not None  # noqa: S101 - of a route
    routes = {"cluster_id": outcome.cells.astype(np.int32)}
    made, data = plain_table(name, "The rows, each with its route.", frame.iloc[rows.source], routes)
    warehouse.replace(made, data, {})
    return name


def write_predictions(warehouse: Warehouse, context: Context, rows: Rows, outcome: Outcome) -> str:
    """A task's predictions of rows by models that have not seen them; returns the table's name.

    Columns: row (its place in the source), target, `ensemble`, and `model_0`, ... for the models that were combined, in
    their order: the number or, of two classes, the second's probability; of classes `<model>_class_<k>` for each, too.
    Raises WarehouseError.
    """
    import pyarrow as pa

    catalog, schema, _ = context.source.place
    full = f"{catalog}.{schema}.oof_predictions_{context.slug}_{outcome.task}"
    target = rows.y if rows.classes is None else np.array([str(one) for one in rows.classes], object)[rows.y]
    values = {"row": rows.source.astype(np.int32), "target": target}
    arrays = {} if outcome.predicted is None else {"ensemble": outcome.predicted}
    arrays |= {f"model_{number}": part for number, part in enumerate(outcome.parts)}
    for name, predicted in arrays.items():
        columns_of = [pa.array(predicted[:, code]) for code in range(predicted.shape[1])]
        if rows.n_classes <= 2:
            values[name] = columns_of[-1]
        values |= {f"{name}_class_{code}": columns_of[code] for code in range(rows.n_classes)}
    columns = (
        Column("row", "int", "Place of the row in the source, from 0.", False),
        Column("target", "string" if rows.n_classes else "float", "The target.", False),
    )
    # Its columns are those of the workflow's models and classes of now.
    said = "Predictions of rows by models that have not seen them."
    table = Table(full, said, columns, (), ("row",), open_columns=True, whole=True)
    warehouse.replace(table, pa.table(values), {})
    return full
