"""A small graph whose heavy asset is shipped: what the step launcher zips, uploads and runs on the cluster."""

import os
from typing import Any

from dagster import (
    AssetExecutionContext,
    DailyPartitionsDefinition,
    Definitions,
    JobDefinition,
    MaterializeResult,
    RetryPolicy,
    asset,
    define_asset_job,
)
from dagster._core.definitions.no_step_launcher import no_step_launcher

DAYS = DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")


@asset(partitions_def=DAYS, required_resource_keys={"pyspark_step_launcher"})
def heavy(context: AssetExecutionContext) -> MaterializeResult:
    """Says where it ran."""
    if os.environ.get("REMOTE_FAILS"):
        raise ValueError("the remote step failed")
    context.log.info("from the cluster")
    runtime = os.environ.get("DATABRICKS_RUNTIME_VERSION", "local")
    return MaterializeResult(metadata={"runtime": runtime, "password": len(os.environ.get("PASSWORD", ""))})


@asset(partitions_def=DAYS, required_resource_keys={"pyspark_step_launcher"}, retry_policy=RetryPolicy(max_retries=1))
def flaky(context: AssetExecutionContext) -> MaterializeResult:
    """Fails at its first attempt, for a reason that may pass."""
    if context.retry_number == 0:
        raise OSError(f"the share is not mounted with Bearer {'x' * 20}")
    return MaterializeResult(metadata={"attempt": context.retry_number})


def _job(launcher: Any, shipped: Any = heavy) -> JobDefinition:
    job = define_asset_job("shipped", selection="*")
    graph = Definitions(assets=[shipped], jobs=[job], resources={"pyspark_step_launcher": launcher})
    return graph.resolve_job_def("shipped")


def shipped_job() -> JobDefinition:
    """The job as both sides build it: on the cluster the launcher is not used again."""
    from dagster_databricks import databricks_pyspark_step_launcher

    return _job(databricks_pyspark_step_launcher)


def flaky_job() -> JobDefinition:
    """The flaky asset under the platform's own launcher, which on the cluster is none."""
    from forecast_platform.graph.launchers.resources import TRAINING, step_launcher_resources
    from forecast_platform.settings import load

    return _job(step_launcher_resources(load())[TRAINING], flaky)


def local_job() -> JobDefinition:
    """The job with the same resource key held by `no_step_launcher`."""
    return _job(no_step_launcher)
