"""What the API answers: the shapes of the front end's contract, with examples for the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.store import Job

_ID = "7d5a1c52-8a0b-4d3c-9a57-0e5f3f6f2f10"
_JOB: dict[str, Any] = {
    "job_id": _ID,
    "status": "running",
    "progress": 42,
    "current_step": "AutoETS: backtest window 2 of 3",
    "run_id": "5b0b1f0e",
    "created_at": "2026-11-28T08:00:00.000+00:00",
    "submitted_at": "2026-11-28T08:00:01.000+00:00",
    "completed_at": None,
    "results": None,
    "error": None,
    "user_id": "local",
    "cluster_id": None,
    "mlflow_run_id": None,
    "training_mode": "statsforecast",
    "model_name": None,
}
_FOUND: dict[str, Any] = {
    "best_model": "AutoETS",
    "mape": 4.2,
    "leaderboard": [
        {"model": "AutoETS", "score_val": 0.81, "mase": 0.81, "mape": 4.2, "fit_time_marginal": 0.9},
        {"model": "SeasonalNaive", "score_val": 1.07, "mase": 1.07, "mape": 5.6, "fit_time_marginal": 0.0},
    ],
    "forecast": [
        {"series": "north", "date": "2026-11-30", "model": "AutoETS", "forecast": 13.1, "median": 13.1}
        | {"lower_80": 12.2, "upper_80": 14.0, "lower_95": 11.7, "upper_95": 14.5}
    ],
}


def _shown(example: dict[str, Any]) -> ConfigDict:
    """A model's example in the OpenAPI document."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class JobAnswer(BaseModel):
    """A job."""

    model_config = _shown(_JOB)

    job_id: str
    status: str = Field(
        description="pending, submitting (queued), running, cancelling, cancelled, completed or failed."
    )
    progress: int = Field(description="Percent of the work that is done, 0 to 100.")
    current_step: str | None
    run_id: str | None = Field(description="Dagster's run.")
    created_at: str
    submitted_at: str | None
    completed_at: str | None
    results: dict[str, Any] | None = Field(description="A summary once completed; the whole is at /results.")
    error: str | None
    user_id: str
    cluster_id: str | None = None
    mlflow_run_id: str | None = None
    training_mode: str
    model_name: str | None = None


class JobList(BaseModel):
    """Jobs, newest first."""

    model_config = _shown({"jobs": [_JOB], "total": 1})

    jobs: list[JobAnswer]
    total: int = Field(description="How many there are, also beyond the limit.")


class CreateJob(BaseModel):
    """A new job."""

    config: JobConfig


class Message(BaseModel):
    """What was done."""

    model_config = _shown({"message": f"job {_ID} is deleted"})

    message: str


class Fault(BaseModel):
    """Why a request was refused: one text, which begins with the field to blame where there is one."""

    detail: str = Field(examples=["horizon: 0: Input should be greater than or equal to 1"])


class TrainingMode(BaseModel):
    """A way to train."""

    value: str
    name: str
    description: str
    speed: str
    recommended: bool
    available: bool = Field(description="Whether what it needs is here, or jobs of it go to Databricks.")


class TrainingModes(BaseModel):
    """All ways to train."""

    model_config = _shown(
        {
            "modes": [
                {"value": "statsforecast", "name": "StatsForecast", "description": "Statistical models, each series by "
                 "itself.", "speed": "fast", "recommended": True, "available": True}
            ]
        }
    )  # fmt: skip

    modes: list[TrainingMode]


class DelegationStatus(BaseModel):
    """Whether jobs are taken, and where they run."""

    model_config = _shown(
        {
            "enabled": True,
            "cluster_id": None,
            "message": "training jobs run on this machine",
            "training_modes": ["autogluon", "statsforecast", "neuralforecast", "mmf", "legacy"],
            "places": ["local"],
        }
    )

    enabled: bool
    cluster_id: str | None
    message: str
    training_modes: list[str]
    places: list[str] = Field(description="Where a job's `compute` may be; the first is where it is by itself.")


class UploadAnswer(BaseModel):
    """A file that was taken: name its id as `file` in a job's config. size: in bytes."""

    model_config = _shown({"file": _ID, "name": "sales.csv", "size": 1874, "columns": ["week", "store", "sales"]})

    file: str
    name: str
    size: int
    columns: list[str]


class KeptUpload(BaseModel):
    """A file that the user keeps. size: in bytes."""

    file: str
    name: str
    size: int
    created_at: str


class UploadList(BaseModel):
    """A user's files, the newest first. most, most_mb: how many of them, and MB of all, there may be."""

    model_config = _shown(
        {
            "uploads": [
                {"file": _ID, "name": "sales.csv", "size": 1874, "created_at": "2026-11-28T09:30:00.000+00:00"}
            ],
            "most": 50,
            "most_mb": 2048.0,
        }
    )

    uploads: list[KeptUpload]
    most: int
    most_mb: float


class Look(BaseModel):
    """What is in an uploaded file; figures once its columns are named."""

    model_config = _shown(
        {
            "columns": ["week", "store", "sales"],
            "series": 2,
            "rows": 119,
            "gaps": 1,
            "frequency": "W-MON",
            "season_length": 52,
            "notes": ["1 missing rows in 1 series were closed with the value before them; none is scored"],
            "examples": [
                {"series": "north", "rows": 60, "first": "2025-10-06T00:00:00", "last": "2026-11-23T00:00:00"}
                | {"gaps": 1, "dates": ["2026-11-23T00:00:00"], "values": [12.5]}
            ],
        }
    )

    columns: list[str]
    series: int | None = None
    rows: int | None = None
    gaps: int | None = Field(default=None, description="Missing rows inside the series.")
    frequency: str | None = None
    season_length: int | None = None
    notes: list[str] = []
    examples: list[dict[str, Any]] = Field(default=[], description="The first series, each with its newest values.")


class Results(BaseModel):
    """What a completed job found; its own figures stand at the top level and in `results` too."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"job_id": _ID, "status": "completed", "mlflow_run_id": "0f6c2b", **_FOUND, "results": _FOUND}
                | {"completed_at": "2026-11-28T08:01:00.000+00:00"}
            ]
        },
    )

    job_id: str
    status: str
    mlflow_run_id: str | None
    completed_at: str | None
    best_model: str
    mape: float | None = Field(description="Of the best model, in percent; lower is better.")
    leaderboard: list[dict[str, Any]]
    forecast: list[dict[str, Any]]
    results: dict[str, Any]


def job_answer(job: Job, step: str, cluster_id: str | None = None) -> JobAnswer:
    """A job as the front end reads it; `cluster_id` of jobs that are trained on one."""
    config, results = job.asked, json.loads(job.summary) if job.summary and job.status == "completed" else None
    return JobAnswer(
        job_id=job.job_id,
        status=job.status,
        progress=job.progress,
        current_step=step or None,
        run_id=job.run_id,
        created_at=job.created_at,
        submitted_at=job.submitted_at,
        completed_at=job.completed_at,
        results=results,
        error=job.error,
        user_id=job.user_id,
        cluster_id=cluster_id if config.compute == "cluster" else None,
        mlflow_run_id=results.get("mlflow_run_id") if results else None,
        training_mode=config.training_mode,
        model_name=config.model_name,
    )


def results_answer(job: Job, found: dict[str, Any]) -> dict[str, Any]:
    """Results as the front end reads them: the same at the top level as in `results`."""
    about = {
        "job_id": job.job_id,
        "status": job.status,
        "mlflow_run_id": found.get("mlflow_run_id"),
        "completed_at": job.completed_at,
    }
    return {**found, **about, "results": found}
