"""A local Databricks workspace: the real REST API on loopback, which executes what is submitted."""

from forecast_platform_tests.databricks_workspace.faults import ApiError, Fault, RunFault
from forecast_platform_tests.databricks_workspace.server import Workspace

__all__ = ["ApiError", "Fault", "RunFault", "Workspace"]
