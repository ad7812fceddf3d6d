"""The files of a folder by their place in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


class FolderFiles(Mapping[str, bytes]):
    """The files below a folder by relative path, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return (path.relative_to(self.folder).as_posix() for path in paths)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its relative path. Raises OSError."""
    return dict(FolderFiles(folder))


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write what `read_files` reads below another folder, for this process to use: not known to be on disk.

    Raises OSError.
    """
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
