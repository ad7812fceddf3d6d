"""Which MLflow store and registry an address stands for."""

from __future__ import annotations

WORKSPACE = "databricks"


def registry_uri(tracking_uri: str) -> str:
    """Where models are registered: in Unity Catalog for a Databricks workspace (or profile), else beside the runs."""
    if not in_workspace(tracking_uri):
        return tracking_uri
    return f"databricks-uc{tracking_uri.removeprefix(WORKSPACE)}"


def in_workspace(tracking_uri: str) -> bool:
    """Whether a tracking store is a Databricks workspace: `databricks`, or `databricks://profile`."""
    return tracking_uri == WORKSPACE or tracking_uri.startswith(f"{WORKSPACE}://")
