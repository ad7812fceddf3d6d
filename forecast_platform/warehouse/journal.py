"""What makes a commit last: its files on disk before anything depends on them, and what their bytes were.

delta-rs leaves the files of a commit to the operating system, which keeps them in memory for half a minute: a power
loss in it leaves a log entry of no bytes, which Delta reads as a commit without rows. `settle` writes a commit through
and keeps a copy of its log entry and the hash of its files in `_journal/<table>/<version>.json`, from which damage is
found (`damage`) and the log is mended (`housekeeping.repair`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from forecast_platform.host.files import sync_file, sync_folder, whole, write_whole

FOLDER = "_journal"
"""Folder of the warehouse, a folder a table in it."""

LOG = "_delta_log"
_BASE = "base.json"
_BLOCK = 1 << 20
_AT_ONCE = 8


@dataclass(frozen=True)
class Print:
    """Size in bytes, and blake2b of 32 bytes in hex, of a file as it was written."""

    size: int
    blake2b: str


@dataclass(frozen=True)
class Record:
    """One version of a table: its log entry as it was written, and its files by their path in the table's folder."""

    version: int
    entry: str
    files: Mapping[str, Print]


def entry_of(table: Path, version: int) -> Path:
    """The file of a version's log entry, of the table in the folder `table`."""
    return table / LOG / f"{version:020d}.json"


def print_of(path: Path) -> Print:
    """The size and hash of a file. Raises OSError."""
    digest, size = hashlib.blake2b(digest_size=32), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return Print(size, digest.hexdigest())


