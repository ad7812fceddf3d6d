"""Tables for training jobs: weekly series with a season, a trend and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import JobConfig, parse
from forecast_platform.training_jobs.panel import Panel, build
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.reading import Limits, read_rows
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.tables import write_rows
from forecast_platform.training_jobs.training import PANEL, run_job
from forecast_platform.warehouse.base import Warehouse


def weekly(n_series: int = 2, weeks: int = 60, *, first: str = "2023-01-02", seed: int = 1) -> list[dict[str, Any]]:
    """Rows of Mondays: store, week, sales."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n_series):
        level = 100 + 10 * k + np.cumsum(rng.normal(size=weeks)) + 8 * np.sin(2 * np.pi * np.arange(weeks) / 13)
        stamps = np.datetime64(first) + 7 * np.arange(weeks)
        rows += [
            {"store": f"s{k}", "week": str(day), "sales": round(float(value), 3)}
            for day, value in zip(stamps, level, strict=True)
        ]
    return rows


def asked(rows: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A config over weekly rows; None leaves a field out."""
    given = {
        "data": weekly() if rows is None else rows,
        "time_col": "week",
        "target_col": "sales",
        "id_col": "store",
        "horizon": 4,
        "season_length": 1,
        "training_mode": "statsforecast",
        "models": ["HistoricAverage"],
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def panel_of(given: dict[str, Any], limits: Limits | None = None) -> tuple[Panel, JobConfig]:
    """The panel of a config's rows."""
    config = parse(given)
    limits = limits or Limits()
    return build(read_rows(config.data or (), config, limits), config, limits), config


def trained(store: JobStore, given: dict[str, Any]) -> tuple[Job, dict[str, Any]]:
    """A job of this config that has its results in its folder, and what results.json holds."""
    panel, config = panel_of(given)
    job = store.create("ann", config)
    folder: Path = store.job_folder(job.job_id)
    folder.mkdir(parents=True)
    panel.save(folder / PANEL)
    return job, run_job(folder, config, Progress())


def write_results_of_a_job(settings: Settings, warehouse: Warehouse, **changes: Any) -> Job:
    """A completed job, whose results are in its folder and in the tables."""
    store = JobStore(settings)
    job, results = trained(store, asked(**changes))
    store.submit(job.job_id, "ann")
    store.started(job.job_id, "a run")
    write_rows(warehouse, store, store.get(job.job_id), results)
    store.complete(job.job_id, "a run", {})
    return store.get(job.job_id)
