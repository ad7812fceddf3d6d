"""`forecast-platform views`: SQL that creates views which hide leaked and failed rows, for the engine that is named."""

from __future__ import annotations

import argparse
from typing import Any

from forecast_platform.settings import Settings


def register(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    from forecast_platform.warehouse.views import DIALECTS

    one = commands.add_parser("views", help="SQL of views that hide leaked and failed rows (docs/reading.md)")
    one.add_argument(
        "--dialect", choices=DIALECTS, help="the engine (default: databricks with Unity Catalog, else duckdb)"
    )
    one.set_defaults(command=lambda options, settings: print_views(settings, options), looks=True)


def print_views(settings: Settings, options: argparse.Namespace) -> int:
    """Print the statements; returns the exit code.

    Raises UsageError for a dialect that cannot read where the tables are.
    """
    from forecast_platform.read import Reader
    from forecast_platform.runs.operations import UsageError
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import DISTRIBUTIONS
    from forecast_platform.warehouse.unity import UnityWarehouse
    from forecast_platform.warehouse.views import Dialect, folder_sql, sql

    warehouse = Reader(settings).warehouse
    unity = isinstance(warehouse, UnityWarehouse)
    dialect: Dialect = options.dialect or ("databricks" if unity else "duckdb")
    if unity != (dialect == "databricks"):
        kept = (
            "in Unity Catalog: use --dialect databricks" if unity else "in a folder: use duckdb, duckdb-files or spark"
        )
        raise UsageError(f"--dialect {dialect}: the tables are {kept}")
    if isinstance(warehouse, UnityWarehouse):
        schema = warehouse.name(DISTRIBUTIONS).rpartition(".")[0]
        print(sql(dialect, warehouse.horizon, warehouse.name, f"{schema}."), end="")
    elif isinstance(warehouse, DeltaWarehouse):
        print(folder_sql(dialect, warehouse), end="")
    return 0
