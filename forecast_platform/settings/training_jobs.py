"""What can be set of training jobs and of the API in front of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from forecast_platform.settings import values

ENVIRONMENT = {
    "store": "JOB_STATE_DB_PATH",
    "experiment": "MLFLOW_EXPERIMENT_NAME",
    "jobs_a_user": "MAX_JOBS_PER_USER",
    "jobs_in_all": "MAX_TOTAL_JOBS",
    "delegation": "ENABLE_CLUSTER_DELEGATION",
    "cluster_id": "DEDICATED_CLUSTER_ID",
    "notebook": "TRAINING_NOTEBOOK_PATH",
}
"""Variables that deployments of the front end set already, by the setting that they stand for where it is unset."""

_SHORTEST_SECRET = 16


class TrainingJobSettings(BaseModel):
    """Training jobs: how many, how large, how long kept, and who may ask for them (docs/jobs.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    enabled: bool = Field(default=True, description="Whether jobs are taken; where not, the API answers 503.")
    jobs_a_user: int = Field(
        default=3, ge=1, le=1000, description="Jobs a user may have queued and running (MAX_JOBS_PER_USER)."
    )
    jobs_in_all: int = Field(
        default=10, ge=1, le=10_000, description="Jobs that all users may have queued and running (MAX_TOTAL_JOBS)."
    )
    drafts_a_user: int = Field(
        default=20, ge=1, le=10_000, description="Jobs a user may have created and not yet submitted."
    )
    keep_days: float = Field(
        default=30, gt=0, le=3650, description="Days for which a finished job is kept: partitions, rows and artifacts."
    )
    keep_drafts_hours: float = Field(
        default=24, gt=0, le=8760, description="Hours for which uploads and jobs that were never submitted are kept."
    )
    max_seconds: float = Field(
        default=3600, gt=0, le=86_400, description="The longest time_limit that a job may ask for."
    )
    max_upload_mb: float = Field(default=512, gt=0, description="The largest file that is taken, in MB.")
    uploads_a_user: int = Field(
        default=50, ge=1, le=10_000, description="Uploads a user may keep at once, those that come in among them."
    )
    uploads_mb_a_user: float = Field(
        default=2048, gt=0, description="MB that a user's uploads may have in all, those that come in among them."
    )
    max_uncompressed_mb: float = Field(
        default=1024, gt=0, description="The largest table that is read from a file, uncompressed, in MB."
    )
    max_request_mb: float = Field(default=32, gt=0, description="The largest request with rows in it, in MB.")
    max_rows: int = Field(default=5_000_000, ge=1, description="Rows of a job's table at most.")
    max_rows_a_series: int = Field(default=20_000, ge=10, description="Rows of one series at most.")
    max_series: int = Field(default=10_000, ge=1, description="Series of a job at most.")
    tokens: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="User -> bearer token of the API; set it in the environment. Where empty, requests from this "
        "machine are the user `local`.",
    )
    store: Path | None = Field(
        default=None,
        description="SQLite file of the admission store (JOB_STATE_DB_PATH); in the warehouse's _training_jobs where "
        "unset.",
    )
    experiment: str | None = Field(
        default=None,
        description="One MLflow experiment of all jobs (MLFLOW_EXPERIMENT_NAME); where unset each job has its own, "
        "/Shared/forecast_platform/jobs/<job_id>.",
    )

    delegation: bool = Field(
        default=False,
        description="Whether jobs may be trained on Databricks, and are unless they say `compute: local` "
        "(ENABLE_CLUSTER_DELEGATION).",
    )
    cluster_id: str | None = Field(
        default=None,
        description="Cluster that jobs on Databricks are trained on (DEDICATED_CLUSTER_ID); where unset, serverless "
        "compute for small jobs and a new cluster of 2 to 8 workers for others.",
    )
    notebook: str | None = Field(
        default=None,
        description="Workspace path of the training notebook, {mode} in it stands for the mode "
        "(TRAINING_NOTEBOOK_PATH); the deployed train_<mode> where unset.",
    )
    serverless_rows: int = Field(
        default=100_000, ge=0, description="Rows up to which a job without cluster_id is trained on serverless compute."
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="Address that the end of each task of a workflow is posted to, signed (docs/ensembles.md); set it "
        "in the environment.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="What those posts are signed with, 16 characters at least, or whsec_ and base64; set it in the "
        "environment.",
    )

    _file = field_validator("store", mode="before")(values.folder)
    _here = field_validator("store")(values.at_home)

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        found = {name: os.environ[variable] for name, variable in ENVIRONMENT.items() if os.environ.get(variable)}
        return {**found, **data}

    @model_validator(mode="after")
    def _webhook_is_whole(self) -> TrainingJobSettings:
        if (self.webhook_url is None) != (self.webhook_secret is None):
            raise ValueError("webhook_url and webhook_secret: set both, or neither: what is posted is always signed")
        if self.webhook_url is not None and self.webhook_secret is not None:
            if not self.webhook_url.get_secret_value().startswith(("https://", "http://")):
                raise ValueError(
                    "webhook_url: an address begins with https:// (or http://, on networks that you trust)"
                )
            secret = self.webhook_secret.get_secret_value()
            if len(secret) < _SHORTEST_SECRET:
                raise ValueError(f"webhook_secret: {_SHORTEST_SECRET} characters at least")
            if secret.startswith("whsec_") and not re.fullmatch(r"whsec_[A-Za-z0-9+/]+={0,2}", secret):
                raise ValueError("webhook_secret: whsec_ is followed by base64")
        return self

    @model_validator(mode="after")
    def _tokens_differ(self) -> TrainingJobSettings:
        values = [token.get_secret_value() for token in self.tokens.values()]
        if any(len(value) < 16 for value in values):
            raise ValueError("tokens: a token has 16 characters at least")
        if len(set(values)) < len(values):
            raise ValueError("tokens: two users have the same token")
        return self
