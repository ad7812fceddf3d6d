"""The Spark session that reaches Unity Catalog: a cluster's own, Databricks Connect's, or any Spark Connect server."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from forecast_platform.clients.spark_session import (
    SparkUnavailableError,
    cluster_session,
    connect,
    settled,
    silence_expected_errors,
)
from forecast_platform.settings import Settings

_MEND = (
    "set tables to folder, or one of: run on a Databricks cluster; install databricks-connect of the cluster's runtime "
    "(pip install 'databricks-connect==17.3.*', in an environment without pyspark) and log in; set SPARK_REMOTE or "
    "spark.master to sc://HOST:PORT of a Spark Connect server over the catalog"
)


def catalog_session(settings: Settings) -> Any:
    """The session for tables in Unity Catalog where spark.master names none: the cluster's own, SPARK_REMOTE's, or
    Databricks Connect's, the first that there is. Raises SparkUnavailableError, which names the mend."""
    if on_databricks():
        return cluster_session(settings)
    remote = os.environ.get("SPARK_REMOTE")
    if remote:
        return connect(remote, settings)
    if has_databricks_connect():
        return _databricks_connect(settings)
    raise SparkUnavailableError(f"tables is unity_catalog, but there is no Spark session for it: {_MEND}")


def on_databricks() -> bool:
    """Whether this process runs on a Databricks cluster or serverless compute."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def has_databricks_connect() -> bool:
    """Whether Databricks Connect is installed here."""
    # find_spec imports the parent package; databricks itself is a namespace and costs nothing.
    return find_spec("databricks") is not None and find_spec("databricks.connect") is not None


def _databricks_connect(settings: Settings) -> Any:
    from databricks.connect import DatabricksSession  # type: ignore[import-not-found, unused-ignore]

    silence_expected_errors()
    builder = DatabricksSession.builder
    if settings.databricks.profile:
        builder = builder.profile(settings.databricks.profile)
    if settings.databricks.existing_cluster_id:
        builder = builder.clusterId(settings.databricks.existing_cluster_id)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise SparkUnavailableError(
            f"Databricks Connect gives no session: {str(error).strip().splitlines()[0]}; set "
            "databricks.existing_cluster_id, or DATABRICKS_SERVERLESS_COMPUTE_ID=auto, and log in (docs/databricks.md)"
        ) from error
    return settled(session, settings)
