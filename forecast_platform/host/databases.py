"""SQLite files that are not what they are taken for: SQLite makes a new, empty database of a file without bytes."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_HEADER = b"SQLite format 3\0"


def why_foreign(path: Path, table: str, *, records: bool) -> str | None:
    """Why the database at `path` must not be used as the one that holds `table`; None where it may be, or be made.

    `records`: whether others depend on what it held, so that one that is gone or empty was lost, not yet to be made.
    """
    if not path.is_file():
        return "is gone, while records that belong to it are there" if records else None
    if path.stat().st_size == 0:
        return "has no bytes, while records that belong to it are there" if records else None
    with path.open("rb") as stream:
        if stream.read(len(_HEADER)) != _HEADER:
            return "is no SQLite database, or its beginning is overwritten"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as store:
            tables = {str(name) for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError as error:
        # Locked, or in a folder where its log cannot be opened: whoever uses it says so.
        return None if "lock" in str(error) or "unable to open" in str(error) else f"cannot be read: {error}"
    except sqlite3.DatabaseError as error:
        return f"cannot be read: {error}"
    if table in tables or (not tables and not records):
        return None
    return f"holds no table {table}: it is another database, or an empty one in the place of a lost one"
