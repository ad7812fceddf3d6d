"""Files in a Unity Catalog volume."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from forecast_platform.clients.databricks.connection import ATTEMPTS, Connection, DatabricksError

if TYPE_CHECKING:
    from databricks.sdk.service.files import FilesAPI


class Volume:
    """Files in a Unity Catalog volume."""

    def __init__(self, connection: Connection, *, quick: bool = False) -> None:
        """`quick`: what cannot be read at once is not waited for."""
        self.connection, self._quick = connection, quick
        self._attempts = 1 if quick else ATTEMPTS

    @property
    def files(self) -> FilesAPI:
        """The calls; made use of within `Connection.call`, as the first one may log in."""
        return (self.connection.quick if self._quick else self.connection.client).files

    def make(self, folder: str) -> None:
        """Make a folder. Raises DatabricksError, with the mend where the volume is not there."""
        volume = self.connection.options.volume
        try:
            self.connection.call(f"making {folder}", lambda: self.files.create_directory(folder))
        except DatabricksError as error:
            name = ".".join(volume.split("/")[2:5])
            raise DatabricksError(
                f"{error}\nis databricks.volume = {volume} there, and yours to write? In SQL: "
                f"CREATE VOLUME IF NOT EXISTS {name}",
                passing=error.passing,
            ) from None

    def write(self, path: str, content: bytes) -> None:
        """Write a file. Raises DatabricksError."""
        self.connection.call(f"writing {path}", lambda: self.files.upload(path, io.BytesIO(content), overwrite=True))

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is none. Raises DatabricksError."""
        from databricks.sdk.errors import NotFound

        def download() -> bytes | None:
            try:
                found = self.files.download(path).contents
            except NotFound:
                return None
            return found.read() if found else b""

        return self.connection.call(f"reading {path}", download, attempts=self._attempts)

    def files_in(self, folder: str) -> list[str]:
        """The paths of all files below a folder. Raises DatabricksError."""
        found = []
        entries = self.connection.call(
            f"listing {folder}", lambda: list(self.files.list_directory_contents(folder)), attempts=self._attempts
        )
        for item in entries:
            found += self.files_in(str(item.path)) if item.is_directory else [str(item.path)]
        return found

    def remove(self, folder: str) -> None:
        """Remove a folder and what it holds; one that is not there is none. Raises DatabricksError."""
        from databricks.sdk.errors import NotFound

        def delete() -> None:
            try:
                for item in list(self.files.list_directory_contents(folder)):
                    if item.is_directory:
                        self.remove(str(item.path))
                    else:
                        self.files.delete(str(item.path))
                self.files.delete_directory(folder)
            except NotFound:
                return

        self.connection.call(f"removing {folder}", delete)
