"""A job's results as rows of the warehouse: `training_job_forecasts` and `training_job_leaderboards`.

A job is one commit and one small file a table, in the partition of the day on which it was created. Such a file holds
one job alone, so that its statistics say without opening it that it is not the next job's; a day that has ended is
merged into one file by maintenance, and no later job looks into it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.training_jobs.results import FORECAST
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.warehouse.base import Warehouse
from forecast_platform.warehouse.schemas import TRAINING_JOB_FORECASTS, TRAINING_JOB_LEADERBOARDS

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = (TRAINING_JOB_FORECASTS, TRAINING_JOB_LEADERBOARDS)
_AT_ONCE = 500
"""Jobs whose rows are removed in one commit."""


def write_rows(warehouse: Warehouse, store: JobStore, job: Job, results: Mapping[str, Any]) -> int:
    """Put a job's rows in the place of those of an earlier attempt, the leaderboard's last; returns the forecast's.

    results: what results.json holds; the forecast's rows are read from the job's forecast.csv, which has them all. They
    bear the time at which the job was completed, or that of now. Raises WarehouseError.
    """
    rows = _forecast(job, results, store.job_folder(job.job_id) / FORECAST)
    where = {"job_day": job.day, "job_id": job.job_id}
    warehouse.replace(TRAINING_JOB_FORECASTS, rows, where)
    warehouse.replace(TRAINING_JOB_LEADERBOARDS, _leaderboard(job, results, job.completed_at or store.now()), where)
    return rows.num_rows


def remove_rows(warehouse: Warehouse, jobs: Sequence[tuple[str, str]]) -> None:
    """Remove the rows of these jobs, (id, day) each. Raises WarehouseError."""
    for first in range(0, len(jobs), _AT_ONCE):
        some = jobs[first : first + _AT_ONCE]
        where = {"job_day": sorted({day for _, day in some}), "job_id": sorted(job_id for job_id, _ in some)}
        for table in TABLES:
            if warehouse.version(table) is not None:
                warehouse.replace(table, table.arrow_schema().empty_table(), where)


def remove_forgotten(warehouse: Warehouse, store: JobStore) -> int:
    """Remove the rows of jobs that were pruned or deleted; returns how many jobs. Raises WarehouseError.

    Killed anywhere, what is left is found again by the next call.
    """
    gone = store.forgotten()
    if gone:
        remove_rows(warehouse, gone)
        store.no_longer_forgotten([job_id for job_id, _ in gone])
    return len(gone)


def _forecast(job: Job, results: Mapping[str, Any], file: Path) -> pa.Table:
    """Rows of TRAINING_JOB_FORECASTS of a forecast.csv, which is series by series and step by step."""
    import pyarrow as pa
    from pyarrow import csv

    texts = ("series", "date", "model")
    found = csv.read_csv(
        file,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string())),
    )
    horizon, levels = int(results["horizon"]), [int(level) for level in results["levels"]]
    stamps = found["date"].to_numpy(zero_copy_only=False).astype("datetime64[us]")
    steps = np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(stamps) // horizon)
    parts = [
        pa.table(
            {
                **{name: pa.array([value] * len(stamps)) for name, value in _of(job).items()},
                "series": found["series"],
                "step": steps,
                "stamp": pa.array(stamps, pa.timestamp("us", "UTC")),
                "model": found["model"],
                "forecast": _numbers(found["forecast"]),
                "median": _numbers(found["median"]),
                "level": np.full(len(stamps), level, np.int32),
                "lower": _numbers(found[f"lower_{level}"]),
                "upper": _numbers(found[f"upper_{level}"]),
            }
        )
        for level in levels
    ]
    return pa.concat_tables(parts)


def _leaderboard(job: Job, results: Mapping[str, Any], now: str) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            **{column.name: row.get(column.name) for column in TRAINING_JOB_LEADERBOARDS.columns},
            **_of(job),
            "rank": rank,
            "coverage": json.dumps(
                {level: row[f"coverage_{level}"] for level in results["levels"] if f"coverage_{level}" in row}
            ),
            "training_mode": job.asked.training_mode,
            "data_hash": results["data_hash"],
            "mlflow_run_id": results["mlflow_run_id"],
            "completed_at": dt.datetime.fromisoformat(now),
        }
        for rank, row in enumerate(results["leaderboard"], 1)
    ]
    return pa.Table.from_pylist(rows, TRAINING_JOB_LEADERBOARDS.arrow_schema())


def _of(job: Job) -> dict[str, str]:
    return {"job_day": job.day, "job_id": job.job_id, "user_id": job.user_id}


def _numbers(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(pa.float64())
