"""What compute=databricks ships a step with: the cluster, the platform's settings there, the launcher's configuration.

Nothing here imports the launcher's library.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.deploy import build_wheel, settings_file
from forecast_platform.clients.databricks.submit import new_cluster
from forecast_platform.clients.databricks.variables import secret_names
from forecast_platform.settings import PREFIX, Settings, SettingsError, build
from forecast_platform.settings.databricks import DatabricksOptions

if TYPE_CHECKING:
    from databricks.sdk.core import Config

Family = Literal["train", "backfill"]
"""What a launcher ships: training on a single node, or forecasts on `workers`."""

_LOCAL = {
    *("config", "compute", "workers", "databricks", "notifiers", "webhook_url", "slack_webhook_url", "email"),
    *("allowed_hosts", "allowed_origins", "web_token", "trusted_proxy"),
}
"""Settings that are this side's own, or hold secrets."""

_SHARED = (
    *("series", "groups", "models", "train_frequency", "lookback_years", "start_date", "end_date", "timezone"),
    *("horizon", "n_paths", "seed", "model_version"),
)
"""Settings that partitions and rows follow from: the same on both sides."""


def check(settings: Settings) -> dict[str, str]:
    """The cluster's variables. Raises DatabricksError where steps could not be shipped with these settings."""
    environment = cluster_environment(settings)
    credentials_of(Connection(settings.databricks).client.config, os.environ)
    build_wheel()
    return environment


def cluster_environment(settings: Settings) -> dict[str, str]:
    """The variables of the cluster's settings: this side's, then those of `databricks.config`, then compute=spark.

    Raises DatabricksError where the cluster could not work with them.
    """
    options = settings.databricks
    values = settings.model_dump(mode="json", exclude_unset=True, exclude=_LOCAL)
    # The cluster's own session: this side's may be an engine in its process, or an address with a token in it.
    values.get("spark", {}).pop("master", None)
    known = {name: value for name, value in values.items() if value not in (None, {})}
    if options.config:
        known.update(_file_values(Path(options.config)))
    placed = "warehouse" in known or f"{PREFIX}WAREHOUSE" in options.environment
    if not placed and known.get("tables") != "unity_catalog":
        raise DatabricksError(
            "compute=databricks: the cluster cannot know where the tables are: set warehouse to a place that both "
            "sides see under one path, or name a YAML file with the cluster's settings in databricks.config"
        )
    if re.search(r"://[^/@]+:[^/@]+@", str(known.get("mlflow_tracking_uri", ""))):
        raise DatabricksError(
            "mlflow_tracking_uri holds a password, which must not be shipped: keep it in a Databricks secret scope and "
            f"name it in databricks.secrets ({PREFIX}MLFLOW_TRACKING_URI: scope/key)"
        )
    known["compute"] = "spark"
    _compare(settings, known)
    variables = {f"{PREFIX}{name.upper()}": _text(value) for name, value in known.items()}
    told = {name: text for name, text in variables.items() if name not in options.secrets}
    return {**told, **options.environment, **secret_names(options)}


def launcher_config(
    options: DatabricksOptions,
    family: Family,
    *,
    credentials: Mapping[str, Any],
    wheel: str,
    package: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The configuration of `databricks_pyspark_step_launcher`, as its own schema takes it.

    Raises DatabricksError for spot machines on Azure.
    """
    limit = options.training_timeout_seconds if family == "train" else options.timeout_seconds
    return {
        **credentials,
        "run_config": {
            "cluster": _cluster(options, family),
            # Workers import the package too, and reach no DBFS: they have it as a library, not from the shipped code.
            "libraries": [{"whl": wheel}, *({"pypi": {"package": package}} for package in options.packages)],
            "timeout_seconds": limit,
        },
        "permissions": {},
        "env_variables": dict(environment),
        "secrets_to_env_variables": [
            {"name": name, "scope": secret.split("/")[0], "key": secret.split("/")[1]}
            for name, secret in options.secrets.items()
        ],
        "local_dagster_job_package_path": package,
        "staging_prefix": options.staging,
        "poll_interval_sec": options.poll_seconds,
        # The run itself is ended after `limit`; this is for one that waits for its cluster, or whose end is not seen.
        "max_completion_wait_time_seconds": 2 * limit + 3600,
        "verbose_logs": False,
    }


def credentials_of(config: Config, environment: Mapping[str, str]) -> dict[str, Any]:
    """How the launcher logs in: as the SDK does here. A token is named by its variable where it has one.

    Raises DatabricksError for another way.
    """
    host = {"databricks_host": config.host}
    if config.auth_type == "pat":
        named = environment.get("DATABRICKS_TOKEN") == config.token
        return {**host, "databricks_token": {"env": "DATABRICKS_TOKEN"} if named else config.token}
    if config.auth_type == "oauth-m2m":
        pair = {"client_id": config.client_id, "client_secret": config.client_secret}
        return {**host, "oauth_credentials": pair}
    if config.auth_type == "azure-client-secret":
        names = ("azure_client_id", "azure_client_secret", "azure_tenant_id")
        return {**host, "azure_credentials": {name: getattr(config, name) for name in names}}
    raise DatabricksError(
        f"compute=databricks logs in with a token, OAuth or an Azure service principal, not with {config.auth_type}: "
        "set DATABRICKS_TOKEN, DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or ARM_CLIENT_ID, ARM_CLIENT_SECRET, "
        "and ARM_TENANT_ID"
    )


def _cluster(options: DatabricksOptions, family: Family) -> dict[str, Any]:
    if options.existing_cluster_id:
        return {"existing": options.existing_cluster_id}
    cluster = new_cluster(options, family)
    if "azure_attributes" in cluster:
        raise DatabricksError(
            "databricks.spot: Dagster's step launcher takes no spot machines with a fallback on Azure: unset it, or "
            "set compute to databricks_classic"
        )
    types = {name: cluster.pop(name) for name in ("node_type_id", "driver_node_type_id") if name in cluster}
    size = {name: cluster.pop(name) for name in ("num_workers", "autoscale") if name in cluster}
    tags = [{"key": key, "value": value} for key, value in cluster.pop("custom_tags").items()]
    return {"new": {**cluster, "nodes": {"node_types": types}, "size": size, "custom_tags": tags}}


def _file_values(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(settings_file(path))
    except yaml.YAMLError as error:
        raise DatabricksError(f"databricks.config = {str(path)!r}: not readable as YAML: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise DatabricksError(f"databricks.config = {str(path)!r}: settings are `name: value` lines, not a list")
    return {name: value for name, value in (found or {}).items() if name not in _LOCAL and value is not None}


def _compare(settings: Settings, known: Mapping[str, Any]) -> None:
    """Refuse cluster settings that do not load, or that would make other partitions or other rows than ours."""
    try:
        there = build(**known)
    except SettingsError as error:
        raise DatabricksError(f"the cluster's settings (databricks.config): {error}") from error
    other = [name for name in _SHARED if getattr(there, name) != getattr(settings, name)]
    if other:
        name = other[0]
        raise DatabricksError(
            f"databricks.config: {name} is {_shown(there, name)} on the cluster, but {_shown(settings, name)} here: "
            "they must be the same, or the cluster would make other partitions or rows; leave it out of that file"
        )


def _shown(settings: Settings, name: str) -> str:
    return _text(settings.model_dump(mode="json", include={name})[name])


def _text(value: Any) -> str:
    """A setting as its variable's text."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)
