"""SQLite files that are not what they are taken for: SQLite makes a new, empty database of a file without bytes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

NO_ROOM = 5_000_000
"""Bytes below which a disk may be too full for one more page of a database and its log."""


def why_foreign(path: Path, table: str, *, records: bool) -> str | None:
    """Why the database at `path` must not be used as the one that holds `table`; None where it may be, or be made.

    `records`: whether others depend on what it held, so that one that is gone or empty was lost, not yet to be made.
    """
    if not path.is_file():
        return "is gone, while records that belong to it are there" if records else None
    if path.stat().st_size == 0:
        return "has no bytes, while records that belong to it are there" if records else None
    # Read by SQLite alone: a process that closes the file otherwise gives up the locks of all its own connections to it
    # (https://www.sqlite.org/howtocorrupt.html, 2.2), and other processes then take away the log that they write to.
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as store:
            tables = {str(name) for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError as error:
        # Locked, in a folder where its log cannot be opened, or on a disk that has no room for it: whoever uses it
        # says so.
        passing = any(text in str(error) for text in ("lock", "unable to open", "full"))
        return None if passing or lacks_room(error, path.parent) else f"cannot be read: {error}"
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            return "is no SQLite database, or its beginning is overwritten"
        return f"cannot be read: {error}"
    if table in tables or (not tables and not records):
        return None
    return f"holds no table {table}: it is another database, or an empty one in the place of a lost one"


def copy_checked(path: Path, copy: Path) -> None:
    """Write a copy of the database at `path` by SQLite's online backup: one transaction's view, every page checked.

    Raises OSError, with the mend, where it cannot be read or is damaged: what its online backup copies, it does not
    look into.
    """
    if os.name == "posix" and os.statvfs(path).f_flag & os.ST_RDONLY:
        # SQLite needs a file of its own beside one that has a log; where it can have none, nothing changes meanwhile.
        still = copy.with_name("still.db")
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").is_file():
                shutil.copyfile(f"{path}{suffix}", f"{still}{suffix}")
        path = still
    with (
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=60)) as source,
        contextlib.closing(sqlite3.connect(copy)) as sink,
    ):
        try:
            source.backup(sink)
            said = str(sink.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.OperationalError as error:  # locked, or a disk that is full
            raise OSError(f"{path}: {error}") from error
        except sqlite3.DatabaseError as error:
            said = str(error)
    if said != "ok":
        raise OSError(
            f"{path}: {said}: it is damaged: `forecast-platform restore` an earlier backup, or put the copy of it there"
        )


def lacks_room(error: sqlite3.Error | str, folder: Path) -> bool:
    """Whether SQLite's error, or its text, is the one of a disk with no room for its log or the log's index, which it
    calls a fault of the disk or a file that cannot be opened."""
    odd = any(text in str(error) for text in ("disk I/O error", "unable to open database file"))
    return odd and shutil.disk_usage(folder).free < NO_ROOM
