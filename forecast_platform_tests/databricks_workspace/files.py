"""DBFS and volumes (fs/files, fs/directories), kept as folders under the workspace's root."""

from __future__ import annotations

import base64
import itertools
import shutil
import threading
from email.utils import formatdate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from forecast_platform_tests.databricks_workspace.faults import ApiError, exists, invalid, not_found

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Raw, Request, Workspace

BLOCK = 1024 * 1024
"""Bytes that one dbfs/put, add-block or read may carry."""


class Files:
    """The workspace's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.handles: dict[int, BinaryIO] = {}
        self.ids = itertools.count(1)
        self.lock = threading.Lock()

    def local(self, path: str) -> Path:
        """Where a path of the workspace is kept: dbfs:/x and /dbfs/x, /Volumes/x, /Workspace/x, a notebook's /x."""
        if path.startswith("dbfs:"):
            rest = "/" + path[len("dbfs:") :].lstrip("/")
            return self.local(rest) if rest.startswith("/Volumes/") else self.under("dbfs", rest)
        for mount in ("dbfs", "Volumes", "Workspace"):
            if path == f"/{mount}" or path.startswith(f"/{mount}/"):
                return self.under(mount, path[len(mount) + 1 :])
        return self.under("Workspace", path)

    def under(self, mount: str, path: str) -> Path:
        if not path.startswith("/") and path:
            raise invalid(f"Path must be absolute: {path}")
        parts = PurePosixPath(path).parts
        if ".." in parts:
            raise invalid(f"Path must not contain '..': {path}")
        return self.root.joinpath(mount, *(part for part in parts if part != "/"))


def _dbfs(workspace: Workspace, path: str) -> Path:
    if not workspace.dbfs_enabled:
        raise ApiError(403, "PERMISSION_DENIED", "Public DBFS root is disabled. Access is denied on path: " + path)
    return workspace.files.local(path if path.startswith("dbfs:") else f"dbfs:{path}")


def _info(path: str, local: Path) -> dict[str, Any]:
    stat = local.stat()
    size = 0 if local.is_dir() else stat.st_size
    return {
        "path": path.removeprefix("dbfs:"),
        "is_dir": local.is_dir(),
        "file_size": size,
        "modification_time": int(stat.st_mtime * 1000),
    }


def _decode(data: str) -> bytes:
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise invalid("Field data is not valid base64") from error
    if len(content) > BLOCK:
        raise ApiError(
            400, "MAX_BLOCK_SIZE_EXCEEDED", f"The block has {len(content)} bytes; at most {BLOCK} are allowed"
        )
    return content


def _writable(path: str, local: Path, overwrite: bool) -> None:
    if local.is_dir() or (local.exists() and not overwrite):
        raise exists(f"A file or directory already exists at the input path {path}.")
    local.parent.mkdir(parents=True, exist_ok=True)


