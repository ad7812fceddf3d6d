"""What differs between the engines that Unity Catalog tables are reached through; nothing else knows of it.

Databricks (and any Spark with Delta Lake) is the norm: plain SQL. sail 0.7 speaks the catalog's REST interface and
Delta, but not all of the SQL: where it lacks a statement it does the same by other means, or refuses.

| | Databricks | sail 0.7 |
|---|---|---|
| version | DESCRIBE HISTORY | newest commit in the table's folder, which must be seen from here |
| add columns | ALTER TABLE ADD COLUMNS, with comments | an empty append that merges the schema; no comments |
| liquid clustering | CLUSTER BY | refused |
| a number that a file holds once or always | exact | off by a bit where it has statistics; so it gets none |
| compaction, vacuum | OPTIMIZE, VACUUM | refused |
| rows outside the predicate of a replace | refused by the engine | taken; so ours are checked before (`checking`) |
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from forecast_platform.host.redaction import hide
from forecast_platform.warehouse.base import WarehouseError
from forecast_platform.warehouse.predicates import quoted, text_literal
from forecast_platform.warehouse.schemas import Column, Table

SQL_TYPES = {
    "string": "STRING",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "bool": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "float": "DOUBLE",
    "float32": "FLOAT",
}
"""Column types of `schemas` as Spark's SQL names them."""

FLOATS = ("float", "float32")

_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")
_COMMIT = re.compile(r"^(\d{20})\.json$")

_CONFLICTS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED", "CONCURRENT_")
# All but the first are sail's, which has no conditions.
_CONFLICT_TEXTS = re.compile(
    r"Concurrent\w+Exception|prepared from snapshot version \d+, but|Delta commit conflict|Failed to commit transaction"
)
_ABSENT = ("TABLE_OR_VIEW_NOT_FOUND", "DELTA_TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND")


@dataclass(frozen=True)
class Upkeep:
    """What OPTIMIZE did to one table."""

    removed: int
    added: int


class Dialect(Protocol):
    """The statements that not every engine has."""

    def clustering(self, columns: Sequence[str], *, liquid: bool) -> str:
        """The clause of CREATE TABLE that lays out files by `columns`. Raises WarehouseError."""
        ...

    def properties(self, table: Table) -> dict[str, str]:
        """Properties that every new table gets."""
        ...

    def version(self, session: Any, name: str) -> int:
        """The newest version of the table, which exists."""
        ...

    def add_columns(self, session: Any, name: str, columns: Sequence[Column]) -> None:
        """Add columns that may be null, after those that are there."""
        ...

    def optimize(self, session: Any, name: str) -> Upkeep:
        """Merge small files. Raises WarehouseError."""
        ...

    def vacuum(self, session: Any, name: str, hours: int) -> None:
        """Delete files that no version of the last `hours` refers to. Raises WarehouseError."""
        ...


def dialect_of(session: Any) -> Dialect:
    """The dialect of the engine behind `session`, asked once."""
    # sail answers with its own version, Spark with its own: 4.0.0 and a commit.
    version = str(_rows(session.sql("SELECT version() AS version"))[0]["version"])
    return Sail() if version.startswith("0.") else Delta()


class Delta:
    """Databricks, and Spark with Delta Lake."""

    def clustering(self, columns: Sequence[str], *, liquid: bool) -> str:
        """PARTITIONED BY or CLUSTER BY."""
        if not columns:
            return ""
        return f"{'CLUSTER BY' if liquid else 'PARTITIONED BY'} ({', '.join(map(quoted, columns))})"

    def properties(self, table: Table) -> dict[str, str]:
        """None: the engine's defaults are right."""
        return {}

    def version(self, session: Any, name: str) -> int:
        """From the table's history."""
        return int(_rows(session.sql(f"DESCRIBE HISTORY {quoted(name)} LIMIT 1"))[0]["version"])

    def add_columns(self, session: Any, name: str, columns: Sequence[Column]) -> None:
        """One commit, with the columns' comments."""
        session.sql(f"ALTER TABLE {quoted(name)} ADD COLUMNS ({', '.join(map(definition, columns))})").collect()

    def optimize(self, session: Any, name: str) -> Upkeep:
        """OPTIMIZE; with liquid clustering also clusters what was written since."""
        metrics = _rows(session.sql(f"OPTIMIZE {quoted(name)}"))[0]["metrics"]
        return Upkeep(int(metrics["numFilesRemoved"]), int(metrics["numFilesAdded"]))

    def vacuum(self, session: Any, name: str, hours: int) -> None:
        """VACUUM; the engine itself refuses less than its own safe retention, a week."""
        session.sql(f"VACUUM {quoted(name)} RETAIN {hours:d} HOURS").collect()


