"""What the Jobs API refuses when a job is defined or a run submitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from forecast_platform_tests.databricks_workspace import clusters
from forecast_platform_tests.databricks_workspace.faults import ApiError, invalid

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Workspace

KINDS = ("spark_python_task", "notebook_task", "python_wheel_task")
_FIELD = r"(\*|\d+([-/]\d+)?(,\d+([-/]\d+)?)*|\*/\d+)"
_CRON = re.compile(rf"{_FIELD} {_FIELD} {_FIELD} ((\?|{_FIELD}) {_FIELD} \?|\? {_FIELD} {_FIELD})( {_FIELD})?")
"""Quartz: seconds first, and one of day of month and day of week is `?` (names of days are left out here)."""
_PLACES = ("/Workspace/", "/Volumes/", "dbfs:/", "s3:/", "abfss:/", "gs:/")


def check_job(workspace: Workspace, body: dict[str, Any]) -> None:
    """Refuse what the API refuses in a job, and fields that it does not know.

    The API itself passes over most of those; here none is, because such a field is a setting that has no effect.
    """
    from databricks.sdk.service.jobs import JobSettings

    unknown = sorted(_lost(body, JobSettings.from_dict(body).as_dict()))
    if unknown:
        raise ApiError(400, "MALFORMED_REQUEST", f"Could not parse request object: unknown {', '.join(unknown)}")
    schedule = body.get("schedule")
    if schedule:
        cron, zone = schedule.get("quartz_cron_expression", ""), schedule.get("timezone_id", "")
        if not _CRON.fullmatch(cron):
            raise invalid(f"Invalid quartz_cron_expression: {cron!r}")
        try:
            ZoneInfo(zone)
        except (ValueError, OSError, KeyError) as error:
            raise invalid(f"Invalid timezone_id: {zone!r}") from error
    if not 0 <= body.get("max_concurrent_runs", 1) <= 1000:
        raise invalid("max_concurrent_runs must be between 0 and 1000")
    check_tasks(workspace, body)


def _lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Paths of what is in `given` and not in `kept`; empty values, which mean nothing, need not be."""
    if isinstance(given, dict):
        for name, value in given.items():
            inside = kept.get(name) if isinstance(kept, dict) else None
            yield from _lost(value, inside, f"{path}.{name}" if path else name)
    elif isinstance(given, list):
        for number, value in enumerate(given):
            inside = kept[number] if isinstance(kept, list) and number < len(kept) else None
            yield from _lost(value, inside, f"{path}[{number}]")
    elif given not in (None, "") and given != kept:
        yield path


def check_tasks(workspace: Workspace, body: dict[str, Any]) -> None:
    """Refuse what the API refuses when a run is submitted."""
    tasks = body.get("tasks") or []
    if not tasks:
        raise invalid("At least one task must be given in tasks")
    keys = [task.get("task_key") for task in tasks]
    if None in keys or len(set(keys)) < len(keys):
        raise invalid(f"Each task needs a task_key of its own, got {keys}")
    shared = {entry["job_cluster_key"] for entry in body.get("job_clusters", [])}
    environments = {entry["environment_key"] for entry in body.get("environments", [])}
    for task in tasks:
        key = task["task_key"]
        given = [kind for kind in KINDS if task.get(kind)]
        if len(given) != 1:
            raise invalid(f"Task {key} must have exactly one of {', '.join(KINDS)}, has {given}")
        for upstream in task.get("depends_on", []):
            if upstream.get("task_key") not in keys:
                raise invalid(f"Task {key} depends on {upstream.get('task_key')}, which is not a task of this run")
        if not task.get("notebook_task", {}).get("notebook_path", "/").startswith("/"):
            raise invalid(f"Task {key}: only absolute notebook paths are supported; they must begin with '/'")
        for wheel in (library["whl"] for library in task.get("libraries", []) if "whl" in library):
            if not wheel.startswith(_PLACES) or "*" in wheel:
                raise invalid(f"Task {key}: library {wheel!r} is not a path of the workspace, a volume or a bucket")
        places = [name for name in ("new_cluster", "existing_cluster_id", "job_cluster_key") if task.get(name)]
        if len(places) > 1:
            raise invalid(f"Task {key} must have only one of new_cluster, existing_cluster_id, job_cluster_key")
        if task.get("new_cluster"):
            clusters.check(task["new_cluster"])
        if task.get("existing_cluster_id"):
            workspace.clusters.get(task["existing_cluster_id"])
        if task.get("job_cluster_key") and task["job_cluster_key"] not in shared:
            raise invalid(f"Task {key} names job cluster {task['job_cluster_key']}, which is not in job_clusters")
        if task.get("environment_key"):
            if places or task["environment_key"] not in environments:
                raise invalid(
                    f"Task {key}: environment {task['environment_key']} is not in environments, or has a cluster"
                )
            if task.get("libraries"):
                raise invalid(f"Task {key}: libraries are not allowed on serverless compute; use environments")
        elif not places and given != ["notebook_task"]:
            raise invalid(f"Task {key}: a Python task on serverless compute needs an environment_key")