def dbfs_create(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = _dbfs(workspace, path)
    _writable(path, local, bool(request.json.get("overwrite")))
    with workspace.files.lock:
        handle = next(workspace.files.ids)
        workspace.files.handles[handle] = local.open("wb")
    return {"handle": handle}


def _handle(workspace: Workspace, request: Request) -> tuple[int, BinaryIO]:
    number = int(request.need("handle"))
    if number not in workspace.files.handles:
        raise not_found(f"No file handle exists with id {number}.")
    return number, workspace.files.handles[number]


def dbfs_add_block(workspace: Workspace, request: Request) -> dict[str, Any]:
    _handle(workspace, request)[1].write(_decode(request.need("data")))
    return {}


def dbfs_close(workspace: Workspace, request: Request) -> dict[str, Any]:
    number, stream = _handle(workspace, request)
    stream.close()
    del workspace.files.handles[number]
    return {}


def dbfs_put(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = _dbfs(workspace, path)
    content = _decode(request.json.get("contents", ""))
    _writable(path, local, bool(request.json.get("overwrite")))
    local.write_bytes(content)
    return {}


def dbfs_read(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = _dbfs(workspace, path)
    if not local.exists():
        raise not_found(f"No file or directory exists on path {path}.")
    if local.is_dir():
        raise invalid(f"Cannot read directory {path}.")
    offset, length = int(request.query.get("offset", 0)), int(request.query.get("length", BLOCK // 2))
    if length > BLOCK:
        raise ApiError(400, "MAX_READ_SIZE_EXCEEDED", f"length is {length}; at most {BLOCK} bytes can be read at once")
    with local.open("rb") as stream:
        stream.seek(offset)
        content = stream.read(length)
    return {"bytes_read": len(content), "data": base64.b64encode(content).decode()}


def dbfs_delete(workspace: Workspace, request: Request) -> dict[str, Any]:
    local = _dbfs(workspace, request.need("path"))
    if local.is_dir():
        if not request.json.get("recursive") and any(local.iterdir()):
            raise ApiError(400, "IO_ERROR", "Folder not empty; set recursive to true to delete it")
        shutil.rmtree(local, ignore_errors=True)
    else:
        local.unlink(missing_ok=True)
    return {}


def dbfs_mkdirs(workspace: Workspace, request: Request) -> dict[str, Any]:
    local = _dbfs(workspace, request.need("path"))
    if local.is_file():
        raise exists(f"A file already exists at the input path {request.need('path')}.")
    local.mkdir(parents=True, exist_ok=True)
    return {}


def dbfs_status(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = _dbfs(workspace, path)
    if not local.exists():
        raise not_found(f"No file or directory exists on path {path}.")
    return _info(path, local)


def dbfs_list(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = _dbfs(workspace, path)
    if not local.exists():
        raise not_found(f"No file or directory exists on path {path}.")
    inside = sorted(local.iterdir()) if local.is_dir() else [local]
    base = path.removeprefix("dbfs:").rstrip("/")
    return {"files": [_info(f"{base}/{child.name}" if local.is_dir() else path, child) for child in inside]}


def _volume(workspace: Workspace, request: Request) -> tuple[str, Path]:
    path = "/" + request.parts["path"].strip("/")
    if not path.startswith(("/Volumes/", "/Workspace/")) or (path.startswith("/Volumes/") and path.count("/") < 4):
        raise invalid(f"Invalid path: {path}. A volume's path is /Volumes/<catalog>/<schema>/<volume>/<path>")
    return path, workspace.files.local(path)


def fs_upload(workspace: Workspace, request: Request) -> dict[str, Any]:
    path, local = _volume(workspace, request)
    if local.is_dir() or (local.exists() and request.query.get("overwrite") != "true"):
        raise ApiError(409, "ALREADY_EXISTS", f"The file being created already exists: {path}")
    if not local.parent.is_dir():
        raise ApiError(404, "NOT_FOUND", f"The directory being accessed is not found: {PurePosixPath(path).parent}")
    # Another process may read it at any moment: it appears whole.
    temporary = local.with_name(f".{local.name}.part")
    temporary.write_bytes(request.body)
    temporary.replace(local)
    return {}


def fs_download(workspace: Workspace, request: Request) -> Raw:
    from forecast_platform_tests.databricks_workspace.server import Raw

    path, local = _volume(workspace, request)
    if not local.is_file():
        raise ApiError(404, "NOT_FOUND", f"The file being accessed is not found: {path}")
    modified = formatdate(local.stat().st_mtime, usegmt=True)
    return Raw(local.read_bytes(), {"Content-Type": "application/octet-stream", "Last-Modified": modified})


def fs_delete(workspace: Workspace, request: Request) -> dict[str, Any]:
    path, local = _volume(workspace, request)
    if not local.is_file():
        raise ApiError(404, "NOT_FOUND", f"The file being accessed is not found: {path}")
    local.unlink()
    return {}


def fs_make_directory(workspace: Workspace, request: Request) -> dict[str, Any]:
    path, local = _volume(workspace, request)
    if local.is_file():
        raise ApiError(409, "ALREADY_EXISTS", f"A file is there already: {path}")
    local.mkdir(parents=True, exist_ok=True)
    return {}


def fs_list(workspace: Workspace, request: Request) -> dict[str, Any]:
    path, local = _volume(workspace, request)
    if not local.is_dir():
        raise ApiError(404, "NOT_FOUND", f"The directory being accessed is not found: {path}")
    if request.method == "HEAD":
        return {}
    found = []
    for child in sorted(local.iterdir()):
        about = _info(f"{path}/{child.name}", child)
        found.append(
            {
                "path": about["path"],
                "name": child.name,
                "is_directory": about["is_dir"],
                "file_size": about["file_size"],
                "last_modified": about["modification_time"],
            }
        )
    return {"contents": found}


def fs_delete_directory(workspace: Workspace, request: Request) -> dict[str, Any]:
    path, local = _volume(workspace, request)
    if not local.is_dir():
        raise ApiError(404, "NOT_FOUND", f"The directory being accessed is not found: {path}")
    if any(local.iterdir()):
        raise ApiError(400, "FILES_API_DIRECTORY_IS_NOT_EMPTY", f"The directory is not empty: {path}")
    local.rmdir()
    return {}


_PATH = r"(?P<path>/.*)"
ROUTES = {
    ("POST", r"/api/2\.0/dbfs/create"): dbfs_create,
    ("POST", r"/api/2\.0/dbfs/add-block"): dbfs_add_block,
    ("POST", r"/api/2\.0/dbfs/close"): dbfs_close,
    ("POST", r"/api/2\.0/dbfs/put"): dbfs_put,
    ("GET", r"/api/2\.0/dbfs/read"): dbfs_read,
    ("POST", r"/api/2\.0/dbfs/delete"): dbfs_delete,
    ("POST", r"/api/2\.0/dbfs/mkdirs"): dbfs_mkdirs,
    ("GET", r"/api/2\.0/dbfs/get-status"): dbfs_status,
    ("GET", r"/api/2\.0/dbfs/list"): dbfs_list,
    ("PUT", r"/api/2\.0/fs/files" + _PATH): fs_upload,
    ("GET", r"/api/2\.0/fs/files" + _PATH): fs_download,
    ("HEAD", r"/api/2\.0/fs/files" + _PATH): fs_download,
    ("DELETE", r"/api/2\.0/fs/files" + _PATH): fs_delete,
    ("PUT", r"/api/2\.0/fs/directories" + _PATH): fs_make_directory,
    ("GET", r"/api/2\.0/fs/directories" + _PATH): fs_list,
    ("HEAD", r"/api/2\.0/fs/directories" + _PATH): fs_list,
    ("DELETE", r"/api/2\.0/fs/directories" + _PATH): fs_delete_directory,
}
