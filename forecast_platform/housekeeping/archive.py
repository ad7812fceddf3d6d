"""A backup as files: in a folder or one tar file, with a manifest of the size and hash of each."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from forecast_platform.housekeeping import HousekeepingError

FORMAT = 1
MANIFEST = "manifest.json"
_BLOCK = 1 << 20


@dataclass
class Manifest:
    """What a backup holds and where it came from."""

    created_at: str
    warehouse: str
    versions: dict[str, str]
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    """Table -> version, rows and files."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Path in the backup -> size and blake2b."""
    left_out: list[str] = field(default_factory=list)
    """What is kept elsewhere, and how to copy that."""
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(int(entry["size"]) for entry in self.files.values())


class _Hashing(io.RawIOBase):
    """A stream of exactly `size` bytes that hashes what is read; a growing file is read to that size."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self.stream, self.left = stream, size
        self.digest = hashlib.blake2b(digest_size=32)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self.stream.read(min(self.left, _BLOCK if size < 0 else size))
        self.left -= len(block)
        self.digest.update(block)
        return block


class FolderWriter:
    """A backup as a folder."""

    def __init__(self, partial: Path) -> None:
        self.partial = partial
        partial.mkdir()

    def add(self, place: str, stream: IO[bytes], size: int) -> dict[str, Any]:
        """Copy `size` bytes of `stream` to `place`; returns size and hash."""
        path = self.partial / place
        path.parent.mkdir(parents=True, exist_ok=True)
        hashed = _Hashing(stream, size)
        with path.open("wb") as sink:
            while block := hashed.read():
                sink.write(block)
        return {"size": size, "blake2b": hashed.digest.hexdigest()}

    def close(self, manifest: Manifest) -> None:
        """Complete it."""
        (self.partial / MANIFEST).write_text(_text(manifest))

    def abandon(self) -> None:
        """Remove what is left where it was not completed."""
        shutil.rmtree(self.partial, ignore_errors=True)


class TarWriter:
    """A backup as one tar file, the manifest last."""

    def __init__(self, partial: Path) -> None:
        self.partial = partial
        self.tar = tarfile.open(partial, "w")  # noqa: SIM115 - closed by close or abandon

    def add(self, place: str, stream: IO[bytes], size: int) -> dict[str, Any]:
        """Copy `size` bytes of `stream` to `place`; returns size and hash."""
        entry = tarfile.TarInfo(place)
        entry.size = size
        hashed = _Hashing(stream, size)
        self.tar.addfile(entry, hashed)
        return {"size": size, "blake2b": hashed.digest.hexdigest()}

    def close(self, manifest: Manifest) -> None:
        """Complete it."""
        content = _text(manifest).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(content)
        self.tar.addfile(entry, io.BytesIO(content))
        self.tar.close()

    def abandon(self) -> None:
        """Remove what is left where it was not completed."""
        with contextlib.suppress(OSError):  # a full disk has no room for the end of it either
            self.tar.close()
        self.partial.unlink(missing_ok=True)


Writer = FolderWriter | TarWriter


def _text(manifest: Manifest) -> str:
    return json.dumps(manifest.__dict__, indent=1, sort_keys=True)


def read_manifest(source: Path) -> Manifest:
    """The manifest of a backup. Raises HousekeepingError."""
    try:
        if source.is_dir():
            content = (source / MANIFEST).read_bytes()
        else:
            with tarfile.open(source) as tar:
                member = tar.extractfile(MANIFEST)
                if member is None:
                    raise KeyError(MANIFEST)
                content = member.read()
        found = json.loads(content)
        if found.get("format") != FORMAT:
            raise HousekeepingError(f"{source}: backup format {found.get('format')}, this version reads {FORMAT}")
        return Manifest(**found)
    except (OSError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise HousekeepingError(f"{source} is no complete backup: its {MANIFEST} cannot be read ({error})") from error


def extract(source: Path, manifest: Manifest, place: Callable[[str], Path]) -> None:
    """Copy every file of a backup to where `place` puts it, checking size and hash. Raises HousekeepingError."""
    left = dict(manifest.files)
    for name, stream in _entries(source, manifest):
        expected = left.pop(name, None)
        if expected is None:
            continue
        path = place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.blake2b(digest_size=32), 0
        with path.open("wb") as sink:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
                sink.write(block)
        if size != expected["size"] or digest.hexdigest() != expected["blake2b"]:
            raise HousekeepingError(
                f"{source}: {name} is damaged ({size:,} of {expected['size']:,} bytes, its hash does not match the "
                "manifest); nothing was restored, take another backup"
            )
    if left:
        raise HousekeepingError(f"{source}: {len(left)} files are missing, such as {min(left)}; nothing was restored")


def _entries(source: Path, manifest: Manifest) -> Iterator[tuple[str, IO[bytes]]]:
    if source.is_dir():
        for name in manifest.files:
            path = source / name
            if path.is_file():
                with path.open("rb") as stream:
                    yield name, stream
        return
    with tarfile.open(source) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content
