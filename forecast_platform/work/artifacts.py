"""Files beside the tables: fitted models too large for a row. In the warehouse folder, or in Unity Catalog's volume.

A volume is a folder on a cluster; elsewhere the same path is reached through the workspace's Files API.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.host.files import write_whole
from forecast_platform.settings import Settings
from forecast_platform.settings.unity import in_volume, mounted

if TYPE_CHECKING:
    from forecast_platform.clients.databricks.connection import Connection


NAME = "_artifacts"


def root(settings: Settings) -> Path:
    """The folder of all artifacts: the volume's where the tables are in Unity Catalog and it is named."""
    volume = settings.unity.volume_path if settings.tables == "unity_catalog" else None
    return (volume or settings.warehouse) / NAME


def why_not_kept(settings: Settings) -> str | None:
    """Why a file written now would be lost, and the mend: a cluster's own disk ends with it. None where it is kept."""
    folder = root(settings)
    on_cluster = "DATABRICKS_RUNTIME_VERSION" in os.environ and settings.tables == "unity_catalog"
    if not on_cluster or in_volume(folder) or not _on_own_disk(folder):
        return None
    return (
        f"{folder} is on this cluster's own disk, which ends with it, while the tables are kept: set unity.volume "
        "(catalog.schema.volume)"
    )


def _on_own_disk(folder: Path) -> bool:
    """Whether a folder is on this machine's root disk; what is mounted (DBFS, the workspace, NFS) is shared."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return there.stat().st_dev == Path("/").stat().st_dev


def write_text(settings: Settings, path: Path, text: str) -> None:
    """As `write_bytes`, of a text."""
    write_bytes(settings, path, text.encode())


def read_text(settings: Settings, path: Path) -> str | None:
    """As `read_bytes`, of a text."""
    data = read_bytes(settings, path)
    return None if data is None else data.decode()


def write_bytes(settings: Settings, path: Path, data: bytes | Sequence[bytes]) -> None:
    """Write a file, or its parts one after the other, whole or not at all; it is on disk when this returns. Raises
    OSError, and DatabricksError where the workspace refuses."""
    if _is_remote(path):
        connection = _connection(settings)
        whole = data if isinstance(data, bytes) else b"".join(data)
        connection.call(f"writing {path}", lambda: _upload(connection, path, whole))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)


def read_bytes(settings: Settings, path: Path) -> bytes | None:
    """What the file holds; None where it is not there. Raises OSError; DatabricksError where the workspace refuses."""
    if _is_remote(path):
        connection = _connection(settings)
        return connection.call(f"reading {path}", lambda: _download(connection, path))
    return path.read_bytes() if path.is_file() else None


def remove(settings: Settings, path: Path) -> None:
    """Remove a file that is there. Raises OSError; DatabricksError where the workspace refuses."""
    if _is_remote(path):
        connection = _connection(settings)
        connection.call(f"removing {path}", lambda: connection.client.files.delete(str(path)))
        return
    path.unlink()


def placed(settings: Settings, path: Path) -> Path:
    """Where an artifact is that a row names: among this warehouse's own where it is there, since rows of a warehouse
    that was moved or copied name the place where it was; else where the row says."""
    if NAME in path.parts:
        rest = path.parts[len(path.parts) - path.parts[::-1].index(NAME) :]
        own = root(settings).joinpath(*rest)
        if own.exists():
            return own
    return path


def _is_remote(path: Path) -> bool:
    return in_volume(path) and not mounted(path)


def _connection(settings: Settings) -> Connection:
    from forecast_platform.clients.databricks.connection import Connection

    return Connection(settings.databricks)


def _upload(connection: Connection, path: Path, data: bytes) -> None:
    connection.client.files.create_directory(str(path.parent))
    connection.client.files.upload(str(path), BytesIO(data), overwrite=True)


def _download(connection: Connection, path: Path) -> bytes | None:
    from databricks.sdk.errors import NotFound

    try:
        contents = connection.client.files.download(str(path)).contents
    except NotFound:
        return None
    return b"" if contents is None else contents.read()
