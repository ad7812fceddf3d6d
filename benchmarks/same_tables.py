"""Whether another commit makes the same tables, to the bit: two series, three models, a year, made by both.

    python benchmarks/same_tables.py --baseline CHECKOUT --landing FOLDER [--year 2021]

`--baseline` is a checkout of the other commit with its own .venv, `--landing` holds market/coffee.csv,
market/sugar.csv, macro.csv and weather.csv. Each side trains, forecasts and scores with its own code in a warehouse of
its own. Every table is then read whole, sorted by its key and compared column by column, floats by their bits. Left
out are what a clock or an account writes: timestamps, durations, MLflow's run ids and the package's version. Exits
with 1 where a table differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _sides import Side, both

from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TABLES, Table

if TYPE_CHECKING:
    import pyarrow as pa

SERIES = (
    {"name": "Coffee", "covariates": ["vix", "usd_brl"]},
    {"name": "Sugar", "covariates": ["vix", "usd_brl"], "regions": ["Brazil"]},
)
MODELS = ("naive", "random_walk", "xgboost")
OTHERWISE = {"training_seconds", "inference_seconds", "mlflow_run_id", "code_version", "created_by", "by"}
"""Columns that differ between two runs of one commit; timestamps do too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True, help="checkout of the commit to compare with")
    parser.add_argument("--landing", type=Path, required=True, help="landing folder")
    parser.add_argument("--year", type=int, default=2021)
    options = parser.parse_args()
    sides = both(options.baseline)
    print(f"before: {sides[0].commit()}; now: {sides[1].commit()}; {', '.join(MODELS)}, two series, {options.year}")
    with tempfile.TemporaryDirectory(prefix="same-tables-") as folder:
        warehouses = [Path(folder) / side.name for side in sides]
        for side, warehouse in zip(sides, warehouses, strict=True):
            _make(side, warehouse, options.landing, options.year)
        stored = [DeltaWarehouse(warehouse) for warehouse in warehouses]
        good = [_compare(table, *stored) for table in TABLES]
    sys.exit(0 if all(good) else 1)


def _make(side: Side, warehouse: Path, landing: Path, year: int) -> None:
    environment = {
        "DAGSTER_HOME": str(warehouse / "_dagster"),
        "FORECAST_PLATFORM_WAREHOUSE": str(warehouse),
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(landing.resolve()),
        "FORECAST_PLATFORM_SERIES": json.dumps(SERIES),
        "FORECAST_PLATFORM_START_DATE": f"{year}-01-01",
        "FORECAST_PLATFORM_END_DATE": f"{year}-12-31",
    }
    span = ["--models", *MODELS, "--start-date", f"{year}-01-01", "--end-date", f"{year}-12-31"]
    side.run(environment, "backfill", "--train", *span)


def _compare(table: Table, before: DeltaWarehouse, now: DeltaWarehouse) -> bool:
    """Print what became of one table; whether it is the same."""
    import pyarrow as pa

    there = [warehouse.version(table) is not None for warehouse in (before, now)]
    if not any(there):
        print(f"{table.name}: in neither")
        return True
    if not all(there):
        print(f"{table.name}: DIFFERENT: only {'before' if there[0] else 'now'}")
        return False
    left, right = (_sorted(table, warehouse) for warehouse in (before, now))
    if left.num_rows != right.num_rows:
        print(f"{table.name}: DIFFERENT: {left.num_rows:,} rows before, {right.num_rows:,} now")
        return False
    both_have = [name for name in left.column_names if name in right.column_names]
    compared = [name for name in both_have if name not in OTHERWISE and not pa.types.is_timestamp(left[name].type)]
    different = [name for name in compared if not _same(left[name], right[name])]
    only = set(left.column_names) ^ set(right.column_names)
    verdict = f"DIFFERENT in {', '.join(different)}" if different else "the same"
    more = f"; only one side has {', '.join(sorted(only))}" if only else ""
    print(f"{table.name}: {left.num_rows:,} rows, {len(compared)} columns compared: {verdict}{more}")
    return not different


def _sorted(table: Table, warehouse: DeltaWarehouse) -> pa.Table:
    import pyarrow as pa

    rows = warehouse.read(table)
    keys = [name for name in table.key if name in rows.column_names and not pa.types.is_timestamp(rows[name].type)]
    return rows.sort_by([(name, "ascending") for name in keys])


def _same(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    if pa.types.is_floating(left.type) and left.type == right.type:
        values = [column.combine_chunks() for column in (left, right)]
        if not values[0].is_null().equals(values[1].is_null()):
            return False
        bits = [np.ascontiguousarray(column.fill_null(0).to_numpy(zero_copy_only=False)) for column in values]
        return bool(np.array_equal(*(column.view(f"u{column.itemsize}") for column in bits)))
    return bool(left.equals(right.cast(left.type)))


if __name__ == "__main__":
    main()
