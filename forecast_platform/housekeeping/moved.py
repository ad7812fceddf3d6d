"""A warehouse that was moved: the absolute paths in it follow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.host import mlflow_store
from forecast_platform.warehouse.base import Where, revise
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TRAINED_MODELS

if TYPE_CHECKING:
    import pyarrow as pa


def follow(old: Path, new: Path, folder: Path) -> None:
    """Rewrite the absolute paths that MLflow's database and trained_models hold, of a warehouse that was at `old` and
    is to be used at `new`; `folder` is where it is now. What was killed is completed by a second call.

    Raises OSError, sqlite3.Error, WarehouseError.
    """
    if old == new:
        return
    _follow_fits(old, new, folder)
    database = folder / "_mlflow" / "mlflow.db"
    if database.is_file():
        mlflow_store.follow(database, old, new)


def _follow_fits(old: Path, new: Path, folder: Path) -> None:
    prefix = f"{old}{os.sep}"

    def led(path: str | None) -> bool:
        return bool(path) and str(path).startswith(prefix)

    def changed(rows: pa.Table) -> tuple[pa.Table, Where]:
        import pyarrow as pa

        paths = rows["fitted_model_s3_path"].to_pylist()
        moved = [str(new / path[len(prefix) :]) if led(path) else path for path in paths]
        position = rows.schema.get_field_index("fitted_model_s3_path")
        return rows.set_column(position, rows.schema.field(position), pa.array(moved, pa.string())), where

    tables = DeltaWarehouse(folder)
    rows = tables.read(TRAINED_MODELS, ["commodity", "fitted_model_s3_path"]).to_pylist()
    names = sorted({row["commodity"] for row in rows if led(row["fitted_model_s3_path"])})
    if names:
        where: Where = {"commodity": names}
        revise(tables, TRAINED_MODELS, where, changed)
