"""Event log storage for Dagster on SQLite that writes a batch of events in one transaction a database file.

Dagster's own class opens, commits and closes several connections for every event, 5 to 20 ms for each partition of a
run; `DAGSTER_EVENT_BATCH_SIZE` does not help there, because the SQLite storage loops over the batch. Named in
dagster.yaml, this class is imported by every process that opens the instance (webserver, daemon, run worker, command
line). Files and tables are those of the default storage: either class reads what the other wrote.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import DagsterEventType, DagsterInvariantViolationError, Field, StringSource
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetEventTagsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import NullPool

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy.engine import Connection, Engine

BATCH_SIZE = 1000
"""Events a batch, unless DAGSTER_EVENT_BATCH_SIZE is set; 0 there turns batching off."""

KEPT_ENGINES = 16
"""Shards whose engine is kept: the index and some runs. The webserver and the daemon see thousands of runs."""

# Dagster reads the variable at each event, so setting it on import is early enough: no event is stored before the
# instance has loaded its storage.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))

_MIRRORED = frozenset({*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS})


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SQLite event log storage, sharded by run, with batched writes.

    `base_dir` is the instance's root folder, `instance_home()` where unset; the databases lie in
    `<base_dir>/history/runs`, where the default storage keeps them, so an existing instance's history is found.

    A batch is one transaction in each run's shard and one in the index shard. Rows are written to all of them before
    any is committed, so an error leaves nothing behind. Commits follow Dagster's order, run shard first: a process
    that dies between the two leaves the events in the run's log alone, and the partitions unmaterialized.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._joined = threading.local()
        self._engines: dict[str, Engine] = {}
        super().__init__(str(Path(base_dir) / "history" / "runs"), inst_data=inst_data)
        # A batch holds connections to several shards at once; the parent's lock admits one.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """`base_dir`, optional."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteEventLogStorage:
        """This class from dagster.yaml's `config` block (the parent's method returns the parent's class)."""
        from forecast_platform.host.home import instance_home, one_creates

        home = Path(config_value.get("base_dir") or instance_home())
        with one_creates(home / "history"):
            return cls(str(home), inst_data=inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event: a batch of one."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store `events`, of one run or several, in their order, as `store_event` of the parent would one by one."""
        # Serialising comes before any lock is taken.
        rows = [self._event_to_row(event) for event in events]
        by_run: dict[str, list[dict[str, Any]]] = {}
        mirrored: list[tuple[EventLogEntry, dict[str, Any]]] = []
        for event, row in zip(events, rows, strict=True):
            by_run.setdefault(event.run_id, []).append(row)
            if event.is_dagster_event and event.dagster_event_type in _MIRRORED:
                mirrored.append((event, row))
        with ExitStack() as shards:
            # First in, last committed; all writers take the index's lock before a run's, so none waits in a circle.
            index = shards.enter_context(self._index_transaction()) if mirrored else None
            if index is not None:
                self._write_index(index, mirrored)
            for run_id in sorted(by_run):
                run_shard = shards.enter_context(self.run_connection(run_id))
                run_shard.execute(SqlEventLogStorageTable.insert(), by_run[run_id])

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Connection to the index shard; inside a batch, the batch's own, so that the parent's helpers join it."""
        return self._join_or_connect()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction on a connection of its own to a shard.

        As the parent's, with one engine kept for each of the shards used last: the parent makes one for every
        connection, and with it goes the memory of compiled statements, which costs more than the statements do.
        """
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
        self._engines[shard] = engine
        while len(self._engines) > KEPT_ENGINES:
            # No pool, so an engine holds no connection: one that is in use elsewhere may be forgotten.
            self._engines.pop(next(iter(self._engines)))
        return engine

    @contextmanager
    def _join_or_connect(self) -> Iterator[Connection]:
        joined = getattr(self._joined, "connection", None)
        if joined is not None:
            yield joined
            return
        with super().index_connection() as connection:
            yield connection

    @contextmanager
    def _index_transaction(self) -> Iterator[Connection]:
        with super().index_connection() as connection:
            self._joined.connection = connection
            try:
                yield connection
            finally:
                self._joined.connection = None

    def _write_index(self, index: Connection, mirrored: Sequence[tuple[EventLogEntry, dict[str, Any]]]) -> None:
        # The first insert takes the write lock and the next id; ids of the rest follow it.
        inserted = index.execute(SqlEventLogStorageTable.insert().values(**mirrored[0][1])).inserted_primary_key
        if inserted is None:
            raise DagsterInvariantViolationError("the index shard's event_logs gave no id for an inserted event")
        first = int(inserted[0])
        rest = [{"id": first + offset, **row} for offset, (_, row) in enumerate(mirrored[1:], start=1)]
        if rest:
            index.execute(SqlEventLogStorageTable.insert(), rest)
        asset_events: list[EventLogEntry] = []
        ids: list[int] = []
        for event_id, (event, _) in enumerate(mirrored, start=first):
            if event.dagster_event_type in ASSET_EVENTS:
                asset_events.append(event)
                ids.append(event_id)
            elif event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, event_id)
        if asset_events:
            self._store_asset_event_tags(index, asset_events, ids)
            self._write_asset_keys(index, asset_events, ids)

    def _write_asset_keys(self, index: Connection, events: Sequence[EventLogEntry], ids: Sequence[int]) -> None:
        """Leave each asset's row as writing event after event would: a later event overwrites the columns it sets.

        Events of one type set the same columns, so only the last of each type counts.
        """
        latest: dict[tuple[str, DagsterEventType | None], tuple[EventLogEntry, int]] = {}
        for event, event_id in zip(events, ids, strict=True):
            asset_key = event.get_dagster_event().asset_key
            if asset_key is None:
                continue
            name = (asset_key.to_string(), event.dagster_event_type)
            latest.pop(name, None)
            latest[name] = (event, event_id)
        values: dict[str, dict[str, Any]] = {}
        for (asset, _), (event, event_id) in latest.items():
            columns = self._get_asset_entry_values(event, event_id, self._has_asset_index_columns)
            values.setdefault(asset, {}).update(columns)
        for asset, columns in values.items():
            if not columns:
                continue
            update = AssetKeyTable.update().values(**columns).where(AssetKeyTable.c.asset_key == asset)
            if index.execute(update).rowcount == 0:
                index.execute(AssetKeyTable.insert().values(asset_key=asset, **columns))

    @cached_property
    def _has_asset_index_columns(self) -> bool:
        return self.has_asset_key_index_cols()

    @cached_property
    def _has_asset_event_tags(self) -> bool:
        return super().has_table(AssetEventTagsTable.name)

    def has_table(self, table_name: str) -> bool:
        """Whether the index shard has the table; looked up once for the tags' table, which every asset event needs."""
        return self._has_asset_event_tags if table_name == AssetEventTagsTable.name else super().has_table(table_name)

    def upgrade(self) -> None:
        """Migrate the schema, and forget what was known of it."""
        super().upgrade()
        for name in ("_has_asset_index_columns", "_has_asset_event_tags"):
            self.__dict__.pop(name, None)
