"""Likely causes of errors and their mends: a table of patterns, first match first. Add a row to teach it one."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A known error: the pattern that tells it, why it happens, and what to do.

    Where `why` has {0}, the pattern's groups fill {0}, {1}, ... of both texts; else the first one is named behind it.
    """

    pattern: str
    why: str
    mend: str


CAUSES: tuple[Cause, ...] = (
    Cause(
        r"No module named '([\w.]+)'|ModuleNotFoundError|cannot import name '(\w+)'|ImportError",
        "a Python package is missing or of another version where the run is executed",
        "install the package in the environment of the daemon and of the runs (on a cluster: add it to the job's "
        "libraries), then launch the run again; `forecast-platform doctor` checks what is installed",
    ),
    Cause(
        r"unexpected keyword argument '?(\w+)?|takes \d+ positional arguments? but",
        "two versions of the code or of a library meet: the caller knows an argument that the called one does not",
        "restart daemon and code server so that all run the same version; on a cluster ship the wheel again; compare "
        "the installed libraries with requirements.lock",
    ),
    Cause(
        r"UNRESOLVED_COLUMN|column .* cannot be resolved|cannot resolve .*column|has no column (\S+)|"
        r"No field (?:named|with name) (\S+)|FieldRef\.",
        "a table was written with another schema than the code now reads",
        "run `forecast-platform migrate`, or ingest again for a column of unified_data (`forecast-platform backfill` "
        "does so first)",
    ),
    Cause(
        r"(?:auto_?arima|sarimax|order search|pmdarima)[\s\S]*(?:MemoryError|out of memory|Cannot allocate)|"
        r"(?:MemoryError|out of memory|Cannot allocate)[\s\S]*(?:auto_?arima|sarimax|order search|pmdarima)",
        "the search for the model's order ran out of memory",
        "lower max_p and max_q of the model, or lookback_years; or lower workers so that fewer fits run at a time",
    ),
    Cause(
        r"MemoryError|[Oo]ut of memory|Cannot allocate memory|SIGKILL|exit code -9|OOMKilled",
        "the process ran out of memory and was stopped",
        "lower workers and max_concurrent_runs, or n_paths; for the order search lower max_p, max_q or the lookback; "
        "or give the machine more memory. What was written is kept: the rerun goes on from there",
    ),
    Cause(
        r"the newest close of (\w+), (\S+) on (\S+), is no close that the forecast",
        "{0}'s newest close, {1} on {2}, lies far outside what was held possible: a number that broke off, another "
        "unit, or a day that will be remembered",
        "look at the source: mend the number there, or confirm it with `forecast-platform infer --commodity {0} "
        "--accept {2}`; the other series went on",
    ),
    Cause(
        r"the unit has changed",
        "the source counts in another unit than what was stored or fitted before",
        "mend the source; or, if the new unit is meant, do what the message names: nothing is forecast across the two",
    ),
    Cause(
        r"the table cannot be read",
        "files of a table are damaged or were removed by something else than this platform",
        "put the newest backup back (`forecast-platform restore`); trained_models and distributions can also be made "
        "anew",
    ),
    Cause(
        r"SESSION_(?:CLOSED|EXPIRED|NOT_FOUND)|session (?:has )?(?:timed out|expired|timeout)|INVALID_HANDLE",
        "the Spark session ended while the run was using it, usually after idling",
        "launch the run again: finished keys are skipped; if it happens often, raise the session's idle timeout",
    ),
    Cause(
        r"no capacity|insufficient.{0,20}capacity|INSUFFICIENT_INSTANCE|CLOUD_PROVIDER_LAUNCH_FAILURE|STOCKOUT|"
        r"QUOTA_EXCEEDED|quota exceeded",
        "the cloud has no machines of the kind that the cluster asks for, or the quota is used up",
        "wait and launch the run again, choose another instance type or zone, or raise the quota",
    ),
    Cause(
        r"DiskFullError|No space left on device|Errno 28|free disk space|min_free_gb",
        "the disk is full, so writing was stopped before anything was damaged",
        "free space or enlarge the disk, then launch the run again; vacuum old table versions, and look at min_free_gb",
    ),
    Cause(
        r"was made with algorithm version",
        "the model's code has a new algorithm version and the tables hold forecasts of the old one",
        "raise model_version (or --model-version-tag), or replace the old ones with --overwrite",
    ),
    Cause(
        r"data end on (\S+?),? ?\d* ?(?:exchange sessions|days)|data of (\w+) end on",
        "the newest prices have not arrived",
        "look at what delivers the landing files; once the new days are there, automation goes on by itself",
    ),
    Cause(
        r"no trained_models/(\w+)|MissingModelError",
        "the training window has no fitted model",
        "run the command that the message names, or switch the sensor train_missing_windows on; look for a failed "
        "training run before that",
    ),
    Cause(
        r"CommitFailed|Failed to commit|another writer|ConcurrentTransaction|commit conflict",
        "several runs wrote the same table month at the same time and one kept losing",
        "launch the run again; keep one run a model at a time (the concurrency limits in dagster.yaml)",
    ),
    Cause(
        r"database is locked",
        "many processes write Dagster's SQLite files at once",
        "launch the run again; for many runs at a time move the instance to Postgres (docs/postgres.md)",
    ),
    Cause(
        r"still being written: its last line has no end",
        "a landing file was still being written when the run read it",
        "nothing to mend: once the file stands still the run is made again by itself",
    ),
    Cause(
        r"market/\S+(?:, row \d+)?: |macro\.\w+(?:, row \d+)?: |weather\.\w+(?:, row \d+)?: |refused by the source",
        "the source refused a landing file",
        "mend the row that the message names and save the file again: it is read by itself",
    ),
    Cause(
        r"Connection (?:refused|reset|aborted)|Max retries exceeded|Name or service not known|timed? ?out",
        "a server could not be reached",
        "look at the network and at the server that the message names, then launch the run again",
    ),
    Cause(
        r"PermissionError|Permission denied|Errno 13",
        "the account that runs this may not read or write the file",
        "give the account of the daemon the right to the file or folder that the message names",
    ),
    Cause(
        r"is gone|UNEXPECTED_TERMINATION|run worker|exceeded maximum runtime|failed to start|terminated unexpectedly",
        "the run's process was stopped from outside: a restart, a kill, or its time limit",
        "nothing, if it happens once: it is tried again and finished keys are skipped. Often: look at the machine's "
        "memory and the system log",
    ),
)


def explain(error: str, where: str) -> tuple[str, str]:
    """Likely cause and mend of an error text; for an unknown error the mend says `where` the full log is."""
    for cause in CAUSES:
        hit = re.search(cause.pattern, error)
        if hit:
            named = [group for group in hit.groups() if group]
            if "{0}" in cause.why:
                return cause.why.format(*named), cause.mend.format(*named)
            return cause.why + (f" ({named[0]})" if named else ""), cause.mend
    return "not known", f"read the full log: {where}"
