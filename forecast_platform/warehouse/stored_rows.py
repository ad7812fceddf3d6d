"""The rows of a Delta table's files, read by Arrow."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from forecast_platform.warehouse.base import Where
from forecast_platform.warehouse.opened import damaged
from forecast_platform.warehouse.predicates import kept, span_of
from forecast_platform.warehouse.schemas import Table

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SMALL = 4 * 2**20
"""Bytes of files up to which one thread reads them: several would cost more than they save."""


class StoredRows:
    """The columns `names` of the rows in `files` (path, size_bytes, the partition's columns) that match `where`.

    schema: of the stored table. Reading raises DamageError where a file is not there or not readable.
    """

    # File by file, by pyarrow.parquet: DeltaTable.to_pyarrow_table aborts the process at exit now and then (deltalake
    # 1.6.6 with pyarrow 25), and a pyarrow.dataset of the files takes a fifth more processor time, few rows or many.

    def __init__(
        self, table: Table, folder: Path, schema: pa.Schema, files: pa.Table, names: Sequence[str], where: Where
    ) -> None:
        import pyarrow as pa

        self._parts = table.partition_by
        self._table, self._folder, self._schema, self._files = table, folder, schema, files.to_pylist()
        self._names = list(names)
        self._within = {name: value for name, value in where.items() if name not in self._parts}
        spans = {name: span_of(value) for name, value in self._within.items()}
        self._spans = {name: span for name, span in spans.items() if span is not None}
        stored = list(dict.fromkeys(name for name in (*names, *self._within) if name not in self._parts))
        # At least one, which says how many rows there are.
        self._read = stored or [name for name in schema.names if name not in self._parts][:1]
        types = {name: schema.field(name).type for name in self._read}
        self._coded: list[str] = []
        if "path_id" in table.key:
            # A forecast's texts repeat in all its paths: as codes they are neither decoded nor filtered one by one.
            self._coded = [name for name in self._read if pa.types.is_string(types[name]) and name not in self._within]
            types.update(dict.fromkeys(self._coded, pa.dictionary(pa.int32(), pa.string())))
        self._types = pa.schema(list(types.items()))

    def all(self) -> pa.Table:
        """The rows as one table."""
        import pyarrow as pa

        wanted = pa.schema([self._schema.field(name) for name in self._names])
        many = sum(file["size_bytes"] for file in self._files) > _SMALL
        files = sorted(self._files, key=lambda file: str(file["path"]))
        found = [_as(self._of_file(file, threads=many), wanted) for file in files]
        return pa.concat_tables(found) if found else wanted.empty_table()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows file by file, in this thread, those of one value of the partition's last column after one another: a
        month's of all models. Texts of forecasts are dictionary-encoded."""
        for file in sorted(self._files, key=lambda file: [file[name] for name in reversed(self._parts)]):
            yield from self._of_file(file, threads=False).to_batches()

    def _of_file(self, file: Mapping[str, Any], *, threads: bool) -> pa.Table:
        """A file's rows in the table's types, with nulls in columns that came to the table after it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._damage(), pa.OSFile(str(self._folder / unquote(file["path"]))) as source:
            opened = pq.ParquetFile(source)
            names = opened.schema_arrow.names
            there, groups = set(names), self._groups(opened.metadata, names)
            if not groups:
                return pa.schema([self._schema.field(name) for name in self._names]).empty_table()
            count = sum(opened.metadata.row_group(group).num_rows for group in groups)
            if coded := [name for name in self._coded if name in there]:
                opened = pq.ParquetFile(source, metadata=opened.metadata, read_dictionary=coded)
            wanted = [name for name in self._read if name in there]
            found = opened.read_row_groups(groups, wanted, use_threads=threads)
        for name in [name for name in self._read if name not in there]:
            found = found.append_column(name, pa.nulls(count, self._types.field(name).type))
        rows = kept(_as(found.select(self._read), self._types), self._within)
        for name in self._parts:
            if name in self._names:
                rows = rows.append_column(name, _repeated(file[name], rows.num_rows))
        return rows.select(self._names)

    def _groups(self, about: pq.FileMetaData, names: list[str]) -> list[int]:
        """The row groups that may have rows that match, as the file's own statistics say: of many fitted models, a
        megabyte each, one is wanted."""
        groups = range(about.num_row_groups)
        if about.num_columns != len(names):  # some are nested: a column's place is then not its leaf's
            return list(groups)
        places = [(names.index(name), span) for name, span in self._spans.items() if name in names]
        return [group for group in groups if all(_may_match(about.row_group(group), *one) for one in places)]

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Within this a file is opened and decoded, and nothing else is done: what is invalid is the file."""
        import pyarrow as pa

        try:
            yield
        except OSError as error:
            # One with a number is the system's (permission, too many files, a lost mount), but for no such file.
            if error.errno not in (None, errno.ENOENT):
                raise
            raise damaged(self._table, error) from error
        except pa.ArrowInvalid as error:
            raise damaged(self._table, error) from error


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    # Of files of few rows, a cast of each column to what it is would take a third of the time.
    found = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(rows.itercolumns(), schema, strict=True)
    ]
    return pa.Table.from_arrays(found, schema=schema)


def _may_match(group: pq.RowGroupMetaData, place: int, span: tuple[Any, Any]) -> bool:
    known = group.column(place).statistics
    if known is None or not known.has_min_max or not type(known.min) is type(known.max) is type(span[0]):
        return True
    return bool(span[0] <= known.max and span[1] >= known.min)


def _repeated(value: Any, count: int) -> pa.DictionaryArray:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), [value], safe=False)
