"""Event log storage for Dagster on SQLite that writes a batch of events in one transaction a database file.

Dagster's own class opens, commits and closes several connections for every event, 5 to 20 ms for each partition of a
run; `DAGSTER_EVENT_BATCH_SIZE` does not help there, because the SQLite storage loops over the batch. Named in
dagster.yaml, this class is imported by every process that opens the instance (webserver, daemon, run worker, command
line). Files and tables are those of the default storage: either class reads what the other wrote.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster
from dagster import AssetKey, DagsterEventType, DagsterInvariantViolationError, EventLogEntry, Field, StringSource
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetEventTagsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster_shared.serdes import deserialize_value
from sqlalchemy import inspect, select, text

from forecast_platform.graph.event_text import MaterializationTexts, made_partition
from forecast_platform.graph.kept_connections import engine_at

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine

BATCH_SIZE = 1000
"""Events a batch, unless DAGSTER_EVENT_BATCH_SIZE is set; 0 there turns batching off."""

KEPT_ENGINES = 4
"""Shards whose engine is kept: the index and a few runs, with 1.5 MB each. The webserver and the daemon see thousands
of runs, and a backfill one after the other."""

# Dagster reads the variable at each event, so setting it on import is early enough: no event is stored before the
# instance has loaded its storage.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))

_REVISION = text("SELECT version_num FROM alembic_version")

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
        self._tables: set[str] = set()
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
        """Store `events`, of one run or several, in their order, as `store_event` of the parent would one by one.

        Raises DagsterInvariantViolationError where the database gives an event no id.
        """
        # Serialising comes before any lock is taken.
        rows = self._rows(events)
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
                _insert(run_shard, SqlEventLogStorageTable, by_run[run_id])

    def _rows(self, events: Sequence[EventLogEntry]) -> list[dict[str, Any]]:
        """The rows of event_logs, those of a batch's partitions at a tenth of the parent's cost."""
        texts, name_of = MaterializationTexts(), cache(AssetKey.to_string)
        rows = []
        for event in events:
            made = made_partition(event)
            if made is None:
                rows.append(self._event_to_row(event))
                continue
            inner = event.get_dagster_event()
            rows.append(
                {
                    "run_id": event.run_id,
                    "event": texts.text(event, made),
                    "dagster_event_type": inner.event_type_value,
                    "timestamp": self._event_insert_timestamp(event),
                    "step_key": inner.step_key,
                    "asset_key": name_of(made.asset_key),
                    "partition": made.partition,
                }
            )
        return rows

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Connection to the index shard; inside a batch, the batch's own, so that the parent's helpers join it."""
        return self._join_or_connect()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction on a shard, on a connection that no other has meanwhile.

        As the parent's, with one engine kept for each of the shards used last: the parent makes one for every
        connection, and with it goes the memory of compiled statements, which costs more than the statements do.
        """
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                if shard != INDEX_SHARD_NAME:
                    self._copy_empty(shard)
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Make the tables where there are none: as the parent, which reads all of Dagster's migrations to find out."""
        with engine.connect() as connection:
            if inspect(connection).has_table("alembic_version") and connection.execute(_REVISION).first():
                return
        super()._initdb(engine, for_index_shard)

    def _copy_empty(self, run_id: str) -> None:
        """Begin a run's shard as a copy of an empty one, which Dagster makes once for each of its versions.

        Making the tables and stamping them takes 0.4 s of every run. Where another process makes this shard at this
        moment, or the file system knows no links, the parent's way is left to do it.
        """
        shard = Path(self.path_for_shard(run_id))
        if shard.exists():
            return
        empty = shard.with_name(f"empty-{dagster.__version__}")
        if not empty.exists():
            made = empty.with_name(f"{empty.name}-{uuid.uuid4().hex}")
            maker = engine_at(f"sqlite:///{made}")
            super()._initdb(maker)
            maker.dispose()
            made.replace(empty)
        copy = shard.with_name(f"{shard.name}-{uuid.uuid4().hex}")
        shutil.copyfile(empty, copy)
        with suppress(OSError):
            shard.hardlink_to(copy)
        copy.unlink()

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = engine_at(self.conn_string_for_shard(shard))
        self._engines[shard] = engine
        while len(self._engines) > KEPT_ENGINES:
            # One that is in use elsewhere stays open until it is given back.
            self._engines.pop(next(iter(self._engines))).dispose()
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
        _insert(index, SqlEventLogStorageTable, rest)
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

    def _store_asset_event_tags(
        self, conn: Connection, events: Sequence[EventLogEntry], event_ids: Sequence[int]
    ) -> None:
        """Write the tags by which events are found, as the parent does, without its look-ups for every tag."""
        name_of, kept_of = cache(AssetKey.to_string), cache(self._indexed_tags)
        rest: list[tuple[EventLogEntry, int]] = []
        rows = []
        for event, event_id in zip(events, event_ids, strict=True):
            made = made_partition(event)
            if made is None:
                rest.append((event, event_id))
                continue
            tags = made.tags or {}
            row = {
                "event_id": event_id,
                "asset_key": name_of(made.asset_key),
                "event_timestamp": self._event_insert_timestamp(event),
            }
            rows += [{**row, "key": key, "value": tags[key]} for key in kept_of(tuple(tags))]
        if rest:
            super()._store_asset_event_tags(conn, [event for event, _ in rest], [event_id for _, event_id in rest])
        if rows and self.has_table(AssetEventTagsTable.name):
            _insert(conn, AssetEventTagsTable, rows)

    def _indexed_tags(self, keys: tuple[str, ...]) -> list[str]:
        indexed = self.get_asset_tags_to_index(set(keys))
        return [key for key in keys if key in indexed]

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

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        """True: a run over a range plans each asset in one event that names the range, not in one for each partition.

        Dagster's own SQL storages take that at the price of failed partitions that look missing
        (https://github.com/dagster-io/dagster/issues/32242); the query below reads the ranges, so none does here.
        """
        return True

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """By partition, the run and the id of its newest planned event, where no materialization came after it."""
        attempts = dict(
            super().get_latest_asset_partition_materialization_attempts_without_materializations(
                asset_key, after_storage_id
            )
        )
        ranges = self._planned_ranges(asset_key, after_storage_id)
        if not ranges:
            return attempts
        made = self.get_latest_storage_id_by_partition(
            asset_key, DagsterEventType.ASSET_MATERIALIZATION, after_cursor=ranges[0][0]
        )
        for event_id, run_id, partitions in ranges:
            for partition in partitions:
                if made.get(partition, 0) < event_id and attempts.get(partition, ("", 0))[1] < event_id:
                    attempts[partition] = (run_id, event_id)
        return attempts

    def _planned_ranges(self, asset_key: AssetKey, after: int | None) -> list[tuple[int, str, list[str]]]:
        """Id, run and partitions of each planned event that names a range, oldest first."""
        table = SqlEventLogStorageTable.c
        query = (
            select(table.id, table.run_id, table.event)
            .where(
                table.asset_key == asset_key.to_string(),
                table.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
                table.partition.is_(None),
                table.id > (after or 0),
            )
            .order_by(table.id)
        )
        # What was planned before the asset was wiped is left out, as in the parent's query.
        query = self._add_assets_wipe_filter_to_query(query, self._get_assets_details([asset_key]), [asset_key])
        with self.index_connection() as connection:
            rows = connection.execute(query).all()
        found = []
        for event_id, run_id, stored in rows:
            planned = deserialize_value(stored, EventLogEntry).get_dagster_event().asset_materialization_planned_data
            if planned.partitions_subset is not None:
                found.append((event_id, run_id, list(planned.partitions_subset.get_partition_keys())))
        return found

    def has_table(self, table_name: str) -> bool:
        """Whether the index shard has the table. What is there stays: every asset event and check asks for some."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Stop watching runs, and close the connections that are kept."""
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()

    def upgrade(self) -> None:
        """Migrate the schema, and forget what was known of it."""
        super().upgrade()
        self.__dict__.pop("_has_asset_index_columns", None)


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name the same columns, each value as its column's type stores it.

    SQLAlchemy's executemany builds the parameters of each row anew, at several times what SQLite takes to write it.
    """
    if not rows:
        return
    dialect, names = connection.dialect, list(rows[0])
    columns = []
    for name in names:
        stored = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        values = [row[name] for row in rows]
        columns.append([stored(value) for value in values] if stored else values)
    asked = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - names of Dagster's own columns
    connection.exec_driver_sql(asked, list(zip(*columns, strict=True)))
