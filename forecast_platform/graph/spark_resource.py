"""The Spark session as a Dagster resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forecast_platform.clients.spark import session_for
from forecast_platform.clients.spark_session import cluster_session, master_of
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from dagster import ResourceDefinition


def spark_resource(settings: Settings) -> ResourceDefinition:
    """The session as a Dagster resource, made on first use: dagster-pyspark's, on the master of the settings."""
    if master_of(settings) == "databricks":
        from dagster import ResourceDefinition

        # dagster-pyspark is not on clusters: it would bring a pyspark in the place of the runtime's own.
        return ResourceDefinition(lambda _: ClusterSession(settings))
    from dagster_pyspark import LazyPySparkResource

    class SparkResource(LazyPySparkResource):
        """dagster-pyspark's lazy session, on an embedded engine, a cluster or Spark Connect; a lost one made anew."""

        def _init_session(self) -> None:
            self._spark_session = session_for(settings)

    return SparkResource(spark_config=settings.spark.config).get_resource_definition()


class ClusterSession:
    """Gives the session of the Databricks cluster that this process runs on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def spark_session(self) -> Any:
        """The cluster's session. Raises SparkUnavailableError."""
        return cluster_session(self._settings)
