"""Delta tables that a process has opened: each at its newest version, and the files that this is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.warehouse.base import DamageError, Where
from forecast_platform.warehouse.checking import check_horizon
from forecast_platform.warehouse.journal import LOG, entry_of, refuse_empty
from forecast_platform.warehouse.predicates import kept
from forecast_platform.warehouse.schemas import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_Entry = tuple[int, int, int] | None
"""A log entry's inode, time of change in ns and size in bytes; None where it is gone."""

_LOOKED_BACK = 40
"""Log entries before the newest that are looked at where a table is opened: two checkpoints' worth."""


class Opened:
    """The tables by name. Safe for several threads; not across a fork."""

    def __init__(self) -> None:
        self._tables: dict[str, DeltaTable] = {}
        self._changed: dict[str, int | None] = {}
        self._entries: dict[str, tuple[int, _Entry]] = {}
        self._files: dict[str, tuple[int, pa.Table]] = {}

    def table(self, table: Table, path: Path) -> DeltaTable | None:
        """The table in the folder `path` at its newest version, opened once and then only brought up to date; None
        where there is none.

        Raises HorizonError where it is of another horizon than `table`, DamageError where it cannot be read.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        try:
            known = self._tables.get(table.name)
            if known is not None and self._brought_up_to_date(table.name, known, path):
                return known
            if not (path / LOG).is_dir() or not DeltaTable.is_deltatable(str(path)):
                return None
            opened = DeltaTable(str(path))
            refuse_empty(path, max(0, opened.version() - _LOOKED_BACK), opened.version())
        except (DeltaError, ValueError) as error:
            self.forget(table.name)
            raise damaged(table, error) from error
        # Once: no write here changes the days that a table holds.
        check_horizon(table, [field.name for field in opened.schema().fields])
        self._tables[table.name] = opened
        self._entries[table.name] = opened.version(), _entry(path, opened.version())
        return opened

    def files(self, table: Table, opened: DeltaTable, where: Where) -> pa.Table:
        """Path, size_bytes and num_records of each file whose partition matches `where`, as the log has them, and the
        partition's columns by their names.

        where: of columns that the table is partitioned by. delta-rs would list the files anew for every question.
        """
        import pyarrow as pa

        version, known = opened.version(), self._files.get(table.name)
        if known is None or known[0] != version:
            listed = pa.table(opened.get_add_actions(flatten=True))
            listed = listed.rename_columns([name.removeprefix("partition.") for name in listed.column_names])
            wanted = [*table.partition_by, "path", "size_bytes", "num_records"]
            known = self._files[table.name] = (version, listed.select(wanted))
        return kept(known[1], where)

    def forget(self, name: str) -> None:
        """Open the table anew where it is asked for next."""
        self._tables.pop(name, None)
        self._changed.pop(name, None)
        self._entries.pop(name, None)
        self._files.pop(name, None)

    def forget_all(self) -> None:
        """As `forget`, of every table: their folders were put there by somebody else."""
        for name in list(self._tables):
            self.forget(name)

    def _brought_up_to_date(self, name: str, opened: DeltaTable, path: Path) -> bool:
        """Whether the table is at its newest version now; False, and it is forgotten, where another lies in its place,
        as after a restore: of that one, versions of the same number hold other rows."""
        earlier, changed = opened.version(), _changed(path)
        if changed is not None and changed == self._changed.get(name) and not entry_of(path, earlier + 1).exists():
            return True
        # Of the version that was looked at last: what this process has written since has moved `opened` on.
        looked_at, entry = self._entries.get(name, (earlier, None))
        if _entry(path, looked_at) != entry:
            self.forget(name)
            return False
        self._changed[name] = changed
        opened.update_incremental()
        refuse_empty(path, earlier, opened.version())
        self._entries[name] = opened.version(), _entry(path, opened.version())
        return True


def _changed(path: Path) -> int | None:
    """When an entry was last added to the log or removed, ns; None where there is no log.

    The clock's steps are milliseconds: a commit within the same one is known by its entry alone.
    """
    try:
        return (path / LOG).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _entry(path: Path, version: int) -> _Entry:
    """What tells a version's log entry from another of the same number; it is gone where a checkpoint alone still holds
    the version."""
    try:
        found = entry_of(path, version).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def damaged(table: Table, error: Exception) -> DamageError:
    """What is said of a table that cannot be read, and the mend."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DamageError(
        f"{table.name}: the table cannot be read ({reason}): `forecast-platform repair` names what is damaged, sets it "
        "aside and makes it again"
    )
