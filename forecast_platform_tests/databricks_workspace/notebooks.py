"""Workspace files and notebooks: import, export, list, kept as folders under the workspace's root."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from forecast_platform_tests.databricks_workspace.faults import ApiError, exists, invalid, not_found

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Raw, Request, Workspace

IMPORT_LIMIT = 10 * 1024 * 1024
"""Bytes that one workspace/import may carry."""

NOTEBOOK_HEADER = b"# Databricks notebook source"


def workspace_import(workspace: Workspace, request: Request) -> dict[str, Any]:
    if request.headers.get("Content-Type", "").startswith("multipart/"):
        form = request.form
        fields: dict[str, Any] = {name: value.decode() for name, value in form.items() if name != "content"}
        content = form.get("content", b"")
    else:
        fields = request.json
        try:
            content = base64.b64decode(fields.get("content", ""), validate=True)
        except ValueError as error:
            raise invalid("Field content is not valid base64") from error
    path = fields.get("path") or ""
    if not path:
        raise invalid("Missing required field: path")
    if len(content) > IMPORT_LIMIT:
        raise ApiError(
            400, "MAX_NOTEBOOK_SIZE_EXCEEDED", f"File size imported is ({len(content)} bytes), exceeded max size"
        )
    kind = fields.get("format") or "SOURCE"
    notebook = content.startswith(NOTEBOOK_HEADER) if kind == "AUTO" else kind in ("SOURCE", "JUPYTER")
    if (
        kind == "SOURCE"
        and (fields.get("language") or "PYTHON") == "PYTHON"
        and not content.startswith(NOTEBOOK_HEADER)
    ):
        content = NOTEBOOK_HEADER + b"\n" + content
    if kind not in ("SOURCE", "AUTO", "RAW"):
        raise invalid(f"format {kind} is not supported by this workspace")
    if notebook and kind == "AUTO":
        path = path.removesuffix(".py")
    local = workspace.files.local(path)
    if not local.parent.is_dir():
        raise not_found(f"The parent folder ({PurePosixPath(path).parent}) does not exist.")
    overwrite = str(fields.get("overwrite", "")).lower() == "true"
    if local.is_dir() or (local.exists() and not overwrite):
        raise exists(f"Path ({path}) already exists.")
    local.write_bytes(content)
    return {}


def workspace_export(workspace: Workspace, request: Request) -> dict[str, Any] | Raw:
    from forecast_platform_tests.databricks_workspace.server import Raw

    path = request.need("path")
    local = workspace.files.local(path)
    if not local.is_file():
        raise not_found(f"Path ({path}) doesn't exist.")
    if request.query.get("direct_download") == "true":
        return Raw(local.read_bytes(), {"Content-Type": "application/octet-stream"})
    return {"content": base64.b64encode(local.read_bytes()).decode(), "file_type": "py"}


def _object(path: str, local: Path) -> dict[str, Any]:
    about: dict[str, Any] = {"path": path, "object_id": abs(hash(str(local)))}
    if local.is_dir():
        return {**about, "object_type": "DIRECTORY"}
    with local.open("rb") as stream:
        if stream.read(len(NOTEBOOK_HEADER)) == NOTEBOOK_HEADER:
            return {**about, "object_type": "NOTEBOOK", "language": "PYTHON"}
    return {**about, "object_type": "FILE", "size": local.stat().st_size}


def workspace_status(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = workspace.files.local(path)
    if not local.exists():
        raise not_found(f"Path ({path}) doesn't exist.")
    return _object(path, local)


def workspace_list(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = workspace.files.local(path)
    if not local.exists():
        raise not_found(f"Path ({path}) doesn't exist.")
    inside = sorted(local.iterdir()) if local.is_dir() else [local]
    return {"objects": [_object(f"{path.rstrip('/')}/{child.name}", child) for child in inside]}


def workspace_mkdirs(workspace: Workspace, request: Request) -> dict[str, Any]:
    local = workspace.files.local(request.need("path"))
    if local.is_file():
        raise exists(f"Path ({request.need('path')}) already exists.")
    local.mkdir(parents=True, exist_ok=True)
    return {}


def workspace_delete(workspace: Workspace, request: Request) -> dict[str, Any]:
    path = request.need("path")
    local = workspace.files.local(path)
    if not local.exists():
        raise not_found(f"Path ({path}) doesn't exist.")
    if local.is_dir():
        if any(local.iterdir()) and not request.json.get("recursive"):
            raise ApiError(400, "DIRECTORY_NOT_EMPTY", f"Folder ({path}) is not empty")
        shutil.rmtree(local)
    else:
        local.unlink()
    return {}


ROUTES = {
    ("POST", r"/api/2\.0/workspace/import"): workspace_import,
    ("GET", r"/api/2\.0/workspace/export"): workspace_export,
    ("GET", r"/api/2\.0/workspace/get-status"): workspace_status,
    ("GET", r"/api/2\.0/workspace/list"): workspace_list,
    ("POST", r"/api/2\.0/workspace/mkdirs"): workspace_mkdirs,
    ("POST", r"/api/2\.0/workspace/delete"): workspace_delete,
}
