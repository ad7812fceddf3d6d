"""What is kept of jobs, and for how long."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence

from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.uploads import UploadStore

AT_ONCE = 25
"""Jobs that one look removes at the most: a sensor's tick may take 60 s, and ten thousand may come of age together."""


def prune(store: JobStore, forget: Callable[[Sequence[Job]], object], at_once: int = AT_ONCE) -> list[Job]:
    """Remove jobs that ended keep_days ago, drafts and uploads of keep_drafts_hours, and folders without a row.

    forget: removes what others keep of the jobs. Returns the jobs, `at_once` of them where more are old. A job's row
    goes last: killed anywhere, what is left is found again by it, a folder without one as well.
    """
    limits, now = store.settings.training_jobs, store.settings.now().astimezone(dt.timezone.utc)

    def before(**age: float) -> str:
        return (now - dt.timedelta(**age)).isoformat(timespec="milliseconds")

    drafts = before(hours=limits.keep_drafts_hours)
    old = store.old(before(days=limits.keep_days), drafts, at_once)
    forget(old)
    for job in old:
        remove_folder(store, job.job_id)
    store.forget([job.job_id for job in old])
    UploadStore(store.settings).drop(drafts)
    _sweep(store, now - dt.timedelta(hours=limits.keep_drafts_hours))
    return old


def remove_folder(store: JobStore, job_id: str) -> None:
    """Remove a job's data and results."""
    shutil.rmtree(store.job_folder(job_id), ignore_errors=True)


def _sweep(store: JobStore, before: dt.datetime) -> None:
    """Folders and files of requests that ended before they had a row."""
    for parent in ("jobs", "uploads"):
        found = [path for path in (store.folder / parent).glob("*") if path.stat().st_mtime < before.timestamp()]
        # Uploads with a row are as young as it is, and go with it. One look for all: there may be ten thousand.
        known = store.ids() if found and parent == "jobs" else frozenset()
        for path in found:
            if path.name not in known:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
