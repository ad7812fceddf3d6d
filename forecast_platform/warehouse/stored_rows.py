"""The rows of a Delta table's files, read by Arrow."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from forecast_platform.warehouse.base import Where
from forecast_platform.warehouse.opened import damaged
from forecast_platform.warehouse.predicates import expression
from forecast_platform.warehouse.schemas import Table

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

_SMALL = 4 * 2**20
"""Bytes of files up to which one thread reads them: several would cost more than they save."""


class StoredRows:
    """The columns `names` of the rows in `files` (path, size_bytes, the partition's columns) that match `where`.

    schema: of the stored table. Reading raises DamageError where a file is not there or not readable.
    """

    # pyarrow.dataset over the file list: DeltaTable.to_pyarrow_table aborts the process at exit now and then
    # (deltalake 1.6.6 with pyarrow 25), this does not.

    def __init__(
        self, table: Table, folder: Path, schema: pa.Schema, files: pa.Table, names: Sequence[str], where: Where
    ) -> None:
        self._table, self._folder, self._schema, self._files = table, folder, schema, files
        self._names, self._where = list(names), where

    def all(self) -> pa.Table:
        """The rows as one table."""
        import pyarrow as pa

        wanted = pa.schema([self._schema.field(name) for name in self._names])
        if not self._files.num_rows:
            return wanted.empty_table()
        many = sum(self._files["size_bytes"].to_pylist()) > _SMALL
        # A forecast's texts repeat in all its paths: as codes they are neither decoded nor filtered one by one.
        coded = []
        if "path_id" in self._table.key:
            left = {*self._table.partition_by, *self._where}
            coded = [name for name in _texts(self._schema) if name in self._names and name not in left]
        with self._damage():
            dataset = self._dataset(coded)
            try:
                rows = dataset.to_table(self._names, filter=expression(self._where), use_threads=many)
            except pa.ArrowNotImplementedError:
                rows = dataset.to_table(self._names, filter=self._condition_on_deleted(), use_threads=many)
            return rows.cast(wanted) if coded else rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows file by file, in this thread, those of one value of the partition's last column after one another
        (a month's of all models): of a large read a quarter less processor time than `all` takes, and the memory of
        one file."""
        parts = self._table.partition_by
        within = {name: value for name, value in self._where.items() if name not in parts}
        stored = list(dict.fromkeys(name for name in (*self._names, *within) if name not in parts))
        stored = stored or [name for name in self._schema.names if name not in parts][:1]  # which says how many rows
        with self._damage():
            for file in sorted(self._files.to_pylist(), key=lambda one: [one[name] for name in reversed(parts)]):
                rows = self._of_file(self._folder / unquote(file["path"]), stored)
                if within:
                    rows = rows.filter(expression(within))
                for name in parts:
                    if name in self._names:
                        rows = rows.append_column(name, _repeated(file[name], rows.num_rows))
                yield from rows.select(self._names).to_batches()

    def _of_file(self, path: Path, names: Sequence[str]) -> pa.Table:
        """These columns of a file, in the table's types; nulls for those that came to the table after it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {name: self._schema.field(name).type for name in names}
        texts = [name for name in names if pa.types.is_string(types[name]) and name not in self._where]
        types.update(dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string())))
        with pa.OSFile(str(path)) as file:
            opened = pq.ParquetFile(file)
            there, count = set(opened.schema_arrow.names), opened.metadata.num_rows
            if texts := [name for name in texts if name in there]:
                opened = pq.ParquetFile(file, metadata=opened.metadata, read_dictionary=texts)
            found = opened.read([name for name in names if name in there], use_threads=False)
        columns = {name: found[name] if name in there else pa.nulls(count, types[name]) for name in names}
        return pa.table(columns).cast(pa.schema(list(types.items())))

    def _dataset(self, coded: Sequence[str]) -> ds.Dataset:
        import pyarrow as pa
        import pyarrow.dataset as ds

        types = {name: pa.dictionary(pa.int32(), self._schema.field(name).type) for name in coded}
        partition = pa.schema([self._schema.field(name) for name in self._table.partition_by])
        return ds.dataset(
            sorted(str(self._folder / unquote(path)) for path in self._files["path"].to_pylist()),
            schema=pa.schema([field.with_type(types.get(field.name, field.type)) for field in self._schema]),
            format=ds.ParquetFileFormat(dictionary_columns=list(coded)),
            partitioning=ds.partitioning(partition, flavor="hive"),
            partition_base_dir=str(self._folder),
        )

    def _condition_on_deleted(self) -> ds.Expression | None:
        """The condition for a file that a delete by delta-rs left, as earlier versions did."""
        import pyarrow as pa

        return expression(self._where, [name for name in self._where if self._schema.field(name).type == pa.string()])

    @contextmanager
    def _damage(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except OSError as error:
            # One with a number is the system's (permission, too many files, a lost mount), but for no such file.
            if error.errno not in (None, errno.ENOENT):
                raise
            raise damaged(self._table, error) from error
        except pa.ArrowInvalid as error:
            if "Parquet" not in str(error):
                raise
            raise damaged(self._table, error) from error


def _texts(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [field.name for field in schema if pa.types.is_string(field.type)]


def _repeated(value: Any, count: int) -> pa.DictionaryArray:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), [value], safe=False)
