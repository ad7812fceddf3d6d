"""What can be set of Databricks. Credentials are no settings: the SDK reads them (DATABRICKS_HOST, DATABRICKS_TOKEN,
DATABRICKS_CLIENT_ID and _SECRET, ARM_*, or a profile of ~/.databrickscfg)."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

RUNTIME = "17.3.x-cpu-ml-scala2.13"
"""The supported runtime: 17.3 LTS ML (Python 3.12, Spark 4.0, numpy 2.1, pandas 2.2), supported until October 2028."""

INIT_SCRIPT_PLACES = {
    "/Workspace/": "workspace",
    "/Volumes/": "volumes",
    "abfss://": "abfss",
    "gs://": "gcs",
}
"""Where init scripts may lie, by how their path begins: the API's name of the place."""


class DatabricksOptions(BaseModel):
    """Where and on what a run of `forecast-platform databricks` is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    volume: str = Field(
        default="/Volumes/commodity/forecast/pipes",
        description="Unity Catalog volume through which runs that Dagster submits report; must exist.",
    )
    concurrent_runs: int = Field(
        default=4, ge=1, le=64, description="Runs that a step of compute databricks_* has going on at a time."
    )
    attempts: int = Field(
        default=2, ge=1, le=10, description="Runs of one chunk where Databricks failed, not the code (databricks_*)."
    )
    outage_seconds: float = Field(
        default=600.0, ge=0, description="How long a step waits for a workspace that is not reached (databricks_*)."
    )
    chunk_workers: int = Field(
        default=0, ge=0, le=64, description="Workers of a chunk's new cluster (databricks_classic); 0: a single node."
    )
    remote_compute: Literal["local", "spark"] = Field(
        default="local", description="What a chunk's run computes with, on its own cluster (databricks_*)."
    )
    profile: str | None = Field(default=None, description="Profile of ~/.databrickscfg, where there are several.")
    folder: str = Field(
        default="/Shared/forecast_platform", description="Workspace folder for notebooks, wheels and the settings file."
    )
    config: str | None = Field(
        default=None, description="Local YAML file with the platform's settings as the cluster needs them."
    )
    runtime: str = Field(default=RUNTIME, description="Databricks runtime of new clusters.")
    node_type: str = Field(
        default="i3.xlarge",
        description="Node type of new clusters (AWS; Azure: Standard_DS3_v2, Google: n2-highmem-4).",
    )
    driver_node_type: str | None = Field(default=None, description="Driver's node type; the workers' where unset.")
    training_workers: int = Field(default=0, ge=0, le=64, description="Workers for training; 0 is a single node.")
    workers: int = Field(default=4, ge=0, le=256, description="Workers for backfill and inference.")
    max_workers: int | None = Field(default=None, ge=1, le=256, description="Autoscale from `workers` up to this.")
    spot: bool = Field(default=False, description="Workers from the spot market, falling back to on-demand.")
    existing_cluster_id: str | None = Field(default=None, description="Run on this cluster instead of a new one.")
    packages: tuple[str, ...] = Field(default=(), description="Further requirements installed on the cluster.")
    tags: dict[str, str] = Field(default_factory=dict, description="Custom tags of new clusters, for cost reports.")
    secrets: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of remote tasks by secret: NAME: scope/key."
    )
    environment: dict[str, str] = Field(default_factory=dict, description="Environment variables of remote tasks.")
    init_scripts: tuple[str, ...] = Field(
        default=(),
        description="Init scripts of new clusters, in order: /Workspace/..., /Volumes/..., abfss://... or gs://...",
    )
    staging: str = Field(
        default="/dagster_staging", description="DBFS folder through which compute databricks ships its steps."
    )
    data_security_mode: Literal["SINGLE_USER", "USER_ISOLATION", "NONE"] = Field(
        default="SINGLE_USER", description="Access mode of new clusters; Unity Catalog needs one that is not NONE."
    )
    budget_policy_id: str | None = Field(default=None, description="Budget policy of serverless runs, for their cost.")
    accelerator: Literal["GPU_1xA10", "GPU_1xH100", "GPU_8xH100", "GPU_8xB300"] = Field(
        default="GPU_1xA10", description="What a serverless run has that a workflow asks a GPU for (serverless: [GPU])."
    )
    training_timeout_seconds: int = Field(default=7200, ge=60, description="Training runs are ended after this.")
    timeout_seconds: int = Field(default=3600, ge=60, description="Backfill and inference runs are ended after this.")
    poll_seconds: float = Field(default=10.0, gt=0, le=300, description="How often a watched run is looked at.")
    pending_warning_seconds: float = Field(
        default=600.0, gt=0, description="A run that waits this long for its cluster is said to, with why."
    )

    @field_validator("folder")
    @classmethod
    def _workspace_path(cls, value: str) -> str:
        if not value.startswith("/") or value.startswith(("/Workspace", "/Volumes", "/dbfs")):
            raise ValueError("a workspace path such as /Shared/forecast_platform, without /Workspace")
        return value.rstrip("/")

    @field_validator("volume")
    @classmethod
    def _volume_path(cls, value: str) -> str:
        if not re.match(r"^/Volumes/[^/]+/[^/]+/[^/]+(/[^/]+)*/?$", value):
            raise ValueError("/Volumes/CATALOG/SCHEMA/VOLUME, with a folder below it if wanted")
        return value.rstrip("/")

    @field_validator("staging")
    @classmethod
    def _dbfs_path(cls, value: str) -> str:
        if not value.startswith("/") or value.startswith(("/dbfs", "/Volumes", "/Workspace")) or value == "/":
            raise ValueError("a folder of DBFS such as /dagster_staging, without dbfs:")
        return value.rstrip("/")

    @field_validator("init_scripts")
    @classmethod
    def _script_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [path for path in value if not path.startswith(tuple(INIT_SCRIPT_PLACES))]
        if wrong:
            raise ValueError(f"{wrong[0]}: a path that begins with one of {', '.join(INIT_SCRIPT_PLACES)}")
        return value

    @field_validator("secrets")
    @classmethod
    def _scope_and_key(cls, value: dict[str, str]) -> dict[str, str]:
        for name, secret in value.items():
            if not re.match(r"^[^/{}]+/[^/{}]+$", secret):
                # The value is not shown: it may be the secret itself.
                raise ValueError(f"{name}: give scope/key of a Databricks secret, never the secret")
        return value
