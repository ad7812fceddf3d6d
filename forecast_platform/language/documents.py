"""Documents one by one from JSONL, Parquet or a table: nulls are counted, what is not text is refused by its row."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast_platform.language.errors import LanguageError
from forecast_platform.settings.parts import did_you_mean

MAX_ROW_BYTES = 64 * 1024 * 1024
"""A row beyond this is taken for another kind of file: it would have to be held in memory whole, several times."""
_BATCH = 1024


@dataclass
class Documents:
    """Texts of one source. `rows` and `nulls` grow as they are read."""

    source: str
    texts: Iterator[Any]
    rows: int = 0
    nulls: int = 0

    def __iter__(self) -> Iterator[str]:
        """Each text; nulls and what is only white space are counted, not given.

        Raises LanguageError for a value that is no text, or more of it than MAX_ROW_BYTES of UTF-8.
        """
        for value in self.texts:
            self.rows += 1
            if value is None or (isinstance(value, str) and not value.strip()):
                self.nulls += 1
                continue
            if not isinstance(value, str):
                raise LanguageError(
                    f"{self.source}, row {self.rows}: {type(value).__name__} {str(value)[:40]!r} where text belongs: "
                    "name the column that holds the text (data.text_column)"
                )
            # A character has four bytes at most: what is short enough by their number need not be encoded.
            if len(value) * 4 > MAX_ROW_BYTES and len(value.encode()) > MAX_ROW_BYTES:
                raise LanguageError(f"{self.source}, row {self.rows}: {_too_long()}: split it")
            yield value


def from_file(path: Path, column: str, limit: int | None = None) -> Documents:
    """The documents of a JSONL or Parquet file, at most `limit` rows. Raises LanguageError."""
    if not path.is_file():
        raise LanguageError(f"{path}: no such file: name the documents' file (data.train_file), or a table")
    if path.stat().st_size == 0:
        raise LanguageError(f"{path}: empty: write a line of JSON a document")
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        texts = _json_lines(path, column)
    elif path.suffix.lower() in (".parquet", ".pq"):
        texts = _parquet([str(path)], column, str(path))
    else:
        raise LanguageError(f"{path}: neither .jsonl nor .parquet, which documents are read from")
    return Documents(str(path), itertools.islice(texts, limit))


def column_of(path: Path, wanted: str, usual: str = "text") -> str:
    """The column of a file that was not made for this configuration: `wanted` where it has that, else the usual one."""
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(path).names
        except (OSError, pa.ArrowInvalid):
            return wanted
    else:
        try:
            with path.open("rb") as stream:
                names = list(json.loads(stream.readline(MAX_ROW_BYTES)))
        except (OSError, ValueError, TypeError):
            return wanted  # told by whoever reads it
    return usual if wanted not in names and usual in names else wanted


def from_delta(folder: Path, name: str, column: str, limit: int | None = None) -> Documents:
    """The documents of a Delta table in a folder. Raises LanguageError."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaProtocolError, TableNotFoundError

    try:
        table = DeltaTable(str(folder))
        # Its own reader knows what it cannot honour, such as deletion vectors: the files hold rows that were removed.
        table.to_pyarrow_dataset()
        files = table.file_uris()
    except TableNotFoundError as error:
        raise LanguageError(
            f"table {name}: none in {folder}: write it there, or name another (data.train_table)"
        ) from error
    except DeltaProtocolError as error:
        features = ", ".join(sorted(table.protocol().reader_features or ())) or "a newer reader version"
        raise LanguageError(
            f"table {name}: its files are not its rows, as it needs readers with {features}: read it by Spark (tables: "
            "unity_catalog), or copy its rows into a table without (delta.enableDeletionVectors = false, then REORG "
            "TABLE ... APPLY (PURGE))"
        ) from error
    if not files:
        raise LanguageError(f"table {name}: empty: it needs at least two documents")
    return Documents(f"table {name}", itertools.islice(_parquet(files, column, f"table {name}"), limit))


def from_spark(session: Any, name: str, column: str, limit: int | None = None) -> Documents:
    """The documents of a table that Spark knows (Unity Catalog), row by row. Raises LanguageError."""
    frame = session.table(name)
    _refuse_lacking(column, frame.columns, f"table {name}")
    rows = (row[0] for row in frame.select(column).toLocalIterator())
    return Documents(f"table {name}", itertools.islice(rows, limit))


def _json_lines(path: Path, column: str) -> Iterator[Any]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(line) > MAX_ROW_BYTES:
                raise LanguageError(
                    f"{path}, row {number}: {_too_long()}: split it, or write a line of JSON a document"
                )
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                raise LanguageError(
                    f"{path}, row {number}: not JSON ({error}): write a line of JSON a document"
                ) from error
            if not isinstance(found, dict):
                raise LanguageError(f"{path}, row {number}: {type(found).__name__}: an object with {column!r} is meant")
            if number == 1:
                _refuse_lacking(column, list(found), str(path))
            yield found.get(column)


def _parquet(files: list[str], column: str, source: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        table = ds.dataset(files, format="parquet")
    except pa.ArrowInvalid as error:
        raise LanguageError(f"{source}: not readable as Parquet: {str(error).splitlines()[0]}") from error
    _refuse_lacking(column, table.schema.names, source)
    kind = table.schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)):
        texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
        raise LanguageError(
            f"{source}: column {column!r} holds {kind}, not text: set data.text_column"
            f"{' to ' + ' or '.join(texts) if texts else ''}"
        )
    for fragment in table.get_fragments():
        rows = _rows_at_once(fragment.metadata, column)
        # Arrow would read sixteen batches ahead.
        for batch in fragment.to_batches(schema=table.schema, columns=[column], batch_size=rows, batch_readahead=1):
            yield from batch.column(0).to_pylist()


def _rows_at_once(footer: Any, column: str) -> int:
    """As many rows of a Parquet file as hold about MAX_ROW_BYTES of the column, by what its footer says."""
    longest = 1.0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        sizes = [group.column(number) for number in range(group.num_columns)]
        size = sum(one.total_uncompressed_size for one in sizes if one.path_in_schema == column)
        longest = max(longest, size / max(group.num_rows, 1))
    return max(1, min(_BATCH, int(MAX_ROW_BYTES / longest)))


def _too_long() -> str:
    return f"more than {MAX_ROW_BYTES // 2**20} MiB in one document"


def _refuse_lacking(column: str, columns: list[str], source: str) -> None:
    if column not in columns:
        raise LanguageError(f"{source}: no column {column!r} (data.text_column){did_you_mean(column, columns)}")
