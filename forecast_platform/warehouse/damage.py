"""Damage in a table's folder: log entries and files that are gone, cut, empty, or not the bytes that were written.

A look (`deep=False`) reads the log entries since the last checkpoint and asks for each file's size. A deep one reads
every byte and compares it with the hash that the journal has kept since it was written.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from forecast_platform.warehouse.journal import LOG, Print, actions, print_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import Table

_DATES = ("forecast_date", "date", "training_cutoff_date", "valid_from")
"""The column that says which days a file holds, the first of these that a table has."""


@dataclass(frozen=True)
class Damage:
    """One file that is not what was written."""

    table: Table
    file: str
    """Path in the table's folder; of a fit, in the warehouse."""
    what: str
    kind: Literal["entry", "checkpoint", "data", "fit"]
    version: int | None = None
    """Of a log entry or checkpoint."""
    partition: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[dt.date, dt.date] | None = None
    """First and last day that the file holds, where the table's own statistics say so."""

    def __str__(self) -> str:
        return f"{self.table.name}: {self.file} {self.what}{self._holding()}"

    def _holding(self) -> str:
        held = list(self.partition.values())
        if self.dates is not None:
            first, last = self.dates
            held.append(f"{first}" if first == last else f"{first} to {last}")
        return f"; it holds {', '.join(held)}" if held else ""


def examine(warehouse: DeltaWarehouse, table: Table, *, deep: bool = False) -> list[Damage]:
    """What is damaged of one table; nothing where it does not exist yet. Raises OSError where nothing can be read."""
    found = [*_log(warehouse, table, deep=deep)]
    if not (warehouse.path(table) / LOG).is_dir() or any(one.kind == "entry" for one in found):
        return found  # which files count is known once the log is whole
    return [*found, *_files(warehouse, table, deep=deep)]


def unrecorded(warehouse: DeltaWarehouse, table: Table) -> dict[str, Print]:
    """Hashes, read now, of active files that no record holds: those of a table that is older than the journal."""
    opened = open_table(warehouse, table)
    if opened is None:
        return {}
    known = warehouse.journal.prints(table.name)
    root = warehouse.path(table)
    names = (name for name, *_ in active(opened))
    return {name: print_of(root / name) for name in names if name not in known and (root / name).is_file()}


def open_table(warehouse: DeltaWarehouse, table: Table) -> DeltaTable | None:
    """The table as Delta reads it; None where it does not exist yet. Raises DeltaError."""
    from deltalake import DeltaTable

    path = warehouse.path(table)
    there = (path / LOG).is_dir() and DeltaTable.is_deltatable(str(path))
    return DeltaTable(str(path)) if there else None


def active(opened: DeltaTable) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Path in the table's folder, size, and all else that the log says of each file of the newest version."""
    import pyarrow as pa

    for row in pa.table(opened.get_add_actions(flatten=True)).to_pylist():
        yield unquote(row["path"]), int(row["size_bytes"]), row


def _log(warehouse: DeltaWarehouse, table: Table, *, deep: bool) -> Iterator[Damage]:
    folder = warehouse.path(table) / LOG
    recorded = warehouse.journal.versions(table.name)
    if not folder.is_dir():
        if recorded:
            yield Damage(table, LOG, f"is gone, with {len(recorded)} versions that are recorded", "entry")
        return
    names = {path.name: path for path in folder.iterdir()}
    entries = {int(name[:20]) for name in names if name.endswith(".json") and name[:20].isdigit()}
    checkpoints: dict[int, list[Path]] = {}
    for name, path in names.items():
        if ".checkpoint" in name and name[:20].isdigit():
            checkpoints.setdefault(int(name[:20]), []).append(path)
    prints = warehouse.journal.prints(table.name) if deep else {}
    usable = -1
    for version, parts in sorted(checkpoints.items()):
        what = next((said for path in parts if (said := _checkpoint(path, prints.get(f"{LOG}/{path.name}")))), None)
        if what is None:
            usable = version
        else:
            yield Damage(table, f"{LOG}/{parts[0].name}", what, "checkpoint", version)
    if "_last_checkpoint" in names and (what := _pointer(names["_last_checkpoint"], set(checkpoints))):
        yield Damage(table, f"{LOG}/_last_checkpoint", what, "checkpoint")
    newest = max(entries | recorded, default=-1)
    for version in range(0 if deep else min(usable + 1, newest), newest + 1):
        name = f"{version:020d}.json"
        what = None
        if version not in entries:
            # Delta itself removes entries before a checkpoint after a month. Without the newest one a checkpoint of its
            # version is enough to read and not to write: delta-rs 1.6 calls that an invalid version.
            what = "is gone" if version > usable or version == newest else None
        else:
            record = warehouse.journal.record(table.name, version) if deep or version == newest else None
            what = _entry(folder / name, None if record is None else record.entry)
        if what is not None:
            yield Damage(table, f"{LOG}/{name}", what, "entry", version)


def _entry(path: Path, written: str | None) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
        if text == "":
            return "has no bytes"
        actions(text)
    except ValueError:
        return "is cut short or overwritten"
    return None if written is None or text == written else "is not what was written"


def _checkpoint(path: Path, written: Print | None) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        return "has no bytes"
    if written is not None and print_of(path) != written:
        return "is not what was written"
    try:
        pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return "is cut short or overwritten"
    return None


def _pointer(path: Path, checkpoints: set[int]) -> str | None:
    try:
        named = int(json.loads(path.read_text(encoding="utf-8"))["version"])
    except (ValueError, KeyError, TypeError):
        return "is cut short or overwritten"
    return None if named in checkpoints else f"names the checkpoint of version {named}, which is gone"


def _files(warehouse: DeltaWarehouse, table: Table, *, deep: bool) -> Iterator[Damage]:
    from deltalake.exceptions import DeltaError

    try:
        opened = open_table(warehouse, table)
    except DeltaError as error:
        yield Damage(table, LOG, f"cannot be read: {str(error).splitlines()[0]}", "entry")
        return
    if opened is None:
        return
    root = warehouse.path(table)
    prints = warehouse.journal.prints(table.name) if deep else {}
    for name, size, row in active(opened):
        what = _file(root / name, size, prints.get(name))
        if what is not None:
            partition = {column: str(row.get(f"partition.{column}")) for column in table.partition_by}
            yield Damage(table, name, what, "data", None, partition, _span(table, row))


def _file(path: Path, size: int, written: Print | None) -> str | None:
    try:
        there = path.stat().st_size
    except FileNotFoundError:
        return "is gone"
    if there == 0 and size:
        return "has no bytes"
    if there != size:
        return f"has {there:,} of {size:,} bytes"
    if written is None:
        return None
    try:
        return None if print_of(path) == written else "is not what was written: its hash has changed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _span(table: Table, row: Mapping[str, Any]) -> tuple[dt.date, dt.date] | None:
    names = {column.name for column in table.columns}
    column = next((name for name in _DATES if name in names), None)
    low, high = row.get(f"min.{column}"), row.get(f"max.{column}")
    if low is None or high is None:
        return _month(row)
    return _day(low), _day(high)


def _month(row: Mapping[str, Any]) -> tuple[dt.date, dt.date] | None:
    """The days of a file's month, where its statistics do not say which of them."""
    with contextlib.suppress(KeyError, ValueError, TypeError):
        first = dt.date.fromisoformat(f"{row['partition.forecast_month']}-01")
        return first, (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1)
    return None


def _day(value: Any) -> dt.date:
    return value.date() if isinstance(value, dt.datetime) else value
