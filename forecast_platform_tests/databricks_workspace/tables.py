"""Tables of Unity Catalog: asked of the catalog that the workspace's Spark has."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from forecast_platform_tests.databricks_workspace.faults import ApiError

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Request, Workspace


def table(workspace: Workspace, request: Request) -> dict[str, Any]:
    """What the catalog answers of one table."""
    if workspace.unity_catalog is None:
        raise ApiError(404, "METASTORE_DOES_NOT_EXIST", "No metastore assigned for the current workspace.")
    name = request.parts["name"]
    asked = urllib.request.Request(f"{workspace.unity_catalog}/tables/{name}", method="GET")
    try:
        with urllib.request.urlopen(asked, timeout=10) as reply:
            found: dict[str, Any] = json.load(reply)
    except urllib.error.HTTPError as error:
        raise ApiError(404, "TABLE_DOES_NOT_EXIST", f"Table '{name}' does not exist.") from error
    if request.method == "DELETE":
        gone = urllib.request.Request(f"{workspace.unity_catalog}/tables/{name}", method="DELETE")
        with urllib.request.urlopen(gone, timeout=10):
            return {}
    return found


_TABLE = r"/api/2\.1/unity-catalog/tables/(?P<name>[^/]+)"
ROUTES = {("GET", _TABLE): table, ("DELETE", _TABLE): table}
