"""The implementations that the contract suite runs over, made anew in any process, and rows to write."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from forecast_platform.clients.spark_session import leave_quietly
from forecast_platform.warehouse.base import Warehouse, keys_of
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import FORECAST_METADATA, Table
from forecast_platform.warehouse.unity import UnityWarehouse


@dataclass(frozen=True)
class Make:
    """How to open one warehouse: a folder, or a Spark Connect address."""

    kind: Literal["folder", "unity"]
    place: str

    def another(self, **options: int) -> Warehouse:
        """The warehouse as another process would open it: nothing shared but the tables."""
        if self.kind == "folder":
            return DeltaWarehouse(Path(self.place), **options)
        return unity(self.place, **options)


def unity(remote: str, **options: object) -> UnityWarehouse:
    """Unity Catalog tables over a session of its own."""

    def session() -> object:
        from pyspark.sql.connect.session import SparkSession

        made = SparkSession.builder.remote(remote).create()
        leave_quietly(made)
        return made

    return UnityWarehouse(session, **options)  # type: ignore[arg-type]


def metadata(model: str, chosen: Sequence[dt.date], crps: float = 1.0) -> pa.Table:
    """Rows of forecast_metadata, one a date."""
    rows = [
        {
            "commodity": "Coffee",
            "model_name": model,
            "model_version": "v1.0",
            "forecast_date": day,
            "crps_14d": crps,
            "actuals_available": 0,
            "has_data_leakage": False,
            "model_success": True,
        }
        for day in chosen
    ]
    return pa.Table.from_pylist(rows, schema=FORECAST_METADATA.arrow_schema())


def days(first: int, last: int) -> list[dt.date]:
    """Days of January 2020."""
    return [dt.date(2020, 1, day) for day in range(first, last + 1)]


def where(model: str, chosen: Sequence[dt.date]) -> dict[str, object]:
    """The keys of `metadata`."""
    return keys_of("Coffee", model, "v1.0", chosen, by_month=False)


def write_days(make: Make, model: str, chosen: list[dt.date]) -> None:
    """One write a day: what a second process does."""
    warehouse = make.another()
    for day in chosen:
        warehouse.replace(FORECAST_METADATA, metadata(model, [day]), where(model, [day]))


def plain(table: Table, changes: dict[str, object], n_rows: int = 1) -> pa.Table:
    """Rows with some value in every column that must not be null."""
    some: dict[str, object] = {
        "string": "x",
        "date": dt.date(2020, 1, 1),
        "timestamp": dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc),
        "bool": False,
        "int": 1,
        "float": 1.0,
        "float32": 1.0,
    }
    row = {column.name: some[column.type] for column in table.columns if not column.nullable}
    return pa.Table.from_pylist([{**row, **changes}] * n_rows, schema=table.arrow_schema())
