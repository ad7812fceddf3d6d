"""Unity Catalog tables through Spark: on a Databricks cluster, over Databricks Connect, or over sail."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from forecast_platform.forecasting.horizon import DEFAULT, of_columns
from forecast_platform.warehouse.base import LostRaceError, WarehouseError, Where, require_partition_columns
from forecast_platform.warehouse.checking import (
    ATTEMPTS,
    check_columns,
    check_horizon,
    check_keys,
    checked,
    in_order,
    lacking_columns,
)
from forecast_platform.warehouse.predicates import quoted, spark_sql, text_literal
from forecast_platform.warehouse.schemas import DELTA_TYPES, DISTRIBUTIONS, FORECAST_METADATA, Column, Table
from forecast_platform.warehouse.unity_dialect import (
    Dialect,
    Upkeep,
    definition,
    dialect_of,
    is_absent,
    is_conflict,
    is_session_lost,
    lacks_schema,
    said,
    temporary_view,
)

if TYPE_CHECKING:
    import pyarrow as pa

_GRANTS = "docs/databricks.md, Unity Catalog, lists the grants that are needed"


class UnityWarehouse:
    """Tables catalog.schema.table of a Unity Catalog. Each write is one commit of one statement.

    The session is asked for on first use and kept while it lasts. `catalog` takes the place of the first part of the
    tables' names, so that a test's tables lie beside the production ones. Where Spark fails a call raises
    WarehouseError; reads and writes raise HorizonError where the stored table is of another horizon.
    """

    def __init__(
        self,
        session: Callable[[], Any],
        *,
        catalog: str | None = None,
        liquid: bool = False,
        properties: Mapping[str, str] | None = None,
        horizon: int = DEFAULT,
    ) -> None:
        self._source = session
        self.horizon = horizon
        self.catalog = catalog
        self.liquid = liquid
        self.properties = dict(properties or {})
        self._lock = threading.Lock()
        self._session: Any = None

    @property
    def session(self) -> Any:
        """The Spark session. Raises what its source raises where none can be had."""
        with self._lock:
            # A Connect session ends where its server was started anew. A classic one knows no such thing.
            if self._session is None or getattr(self._session, "is_stopped", False):
                self._session = self._source()
            return self._session

    @cached_property
    def dialect(self) -> Dialect:
        """What this session's engine can do."""
        return dialect_of(self.session)

    def name(self, table: Table) -> str:
        """The table's three-level name in this catalog, not quoted."""
        catalog, rest = table.name.split(".", 1)
        return f"{self.catalog or catalog}.{rest}"

    def stored_horizon(self) -> tuple[int, str] | None:
        """Days that the stored forecasts cover, and the table that tells; None where there is none yet."""
        for table in (DISTRIBUTIONS, FORECAST_METADATA):
            found = of_columns(self.stored_columns(table) or ())
            if found is not None:
                return found, self.name(table)
        return None

    def version(self, table: Table) -> int | None:
        """The table's current version; None where it does not exist yet."""
        name = self.name(table)
        return self._tried(table, lambda: self.dialect.version(self.session, name))

    def rows(self, table: Table, where: Where | None = None) -> int:
        """The number of rows, of partitions that match `where`: a count that Delta answers from its statistics.

        Raises ValueError where `where` names a column that the table is not partitioned by.
        """
        where = where or {}
        require_partition_columns(table, where)

        def count() -> int:
            frame = self.frame(table)
            return int((frame.where(spark_sql(where)) if where else frame).count())

        counted = self._tried(table, count)
        return 0 if counted is None else int(counted)

    def let_go(self) -> None:
        """Nothing is kept of the tables; the session is its source's."""

    def stored_columns(self, table: Table) -> list[str] | None:
        """The columns of the stored table, in order; None where it does not exist yet."""
        stored = self.stored_types(table)
        return None if stored is None else list(stored)

    def stored_types(self, table: Table) -> dict[str, str] | None:
        """Type of each stored column as Delta names it (integer, double...), in order; None where there is no table."""
        return self._tried(table, lambda: {one.name: one.dataType.typeName() for one in self.frame(table).schema})

    def frame(self, table: Table) -> Any:
        """The table as a Spark DataFrame."""
        return self.session.table(quoted(self.name(table)))

    def read(self, table: Table, columns: Sequence[str] | None = None, where: Where | None = None) -> pa.Table:
        """The rows that match `where`: Spark prunes columns and files, only the result comes here."""
        import pyarrow as pa

        where = where or {}
        table = table.at(self.horizon)
        stored = self.stored_columns(table)
        if stored is None:
            empty = table.arrow_schema().empty_table()
            return empty if columns is None else empty.select(list(columns))
        check_horizon(table, stored)
        check_columns(table, stored, columns, where)
        names = in_order(table, stored) if columns is None else list(columns)
        found = self._tried(
            table, lambda: self.frame(table).where(spark_sql(where)).select(*map(quoted, names)).toArrow()
        )
        if found is None:  # dropped in between
            return self.read(table, columns, where)
        # The engine's own types vary (large strings, the session's zone): the instants and values do not. Columns that
        # are not the schema's (covariates, those of a later version of this package) are as they are stored.
        fields = {field.name: field for field in (*found.schema, *table.arrow_schema())}
        return found.cast(pa.schema([fields[name] for name in names]))

    def batches(self, table: Table, columns: Sequence[str], where: Where) -> Iterator[pa.RecordBatch]:
        """See `Warehouse.batches`: a query for each of the models that are named, whose rows are in memory at once."""
        named = where.get("model_name")
        parts = [{**where, "model_name": one} for one in dict.fromkeys(named)] if isinstance(named, list) else [where]
        for part in parts:
            yield from self.read(table, columns, part).to_batches()

    def replace(self, table: Table, data: pa.Table, where: Where, since: int | None = None) -> int:
        """Atomically replace exactly the rows that match `where` by `data`; returns the new version.

        `since` is compared with the version at which the statement is sent, and the engine looks for conflicts from its
        own snapshot on; any commit after `since` loses the race, whatever its keys. Raises LostRaceError then, or where
        others kept winning, and WarehouseError where the write failed.
        """
        table = table.at(self.horizon)
        prepared = checked(table, data, where)
        if table.whole and not where:
            self._drop_other(table, prepared.schema.names)
        self._ready(table, prepared.schema.names)
        if since is not None and (found := self.version(table)) != since:
            raise LostRaceError(
                f"{self.name(table)}: it is at version {found}, what is to be replaced was read at {since}; nothing "
                "was written: run it again"
            )
        attempts = ATTEMPTS if since is None else 1
        if prepared.num_rows == 0:
            statement = f"DELETE FROM {quoted(self.name(table))} WHERE {spark_sql(where)}"  # noqa: S608 - quoted
            self._write(table, where, lambda: self.session.sql(statement).collect(), attempts)
        else:
            frame = self.session.createDataFrame(prepared)
            self._write(table, where, lambda: self._insert(table, frame, prepared.schema.names, where), attempts)
        version = self.version(table)
        return -1 if version is None else version

    def replace_frame(self, table: Table, frame: Any, where: Where) -> None:
        """As `replace`, with the rows still in Spark: one commit; that they lie inside `where` is the caller's care.

        Not tried again on a conflict, because that would make the rows again: the job is what is tried again. Raises
        LostRaceError then, WarehouseError where `where` names a column that no key may be.
        """
        table = table.at(self.horizon)
        check_keys(table, where)
        names = [column.name for column in table.columns]
        self._ready(table, names)
        self._write(table, where, lambda: self._insert(table, frame, names, where), attempts=1)

    def create(self, table: Table) -> None:
        """Create the table where it does not exist yet, and its schema; the catalog must be there."""
        with self._explained(table, "create the table"):
            statement = self.create_statement(table)
            try:
                self._made(table, statement)
            except Exception:
                # Two writers at once: IF NOT EXISTS is no lock, and engines differ in how they tell the second one.
                if not self._is_there(table):
                    raise

    def _is_there(self, table: Table) -> bool:
        """Whether the table can be read: for where another error is at hand that says more than one of looking."""
        try:
            return self.stored_types(table) is not None
        except WarehouseError:
            return False

    def _made(self, table: Table, statement: str) -> None:
        try:
            self.session.sql(statement).collect()
        except Exception as error:
            if not lacks_schema(error):
                raise
            self.session.sql(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.name(table).rsplit('.', 1)[0])}").collect()
            self.session.sql(statement).collect()

    def create_statement(self, table: Table) -> str:
        """The statement that makes the table: columns with comments, layout, properties. Raises WarehouseError."""
        table = table.at(self.horizon)
        parts = [
            f"CREATE TABLE IF NOT EXISTS {quoted(self.name(table))}",
            f"({', '.join(definition(column) for column in table.columns)})",
            "USING DELTA",
            self.dialect.clustering(table.partition_by, liquid=self.liquid),
            f"COMMENT {text_literal(table.description)}",
        ]
        properties = {**self.dialect.properties(table), **self.properties}
        if properties:
            pairs = (f"{text_literal(key)} = {text_literal(value)}" for key, value in sorted(properties.items()))
            parts.append(f"TBLPROPERTIES ({', '.join(pairs)})")
        return " ".join(part for part in parts if part)

    def add_columns(self, table: Table, columns: Sequence[Column]) -> None:
        """Add columns to the stored table, which exists; rows that are there get null."""
        with self._explained(table, f"add the columns {', '.join(column.name for column in columns)}"):
            self.dialect.add_columns(self.session, self.name(table), columns)

    def optimize(self, table: Table) -> Upkeep | None:
        """Merge small files; None where the table does not exist yet. Raises WarehouseError."""
        return self._tried(table, lambda: self.dialect.optimize(self.session, self.name(table)))

    def vacuum(self, table: Table, hours: int) -> bool:
        """Delete files that no version of the last `hours` refers to; False where the table does not exist yet."""
        if self.stored_columns(table) is None:
            return False
        self._tried(table, lambda: self.dialect.vacuum(self.session, self.name(table), hours))
        return True

    def _drop_other(self, table: Table, names: Sequence[str]) -> None:
        """Remove the stored table where it has other columns or types than these: all of it is to be replaced."""
        own = {column.name: DELTA_TYPES[column.type] for column in table.columns}
        stored = self.stored_types(table)
        if stored is not None and stored != {name: own.get(name, "double") for name in names}:
            with self._explained(table, "drop the table, whose columns are others"):
                self.session.sql(f"DROP TABLE IF EXISTS {quoted(self.name(table))}").collect()

    def _ready(self, table: Table, names: Sequence[str]) -> None:
        """The table is there, with this version's columns, and those of `names` that it is open to."""
        stored = self.stored_columns(table)
        if stored is None:
            self.create(table)
            stored = [column.name for column in table.columns]
        check_horizon(table, stored)
        lacking = lacking_columns(table, stored)
        if lacking:
            raise WarehouseError(
                f"{table.name}: the write failed, nothing of it was kept; it has no column {', '.join(lacking)}: run "
                "`forecast-platform migrate`"
            )
        if set(names) - set(stored):
            self._write(table, {}, lambda: self._widen(table, names))

    def _widen(self, table: Table, names: Sequence[str]) -> None:
        """Add the covariates that are not there yet; another writer may add some at the same moment."""
        lacking = self._lacking(table, names)
        while lacking:
            try:
                self.dialect.add_columns(self.session, self.name(table), lacking)
                return
            except Exception:
                left = self._lacking(table, names)
                if left == lacking:
                    raise
                lacking = left

    def _lacking(self, table: Table, names: Sequence[str]) -> list[Column]:
        stored = self.stored_columns(table) or []
        return [Column(name, "float", "Declared covariate.") for name in names if name not in stored]

    def _insert(self, table: Table, frame: Any, names: Sequence[str], where: Where) -> None:
        """One statement, one commit. Never partitionOverwriteMode: sail replaces the whole table."""
        stored = {one.name: one.dataType.simpleString() for one in self.frame(table).schema}
        picked = ", ".join(
            quoted(one) if one in names else f"CAST(NULL AS {kind}) AS {quoted(one)}" for one, kind in stored.items()
        )
        view = temporary_view(self.session, frame)
        try:
            target = f"{quoted(self.name(table))} REPLACE WHERE {spark_sql(where)}"
            self.session.sql(f"INSERT INTO {target} SELECT {picked} FROM {quoted(view)}").collect()  # noqa: S608 - quoted
        finally:
            self.session.catalog.dropTempView(view)

    def _write(self, table: Table, where: Where, write: Callable[[], Any], attempts: int = ATTEMPTS) -> None:
        for attempt in range(1, attempts + 1):
            try:
                write()
                return
            except WarehouseError:
                raise
            except Exception as error:
                if not is_conflict(error):
                    raise WarehouseError(
                        f"{self.name(table)}: the write failed, nothing of it was kept: {said(error)}"
                    ) from error
                if attempt == attempts:
                    raise LostRaceError(
                        f"{self.name(table)}: another process kept writing the same keys ({spark_sql(where)}); run it "
                        "again"
                    ) from error
                time.sleep(random.uniform(0.05, min(0.2 * attempt, 4.0)))  # noqa: S311 - jitter

    def _tried(self, table: Table, call: Callable[[], Any]) -> Any:
        """What `call` returns; None where the table is not there. Raises WarehouseError."""
        with self._explained(table, "read the table"):
            try:
                return self._with_a_session(call)
            except Exception as error:
                if not is_absent(error):
                    raise
                return None

    def _with_a_session(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, with a new session where the server has forgotten ours. Every write begins by a read."""
        session = self.session
        try:
            return call()
        except Exception as error:
            if not is_session_lost(error):
                raise
            with self._lock:
                # Threads lose it together: the first replaces it, the others take what it made.
                if self._session is session:
                    session.client.close()  # so that whoever else keeps it sees that it has ended
                    self._session = None
            return call()

    @contextmanager
    def _explained(self, table: Table, what: str) -> Iterator[None]:
        """The engine's errors as ours, with the grants that may be lacking."""
        session = self.session  # its own errors name their mend
        try:
            yield
        except WarehouseError:
            raise
        except Exception as error:
            if not type(error).__module__.startswith(("pyspark", "databricks", "grpc", "py4j")):
                raise
            raise WarehouseError(
                f"{self.name(table)}: cannot {what} with {type(session).__name__}: {said(error)} ({_GRANTS})"
            ) from error
