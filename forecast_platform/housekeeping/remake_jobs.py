"""Rows of training jobs that were lost, made again from the results that each job keeps in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from forecast_platform.settings import Settings
from forecast_platform.training_jobs.results import FORECAST, NEEDED, RESULTS
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.tables import TABLES, write_rows
from forecast_platform.warehouse.damage import Damage
from forecast_platform.warehouse.schemas import Table
from forecast_platform.work.platform import Platform

_DAY = "job_day"


def can_be_made(settings: Settings, lost: Sequence[Damage]) -> bool:
    """Whether all that files of the jobs' tables held can be made again: every job of their days has ended, and those
    that were completed have their results still."""
    store = JobStore(settings)
    if not store.exists:
        return False
    jobs = store.submitted_on(_days(lost))
    return not any(
        job.status in ("running", "cancelling") or (job.status == "completed" and _results_of(store, job) is None)
        for job in jobs
    )


def remake_jobs(platform: Platform, lost: Sequence[Damage], say: Callable[[str], None]) -> Iterator[str]:
    """Write the rows of completed jobs that a lost file or commit held; yields why not. Raises WarehouseError."""
    files = [one for one in lost if one.table in TABLES]
    store = JobStore(platform.settings)
    if not files or not store.exists:
        return
    jobs = [job for job in store.submitted_on(_days(files)) if job.status == "completed"]
    if not jobs:
        return
    there = [_counts(platform, table, sorted({job.day for job in jobs})) for table in TABLES]
    made = 0
    for job in jobs:
        results = _results_of(store, job)
        if results is None:
            yield f"rows of job {job.job_id}: {store.job_folder(job.job_id)} has no results any more; create it again"
            continue
        if _rows(results) == tuple(counts.get(job.job_id, 0) for counts in there):
            continue
        try:
            write_rows(platform.warehouse, store, job, results)
            made += 1
        except (ValueError, KeyError) as error:
            yield f"rows of job {job.job_id}: {store.job_folder(job.job_id) / FORECAST} cannot be read: {error}"
    say(f"{' and '.join(table.name for table in TABLES)}: rows of {made} training jobs, from their folders")


def _days(lost: Sequence[Damage]) -> list[str] | None:
    """The days of the jobs whose rows the files held; None where a file, or a lost commit, does not say."""
    days = {one.partition.get(_DAY) for one in lost}
    return None if None in days else sorted(str(day) for day in days)


def _results_of(store: JobStore, job: Job) -> dict[str, Any] | None:
    """What a job's results.json holds, where it and the forecast are there and can be read; else None."""
    folder = store.job_folder(job.job_id)
    try:
        found: dict[str, Any] = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if (folder / FORECAST).is_file() and all(name in found for name in NEEDED) else None


def _rows(results: dict[str, Any]) -> tuple[int, ...]:
    """How many rows of each of TABLES a job has; -1 where that is not known (a notebook of the user's own)."""
    return int(results.get("forecast_rows", -1)) * len(results["levels"]), len(results["leaderboard"])


def _counts(platform: Platform, table: Table, days: list[str]) -> dict[str, int]:
    """Rows that there are by job."""
    rows = platform.warehouse.read(table, ["job_id"], {_DAY: days})
    found = rows.group_by("job_id").aggregate([([], "count_all")])
    return dict(zip(found["job_id"].to_pylist(), found["count_all"].to_pylist(), strict=True))
