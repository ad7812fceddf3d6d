"""Files that are on disk when a call returns, and whole for whoever reads them meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def sync_file(path: Path) -> None:
    """Return once what is in the file is on disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Return once the folder's names are on disk; at once where the file system has no such call. Raises OSError."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def sync_tree(root: Path) -> None:
    """Return once every file and folder below `root`, and its own name, are on disk. Raises OSError."""
    for folder, _, names in os.walk(root):
        for name in names:
            sync_file(Path(folder) / name)
        sync_folder(Path(folder))
    sync_folder(root.parent)


def _sync(handle: int) -> None:
    if sys.platform == "darwin":  # where fsync leaves it in the drive's own memory
        import fcntl

        with contextlib.suppress(OSError):  # a network file system
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def write_whole(path: Path, text: str | bytes | Iterable[bytes], mode: int = 0o600) -> None:
    """Replace a file, on disk when this returns; a reader sees the old content or the new one.

    Raises OSError with the folder's name where nothing can be written to it.

    text: the content, or its parts one after the other where it is large. mode: who may read it, less the process's
    umask; its owner alone unless said.
    """
    with whole(path, text, mode):
        pass


@contextlib.contextmanager
def whole(path: Path, text: str | bytes | Iterable[bytes], mode: int = 0o600) -> Iterator[None]:
    """As `write_whole`, where something else must be done before the content gets its name: the body of the `with`.

    If that raises, the file stays as it was. Raises OSError with the folder's name where nothing can be written to it.
    """
    # Threads of one process, too, may write the same file at once.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    except OSError as error:
        # Of the folder, which is to be mended; nobody knows the temporary file.
        raise OSError(error.errno, error.strerror, str(path.parent)) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines([text.encode()] if isinstance(text, str) else [text] if isinstance(text, bytes) else text)
            stream.flush()
            _sync(stream.fileno())
        yield
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_leftovers(root: Path, hours: float) -> int:
    """Delete what `write_whole` left below `root` where its process was killed, `hours` ago and more; how many."""
    before, found = time.time() - hours * 3600, 0
    for folder, _, names in os.walk(root):
        for name in filter(_TEMPORARY.fullmatch, names):
            path = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):  # its writer has just replaced or removed it
                if path.stat().st_mtime < before:
                    path.unlink()
                    found += 1
    return found
