"""The embedded warehouse: Delta Lake tables in a local folder, through delta-rs."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from forecast_platform.forecasting.horizon import DEFAULT, day_columns, of_columns
from forecast_platform.warehouse.base import (
    DiskFullError,
    LostRaceError,
    WarehouseError,
    Where,
    require_partition_columns,
)
from forecast_platform.warehouse.checking import (
    ATTEMPTS,
    check_columns,
    checked,
    in_order,
    lacking_columns,
)
from forecast_platform.warehouse.journal import FOLDER, LOG, Journal, entry_of
from forecast_platform.warehouse.new_files import FROM_ROWS, NewFiles, parts
from forecast_platform.warehouse.opened import Opened, damaged
from forecast_platform.warehouse.predicates import delta_sql
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, TABLES, Table
from forecast_platform.warehouse.stored_rows import StoredRows

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable, WriterProperties

_BATCH_ROWS = 2**14
"""Rows handed to the writer at a time: 3 MB of paths."""

_GROUP_ROWS = 2**16
"""Rows of a file that the writer holds in memory before it writes them: a month of 2,000 paths a day."""

_LONGEST_STATISTIC = 64
"""Bytes of a text that its column's statistics keep, as delta-rs does by itself."""


class DeltaWarehouse:
    """Tables under `root`, laid out catalog/schema/table. Safe for several processes; not across a fork.

    Whatever opens a stored table raises HorizonError where that is of another horizon, DamageError where it cannot be
    read.
    """

    def __init__(self, root: Path, *, min_free_gb: float = 0.0, horizon: int = DEFAULT) -> None:
        self.root = root
        self.min_free_gb = min_free_gb
        self.horizon = horizon
        self._opened = Opened()
        self.journal = Journal(root)

    def path(self, table: Table) -> Path:
        """The table's folder."""
        return self.root.joinpath(*table.name.split("."))

    def tables(self) -> tuple[Table, ...]:
        """The tables of `schemas`, and the others that were written here and are there, such as workflows'."""
        known, folder = {table.name for table in TABLES}, self.root / FOLDER
        names = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else ()
        others = (Table(name, "", (), (), (), open_columns=True) for name in names)
        return (*TABLES, *(one for one in others if self.path(one).is_dir()))

    def stored_horizon(self) -> tuple[int, str] | None:
        """Days that the stored forecasts cover, and the table that tells; None where there is none yet."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        for table in (DISTRIBUTIONS, FORECAST_METADATA):
            path = self.path(table)
            try:
                if not (path / LOG).is_dir() or not DeltaTable.is_deltatable(str(path)):
                    continue
                found = of_columns(field.name for field in DeltaTable(str(path)).schema().fields)
            except (DeltaError, ValueError) as error:
                raise damaged(table, error) from error
            if found is not None:
                return found, table.name
        return None

    def version(self, table: Table) -> int | None:
        """The table's current version; None where it does not exist yet."""
        found = self._table(table)
        return None if found is None else found.version()

    def state(self, table: Table) -> bytes | None:
        """The log entry of the table's newest version: tells this state from all others, also from one of the same
        number that was restored over or made anew. None where there is no table, or the entry is gone."""
        version = self.version(table)
        if version is None:
            return None
        try:
            return entry_of(self.path(table), version).read_bytes()
        except FileNotFoundError:
            return None

    def rows(self, table: Table, where: Where | None = None) -> int:
        """The number of rows, of partitions that match `where`, from the table's own statistics.

        Raises ValueError where `where` names a column that the table is not partitioned by.
        """
        where = where or {}
        require_partition_columns(table, where)
        found = self._table(table)
        if found is None:
            return 0
        return int(sum(count or 0 for count in self._opened.files(table, found, where)["num_records"].to_pylist()))

    def files(self, table: Table) -> list[str]:
        """The table's files as of now, sorted; what else lies in its folder was replaced."""
        found = self._table(table)
        return [] if found is None else sorted(found.file_uris())

    def let_go(self) -> None:
        """Close the tables that are open; each is opened anew where it is asked for."""
        self._opened.forget_all()

    def create(self, table: Table) -> None:
        """Create the table where it does not exist yet, for another engine to write to. Raises DiskFullError."""
        self._create(table, table.at(self.horizon).arrow_schema())

    def check_space(self, size: int) -> None:
        """Raise DiskFullError where `size` more bytes would leave too little free space."""
        self._check_disk(size)

    def read(self, table: Table, columns: Sequence[str] | None = None, where: Where | None = None) -> pa.Table:
        """The rows that match `where`; files outside its partitions are not opened.

        Raises WarehouseError where the stored table lacks a column that is asked for.
        """
        table = table.at(self.horizon)
        found = self._table(table)
        if found is None:
            schema = table.arrow_schema()
            return schema.empty_table() if columns is None else schema.empty_table().select(list(columns))
        return self._stored(table, found, columns, where or {}).all()

    def batches(self, table: Table, columns: Sequence[str], where: Where) -> Iterator[pa.RecordBatch]:
        """See `Warehouse.batches`: file by file, in this thread."""
        table = table.at(self.horizon)
        found = self._table(table)
        if found is not None:
            yield from self._stored(table, found, columns, where).batches()

    def _stored(self, table: Table, found: DeltaTable, columns: Sequence[str] | None, where: Where) -> StoredRows:
        import pyarrow as pa

        schema = pa.schema(found.schema().to_arrow())
        check_columns(table, schema.names, columns, where)
        names = in_order(table, schema.names) if columns is None else list(columns)
        files = self._opened.files(table, found, {name: where[name] for name in table.partition_by if name in where})
        return StoredRows(table, self.path(table), schema, files, names, where)

    def replace(self, table: Table, data: pa.Table, where: Where, since: int | None = None) -> int:
        """Atomically replace exactly the rows that match `where` by `data`; returns the new version, once it is on disk
        and not in memory alone.

        Raises LostRaceError where another process changed them after `since`, DiskFullError where the disk is full,
        else WarehouseError where the write failed or others kept writing the same keys.
        """
        table = table.at(self.horizon)
        prepared = checked(table, data, where)
        self._check_disk(prepared.nbytes)
        self._create(table, prepared.schema)
        with self._new_files(table) as new:
            return self._replace(table, prepared, where, since, new)

    def _replace(self, table: Table, prepared: pa.Table, where: Where, since: int | None, new: NewFiles) -> int:
        import pyarrow as pa
        from deltalake import DeltaTable, write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        many = since is None and prepared.num_rows >= FROM_ROWS
        apart = parts(prepared, table.partition_by, where) if many else None
        for attempt in range(ATTEMPTS):
            newest = self._table(table)
            assert newest is not None  # noqa: S101 - created above
            before = newest.version()
            # delta-rs looks for rows of `where` in every commit after the version that it writes from.
            target = newest if since is None or since == before else DeltaTable(str(self.path(table)), version=since)
            try:
                if apart and self._nothing_there(table, newest, prepared, where):
                    new.write(prepared, apart, day_columns(self.horizon))
                    new.add_to(newest, prepared.schema, table.partition_by)
                else:
                    # No rows, too: delta-rs' delete leaves text in a type that Arrow cannot compare.
                    write_deltalake(
                        target,
                        # A batch at a time: given a table, delta-rs holds all of it twice while it cuts it into files.
                        pa.RecordBatchReader.from_batches(prepared.schema, prepared.to_batches(_BATCH_ROWS)),
                        mode="overwrite",
                        predicate=delta_sql(where) or None,
                        writer_properties=self.writer_properties,
                        schema_mode=_schema_mode(table, target, prepared, where),
                    )
                refreshed = self.version(table)
                assert refreshed is not None  # noqa: S101 - just written
                self._settle(table, before + 1, refreshed)
                return refreshed
            except CommitFailedError as conflict:
                self._opened.forget(table.name)
                if since is not None:
                    raise LostRaceError(
                        f"{table.name}: another process has changed {delta_sql(where)} since it was read; nothing was "
                        "written: run it again"
                    ) from conflict
                if attempt == ATTEMPTS - 1:
                    raise WarehouseError(
                        f"{table.name}: another process kept writing the same keys ({delta_sql(where)}); run it again"
                    ) from conflict
                time.sleep(random.uniform(0.05, min(0.2 * (attempt + 1), 4.0)))  # noqa: S311 - jitter
            except OSError as error:
                self._opened.forget(table.name)
                raise self._disk_error(table, error) from error
            except DeltaError as error:
                self._opened.forget(table.name)
                if "No space left" in str(error) or "os error 28" in str(error):
                    raise self._disk_error(table, error) from error
                there = [item.name for item in target.schema().fields]
                lacking = lacking_columns(table, there)
                mend = f"; it has no column {', '.join(lacking)}: run `forecast-platform migrate`" if lacking else ""
                raise WarehouseError(
                    f"{table.name}: the write failed, nothing of it was kept: {error}{mend}"
                ) from error
        raise WarehouseError(f"{table.name}: unreachable")

    @contextmanager
    def _new_files(self, table: Table) -> Iterator[NewFiles]:
        """Files to be written in the table's folder; at the end of this those are removed that are no part of it."""
        new = NewFiles(self.path(table))
        try:
            yield new
        finally:
            # A commit may be there although what followed it failed, such as its checkpoint on a full disk. What a
            # table that cannot be read holds is not known: vacuum removes what is no part of it.
            if new.are_loose:
                with suppress(WarehouseError):
                    new.discard(self.files(table))

    def _nothing_there(self, table: Table, newest: DeltaTable, data: pa.Table, where: Where) -> bool:
        """Whether the partitions of `where` hold no rows, and the table has the columns of `data`."""
        partitions = {name: where[name] for name in table.partition_by if name in where}
        same = {field.name for field in newest.schema().fields} == set(data.column_names)
        return same and not table.whole and not self._opened.files(table, newest, partitions).num_rows

    def _table(self, table: Table) -> DeltaTable | None:
        return self._opened.table(table.at(self.horizon), self.path(table))

    def settle(self, table: Table, first: int) -> None:
        """Write through to the disk, and record, the versions from `first` on, which were committed by other means than
        `replace`. Raises DiskFullError."""
        version = self.version(table)
        if version is not None:
            self._settle(table, first, version)

    def _settle(self, table: Table, first: int, last: int) -> None:
        try:
            self.journal.settle(table.name, self.path(table), first, last)
        except OSError as error:
            raise DiskFullError(
                f"{table.name}: the rows are written, but not known to be on disk: {error.filename or self.root}: "
                f"{error.strerror}: {self._room(table)}"
            ) from error

    def _create(self, table: Table, schema: pa.Schema) -> None:
        from deltalake import DeltaTable
        from filelock import FileLock

        if self._table(table) is not None:
            return
        path = self.path(table)
        path.mkdir(parents=True, exist_ok=True)
        # Two processes that create one table at once would each write version 0.
        with FileLock(str(path.parent / f".{path.name}.lock")):
            if self._table(table) is None:
                DeltaTable.create(
                    str(path),
                    schema=schema,
                    mode="ignore",
                    partition_by=list(table.partition_by) or None,
                    name=table.name,
                    description=table.at(self.horizon).description,
                    configuration={"delta.checkpointInterval": "20"},
                )
                self.journal.forget(table.name)
                self._settle(table, 0, 0)

    def _check_disk(self, size: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free - size < self.min_free_gb * 1e9:
            raise DiskFullError(
                f"{self.root}: {free / 1e9:.2f} GB free, a write of {size / 1e9:.2f} GB would leave less than "
                f"{self.min_free_gb} GB (min_free_gb); free some space or vacuum, then run it again"
            )

    def _disk_error(self, table: Table, error: Exception) -> WarehouseError:
        return DiskFullError(f"{table.name}: the write failed, nothing of it was kept: {error}: {self._room(table)}")

    def _room(self, table: Table) -> str:
        folders = [folder for folder in (self.root, self.path(table), self.root / FOLDER) if folder.is_dir()]
        free, folder = min((shutil.disk_usage(folder).free, str(folder)) for folder in folders)
        return f"{free / 1e9:.2f} GB free at {folder}; free some space there, then run the same command again"

    @cached_property
    def writer_properties(self) -> WriterProperties:
        """How files are written: also by what rewrites them."""
        from deltalake import ColumnProperties, WriterProperties

        # Simulated prices hardly repeat: a dictionary costs four times the writing time and makes files larger.
        plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
        # Given properties of any kind, delta-rs keeps texts whole in the log's statistics: 0.4 MB a fitted model, which
        # every process would read that opens the table (findings/delta-stats.sh).
        return WriterProperties(
            compression="SNAPPY",
            max_row_group_size=_GROUP_ROWS,
            statistics_truncate_length=_LONGEST_STATISTIC,
            column_properties=dict.fromkeys(day_columns(self.horizon), plain),
        )


def _schema_mode(
    table: Table, stored: DeltaTable, data: pa.Table, where: Where
) -> Literal["merge", "overwrite"] | None:
    if table.whole and not where:
        return "overwrite"
    return "merge" if table.open_columns or _has_more(stored, data) else None


def _has_more(stored: DeltaTable, data: pa.Table) -> bool:
    """Whether the stored table has all columns of `data` and others, as a later version of this package leaves it."""
    return set(data.column_names) < {field.name for field in stored.schema().fields}