class Journal:
    """The records of a warehouse's tables. Safe for several processes: a version's record is the same whoever writes
    it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # Of all commits: to start threads takes as long as half of a small commit. They end with the journal.
        return ThreadPoolExecutor(_AT_ONCE)

    def folder(self, name: str) -> Path:
        """Where the records of the table `name` are."""
        return self.root / FOLDER / name

    def settle(self, name: str, table: Path, first: int, last: int) -> None:
        """Write the commits first..last of the table in `table` through to the disk, and record each.

        Earlier ones that another process was killed over are done with them; those that are recorded already are
        recorded anew, with the checkpoints that were made of them since. Raises OSError.
        """
        folder = self.folder(name)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for parent in (folder.parent, self.root, self.root.parent):
                sync_folder(parent)
        known = self.versions(name)
        # With no record at all the table is older than the journal: what was there before is maintenance's.
        begin = min(first, max(known) + 1) if known else first
        for version in range(begin, last + 1):
            path = entry_of(table, version)
            if (version not in known or version >= first) and path.is_file():
                self._settle(folder, table, version, path)

    def _settle(self, folder: Path, table: Path, version: int, path: Path) -> None:
        entry = path.read_text(encoding="utf-8")
        names = [_path(action["add"]) for action in actions(entry) if "add" in action]
        checkpoints = sorted((table / LOG).glob(f"{version:020d}.checkpoint*.parquet"))
        wanted = [*names, *(f"{LOG}/{one.name}" for one in checkpoints)]
        folders = {above for name in names for above in _folders(table, name)} | {table / LOG}
        if version == 0:
            folders |= {table, table.parent, table.parent.parent, self.root}
        files = [path, *([table / LOG / "_last_checkpoint"] if checkpoints else [])]
        # The disk takes many files and folders in the time of one, and hashing goes on meanwhile. Their order does not
        # matter: the commit is announced, and its record gets its name, when all of them are on disk.
        submit = self._pool.submit
        syncing = [
            *(submit(_there, sync_file, table / name) for name in wanted),
            *(submit(_there, sync_file, one) for one in files),
            *(submit(_there, sync_folder, one) for one in sorted(folders)),
        ]
        read = list(self._pool.map(_print, (table / name for name in wanted)))
        prints = {name: found for name, found in zip(wanted, read, strict=True) if found is not None}
        record = json.dumps({"version": version, "entry": entry, "files": _plain(prints)})
        with whole(folder / f"{version:020d}.json", record):
            for one in syncing:
                one.result()

    def forget(self, name: str) -> None:
        """Drop what is known of a table whose folder was moved away: one that is made anew begins with version 0."""
        for path in self.folder(name).glob("*.json"):
            path.unlink(missing_ok=True)

    def versions(self, name: str) -> set[int]:
        """The versions that are recorded."""
        with contextlib.suppress(FileNotFoundError):
            found = (one.removesuffix(".json") for one in os.listdir(self.folder(name)))  # noqa: PTH208 - ten times faster
            return {int(one) for one in found if one.isdigit()}
        return set()

    def record(self, name: str, version: int) -> Record | None:
        """One version's record; None where there is none, or it is damaged itself."""
        try:
            found = json.loads((self.folder(name) / f"{version:020d}.json").read_text(encoding="utf-8"))
            return Record(int(found["version"]), str(found["entry"]), _prints(found["files"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def records(self, name: str) -> Iterator[Record]:
        """All records, ascending."""
        for version in sorted(self.versions(name)):
            if (found := self.record(name, version)) is not None:
                yield found

    def prints(self, name: str) -> dict[str, Print]:
        """What every recorded file of the table was, by its path in the table's folder."""
        found = self._base(name)
        for record in self.records(name):
            found.update(record.files)
        return found

    def adopt(self, name: str, prints: Mapping[str, Print]) -> None:
        """Record files that no record holds: those of a table that is older than the journal. Raises OSError."""
        if prints:
            self.folder(name).mkdir(parents=True, exist_ok=True)
            write_whole(self.folder(name) / _BASE, json.dumps(_plain({**self._base(name), **prints})))

    def prune(self, name: str, oldest: int, files: Iterable[str]) -> int:
        """Drop records of versions before `oldest`, keeping what they say of `files`; returns how many were dropped."""
        old = [version for version in self.versions(name) if version < oldest]
        if not old:
            return 0
        known, wanted = self.prints(name), set(files)
        kept = {file: one for file, one in known.items() if file in wanted}
        write_whole(self.folder(name) / _BASE, json.dumps(_plain(kept)))
        for version in old:
            (self.folder(name) / f"{version:020d}.json").unlink(missing_ok=True)
        return len(old)

    def _base(self, name: str) -> dict[str, Print]:
        try:
            return _prints(json.loads((self.folder(name) / _BASE).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return {}


def actions(entry: str) -> list[dict[str, Any]]:
    """The actions of a log entry. Raises ValueError where it is cut short or no entry."""
    found = [json.loads(line) for line in entry.splitlines() if line]
    if not found or not all(isinstance(one, dict) for one in found):
        raise ValueError("no actions in it")
    return found


def refuse_empty(table: Path, first: int, last: int) -> None:
    """Raise ValueError that names the entry of the versions first..last that has no bytes: Delta takes it for a commit
    that changed nothing, and what it had added is missing without a word."""
    for version in range(first, last + 1):
        path = entry_of(table, version)
        with contextlib.suppress(FileNotFoundError):  # behind a checkpoint
            if path.stat().st_size == 0:
                raise ValueError(f"{path} has no bytes")


def _print(path: Path) -> Print | None:
    """What the file is; None where it was replaced since, and vacuumed."""
    with contextlib.suppress(FileNotFoundError):
        return print_of(path)
    return None


def _there(sync: Callable[[Path], None], path: Path) -> None:
    """Write a file or folder through that another process may have removed since."""
    with contextlib.suppress(FileNotFoundError):
        sync(path)


def _path(add: Mapping[str, Any]) -> str:
    return unquote(str(add["path"]))


def _folders(table: Path, name: str) -> Iterator[Path]:
    """The folders from the file's own up to the table's."""
    for parent in Path(name).parents:
        yield table / parent


def _plain(prints: Mapping[str, Print]) -> dict[str, list[Any]]:
    return {name: [one.size, one.blake2b] for name, one in prints.items()}


def _prints(found: Mapping[str, Any]) -> dict[str, Print]:
    return {name: Print(int(size), str(digest)) for name, (size, digest) in found.items()}
