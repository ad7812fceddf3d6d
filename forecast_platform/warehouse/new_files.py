"""Many rows of keys that a table does not hold yet: written as files, which one commit then adds.

delta-rs spends more time on dealing rows out to partitions, and on columns that repeat one value, than on the paths.
Where nothing is to be replaced and a partition's rows lie together, as of a chunk, Arrow writes each partition's file
in a third of the time, and delta-rs commits them.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np

from forecast_platform.warehouse.base import Where

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction

FROM_ROWS = 20_000
"""Fewer rows are written as fast by delta-rs."""
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
"""Values of partitions that stand in a path as they are; how others are written is delta-rs's own matter."""

Part = tuple[Mapping[str, str], int, int]
"""A partition's values, where its rows begin, and how many there are."""


def parts(data: pa.Table, partition_by: Sequence[str], where: Where) -> list[Part] | None:
    """The partitions of rows that all match `where`; None where one's rows do not lie together, or a value is not plain
    text."""
    if not partition_by or data.num_rows == 0:
        return None
    begins = np.zeros(data.num_rows, bool)
    begins[0] = True
    for name in partition_by:
        if isinstance(where.get(name), str):  # one value in all rows
            continue
        codes = data[name].combine_chunks().dictionary_encode().indices
        if codes.null_count:
            return None
        number = codes.to_numpy()
        begins[1:] |= number[1:] != number[:-1]
    at = np.flatnonzero(begins)
    columns = [data[name].take(at).to_pylist() for name in partition_by]
    values = list(zip(*columns, strict=True))
    if len(set(values)) < len(values):
        return None
    if not all(isinstance(one, str) and _PLAIN.fullmatch(one) for row in values for one in row):
        return None
    sizes = np.diff(np.append(at, data.num_rows))
    return [
        (dict(zip(partition_by, row, strict=True)), int(begin), int(size))
        for row, begin, size in zip(values, at, sizes, strict=True)
    ]


class NewFiles:
    """Files of rows in a table's folder that are no part of the table yet: a reader does not see them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._actions: list[AddAction] = []
        self._paths: list[Path] = []
        self._added = False

    @property
    def are_loose(self) -> bool:
        """Whether some were written and are not known to be part of the table."""
        return bool(self._paths) and not self._added

    def write(self, data: pa.Table, found: Sequence[Part], simulated: Collection[str]) -> None:
        """Write a file for each of `found`, of `parts(data)`, unless that was done; `simulated`: columns that hardly
        repeat a value, and are kept without a dictionary and statistics. Raises OSError."""
        import pyarrow.parquet as pq
        from deltalake.transaction import AddAction

        if self._actions:
            return

        for values, begin, size in found:
            name = "/".join(f"{column}={value}" for column, value in values.items())
            name = f"{name}/part-00000-{uuid.uuid4()}-c000.snappy.parquet"
            path = self.folder / name
            rows = _required(data.slice(begin, size).drop_columns(list(values)))
            repeated = [column for column in rows.column_names if column not in simulated]
            path.parent.mkdir(parents=True, exist_ok=True)
            self._paths.append(path)
            pq.write_table(
                rows,
                path,
                row_group_size=size,
                compression="snappy",
                use_dictionary=repeated,
                write_statistics=repeated,
                store_schema=False,
            )
            stats = json.dumps(_statistics(rows.select(repeated)))
            now = int(time.time() * 1000)
            self._actions.append(AddAction(name, path.stat().st_size, dict(values), now, True, stats))

    def add_to(self, table: DeltaTable, schema: pa.Schema, partition_by: Sequence[str]) -> None:
        """Make the files part of `table` as it is opened. Raises CommitFailedError where another commit came in
        between, of whatever rows: what it wrote is then to be looked at first."""
        from deltalake import CommitProperties

        once = CommitProperties(max_commit_retries=0)
        table.create_write_transaction([*self._actions], "append", schema, list(partition_by), commit_properties=once)
        self._added = True

    def discard(self, files: Collection[str]) -> None:
        """Remove those files that are not among `files`, the table's."""
        kept = {unquote(name).rsplit("/", 1)[-1] for name in files}
        for path in self._paths:
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _required(rows: pa.Table) -> pa.Table:
    """The rows with columns that say of themselves that they have no nulls, where that is so: a file in which nothing
    is said of each value is written and read in a fifth less time."""
    import pyarrow as pa

    fields = [
        field.with_nullable(column.null_count > 0) for field, column in zip(rows.schema, rows.columns, strict=True)
    ]
    return rows.cast(pa.schema(fields))


def _statistics(rows: pa.Table) -> dict[str, object]:
    """What a reader skips files by: rows, nulls, and the ends of whole numbers and dates."""
    found = dict(_ends(rows))
    return {
        "numRecords": rows.num_rows,
        "minValues": {name: low for name, (low, _) in found.items()},
        "maxValues": {name: high for name, (_, high) in found.items()},
        "nullCount": {name: rows[name].null_count for name in rows.column_names},
    }


def _ends(rows: pa.Table) -> Iterator[tuple[str, tuple[int | str, int | str]]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for field in rows.schema:
        if pa.types.is_integer(field.type) or pa.types.is_date32(field.type):
            ends = pc.min_max(rows[field.name]).as_py()
            if ends["min"] is not None:
                low, high = (one if isinstance(one, int) else one.isoformat() for one in (ends["min"], ends["max"]))
                yield field.name, (low, high)
