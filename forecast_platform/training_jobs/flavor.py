"""Loads a job's predictor for `mlflow.pyfunc.load_model`: public, its name stands in each that was logged."""

from __future__ import annotations

from pathlib import Path

from forecast_platform.training_jobs.predictor import JobPredictor


def _load_pyfunc(path: str) -> JobPredictor:
    return JobPredictor(Path(path))
