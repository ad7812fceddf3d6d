"""Views for SQL engines, made from the schemas: the tables without rows that leaked, failed or are no forecasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    UNIFIED_DATA,
    Table,
)

Dialect = Literal["duckdb", "duckdb-files", "spark", "databricks"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

_HIDDEN = ("has_data_leakage", "model_success", "is_actuals")
"""Columns that say whether a row counts: a view's rows all do."""

_TYPES = {
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "bool": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "DOUBLE",
    "float32": "REAL",
}


@dataclass(frozen=True)
class View:
    """One view: what it shows, of which table, and which rows."""

    name: str
    description: str
    table: Table
    where: str = ""
    newest: tuple[str, tuple[str, ...]] | None = None
    """A column, and those by whose groups only the rows with its greatest value are shown."""
    hidden: tuple[str, ...] = ()
    """Further columns that are not shown."""

    def columns(self, horizon: int) -> list[str]:
        """Its columns, as the table of a warehouse of this horizon has them."""
        hidden = {*_HIDDEN, *self.hidden}
        return [column.name for column in self.table.at(horizon).columns if column.name not in hidden]

    def select(self, relation: str, horizon: int) -> str:
        """The query over `relation`, the engine's name of the table."""
        shown = ", ".join(f"t.{name}" for name in self.columns(horizon))
        condition = f" WHERE {self.where}" if self.where else ""
        query = f"SELECT {shown} FROM {relation} t"  # noqa: S608 - names of the schemas, no input
        if self.newest is None:
            return query + condition
        column, groups = self.newest
        by = ", ".join(groups)
        alike = " AND ".join(f"t.{name} = n.{name}" for name in (*groups, column))
        inner = f"SELECT {by}, max({column}) AS {column} FROM {relation} t{condition} GROUP BY {by}"  # noqa: S608
        return f"{query} JOIN ({inner}) n ON {alike}{condition}"


_FORECASTER = ("commodity", "model_name", "model_version")
_GOOD = "t.has_data_leakage = false AND t.model_success = true"

VIEWS = (
    View(
        "paths",
        "Simulated paths, one row a path; path_id p is one scenario of every series of a forecast_date.",
        DISTRIBUTIONS,
        "t.is_actuals = false AND t.has_data_leakage = false",
    ),
    View(
        "actuals",
        "What prices really did: one row a forecast date, null while unknown.",
        DISTRIBUTIONS,
        "t.is_actuals = true",
        hidden=("model_name", "model_version", "path_id", "training_cutoff_date", "model_id", "algorithm_version"),
    ),
    View("points", "Statistics of the paths: one row a forecast date and target date.", POINT_FORECASTS, _GOOD),
    View(
        "latest_points",
        "Those of the newest forecast date of each series, model and version.",
        POINT_FORECASTS,
        _GOOD,
        ("forecast_date", _FORECASTER),
    ),
    View("scores", "How good each forecast was.", FORECAST_METADATA, _GOOD, hidden=("error",)),
    View(
        "champion",
        "The model and version that the reader follows, by series; none where nobody has promoted one.",
        CHAMPIONS,
        newest=("valid_from", ("commodity",)),
    ),
    View(
        "complete_runs",
        "Forecast dates that have every configured model and series, made from data that were not late.",
        FORECAST_RUNS,
        "t.status = 'complete'",
    ),
    View("closes", "Closes that were really seen, without days that carry one over.", UNIFIED_DATA, "t.is_observed"),
)
"""The catalogue, in the order in which it is created."""


def sql(
    dialect: Dialect,
    horizon: int,
    relation: Callable[[Table], str],
    schema: str = "",
    existing: Sequence[Table] | None = None,
) -> str:
    """Statements that create every view, in `schema` (with its dot) where one is named, over the tables as `relation`
    gives them. Tables that are not among `existing` are left out, with a comment."""
    lines = [
        f"-- Made by `forecast-platform views --dialect {dialect}`: rows that leaked, failed or are no forecasts are "
        "hidden.",
    ]
    for view in VIEWS:
        if existing is not None and view.table not in existing:
            lines.append(f"-- {view.name}: {view.table.name} does not exist yet; make the views again once it does")
            continue
        lines.append(f"-- {view.description}")
        lines.append(f"CREATE OR REPLACE VIEW {schema}{view.name} AS {view.select(relation(view.table), horizon)};")
    return "\n".join(lines) + "\n"


def folder_sql(dialect: Dialect, warehouse: DeltaWarehouse) -> str:
    """The views over a folder's tables: duckdb with its Delta extension, duckdb-files over the files of the tables as
    they are now (so that they are to be made again after each run), or spark with Delta's."""
    existing = [table for table in {view.table for view in VIEWS} if warehouse.version(table) is not None]

    def relation(table: Table) -> str:
        path = _quoted(str(warehouse.path(table)))
        if dialect == "duckdb":
            return f"delta_scan({path})"
        if dialect == "spark":
            return f"delta.`{warehouse.path(table)}`"
        files = warehouse.files(table)
        if not files:
            return _nothing(table.at(warehouse.horizon))
        listed = ", ".join(map(_quoted, files))
        return f"read_parquet([{listed}], hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"

    return sql(dialect, warehouse.horizon, relation, existing=existing)


def _nothing(table: Table) -> str:
    columns = ", ".join(f"CAST(NULL AS {_TYPES[column.type]}) AS {column.name}" for column in table.columns)
    return f"(SELECT {columns} WHERE false)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