class Sail:
    """The embedded engine, over a catalog that speaks Unity Catalog's REST interface."""

    def clustering(self, columns: Sequence[str], *, liquid: bool) -> str:
        """PARTITIONED BY; sail does not know CLUSTER BY. Raises WarehouseError where it is asked for."""
        if liquid and columns:
            raise WarehouseError("sail has no liquid clustering: set unity.clustering to partition")
        return Delta().clustering(columns, liquid=False)

    def properties(self, table: Table) -> dict[str, str]:
        """No statistics of floats: sail 0.7 reads a constant column from them, as JSON numbers one bit off at times."""
        exact = [one.name for one in table.columns if one.type not in FLOATS and one.name not in table.partition_by]
        return {"delta.dataSkippingStatsColumns": ",".join(exact)}

    def version(self, session: Any, name: str) -> int:
        """sail has no DESCRIBE HISTORY; it publishes each commit in the table's log before it returns.

        Raises WarehouseError where that has no commit.
        """
        rows = _rows(session.sql(f"DESCRIBE EXTENDED {quoted(name)}"))
        [location] = [row["data_type"] for row in rows if row["col_name"] == "Location"]
        log = Path(unquote(urlsplit(location).path)) / "_delta_log"
        found = [int(hit.group(1)) for hit in map(_COMMIT.match, _listed(log)) if hit]
        if not found:
            raise WarehouseError(f"{name}: no commit in {log}; on sail a table's files must be seen from this machine")
        return max(found)

    def add_columns(self, session: Any, name: str, columns: Sequence[Column]) -> None:
        """sail has no ALTER TABLE ADD COLUMNS: an append of no rows with the wider schema, in one commit."""
        new = (f"CAST(NULL AS {SQL_TYPES[column.type]}) AS {quoted(column.name)}" for column in columns)
        frame = session.table(quoted(name)).where("FALSE").selectExpr("*", *new)
        frame.writeTo(quoted(name)).option("mergeSchema", "true").append()

    def optimize(self, session: Any, name: str) -> Upkeep:
        """Raises WarehouseError: sail has none."""
        raise WarehouseError(f"{name}: sail has no OPTIMIZE; run the maintenance on Databricks")

    def vacuum(self, session: Any, name: str, hours: int) -> None:
        """Raises WarehouseError: sail has none."""
        raise WarehouseError(f"{name}: sail has no VACUUM; run the maintenance on Databricks")


def definition(column: Column) -> str:
    """A column of CREATE TABLE or ALTER TABLE."""
    needed = "" if column.nullable else " NOT NULL"
    return f"{quoted(column.name)} {SQL_TYPES[column.type]}{needed} COMMENT {text_literal(column.description)}"


def temporary_view(session: Any, frame: Any) -> str:
    """Name `frame` in the session's SQL for a statement; the caller drops the view."""
    name = f"forecast_platform_{uuid.uuid4().hex}"
    frame.createOrReplaceTempView(name)
    return name


def is_absent(error: Exception) -> bool:
    """Whether the engine says that there is no such table (or no schema that could hold it)."""
    return _condition(error) in _ABSENT


def lacks_schema(error: Exception) -> bool:
    """Whether the engine says that the schema of a new table is not there. sail has a text for it, no condition."""
    return _condition(error) == "SCHEMA_NOT_FOUND" or str(error).startswith("Schema not found")


def is_conflict(error: Exception) -> bool:
    """Whether another writer's commit came in between; the write may be tried again."""
    condition = _condition(error) or ""
    return condition.startswith(_CONFLICTS) or _CONFLICT_TEXTS.search(str(error)) is not None


def is_session_lost(error: Exception) -> bool:
    """Whether the server no longer knows the session: it was idle for too long, or the server was started anew."""
    return (_condition(error) or "").startswith("INVALID_HANDLE.SESSION")


def said(error: Exception) -> str:
    """The first line of an engine's error; the rest is its plan or stack."""
    return hide((str(error).strip().splitlines() or [type(error).__name__])[0])[:600]


def _condition(error: Exception) -> str | None:
    """The error's condition: PySpark's own, or the one in brackets in the message, which is all that sail gives."""
    condition = getattr(error, "getCondition", lambda: None)()
    if condition:
        return str(condition)
    found = _CONDITION.search(str(error).splitlines()[0] if str(error) else "")
    return found.group(1) if found else None


def _rows(frame: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.toArrow().to_pylist()
    return found


def _listed(log: Path) -> list[str]:
    return [path.name for path in log.iterdir()] if log.is_dir() else []
