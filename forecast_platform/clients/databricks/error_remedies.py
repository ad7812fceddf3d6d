"""What usually helps, by what the error says."""

from __future__ import annotations

import re

MENDS = (
    (
        r"QUOTA|quota exceeded|INSUFFICIENT_INSTANCE_CAPACITY|STOCKOUT|SPOT_INSTANCE",
        "the cloud gave no machines: raise the quota, or set another databricks.node_type, fewer workers, or spot off",
    ),
    (
        r"CLOUD_PROVIDER|INVALID_ARGUMENT|BOOTSTRAP|CLOUD_FAILURE|INSTANCE_POOL",
        "the cluster did not start: try again; if it stays, check databricks.node_type and the workspace's network",
    ),
    (
        r"[Ll]ibrary installation failed|LIBRARY_INSTALLATION|requirement\b.*(satisf|version)",
        "a library could not be installed: deploy again; check databricks.packages, and that an index is reached",
    ),
    (
        r"DBFS root is disabled",
        "this workspace has DBFS switched off: set compute to databricks_serverless or databricks_classic, which do "
        "without it, or have an admin enable DBFS root and mounts",
    ),
    (
        r"maximum concurrent runs",
        "another run of this job is going on: wait for it, or cancel it with `forecast-platform databricks cancel`",
    ),
    (
        r"TIMEDOUT|[Tt]imed out",
        "it took longer than allowed: raise databricks.timeout_seconds (of training: training_timeout_seconds), or, on "
        "clusters, add workers",
    ),
    (r"CANCELED|Run cancelled", "it was cancelled: submit it again; what was written is kept and not made twice"),
    (
        r"Could not reach driver|DRIVER_|unexpectedly terminated|OutOfMemory|exit code 137",
        "the driver was lost (often out of memory): a larger driver_node_type, or fewer models at once; then submit "
        "again; what was written is kept",
    ),
    (
        r"no trained_models/|MissingModelError",
        "models are missing: submit train first, or submit the backfill with --train",
    ),
    (r"NoDataError|unified_data has no rows", "there are no prices: check the settings' source and its landing folder"),
    (r"wrong settings|SettingsError", "the settings file for the cluster is wrong: mend it and deploy again"),
    (
        r"runs another forecast-platform",
        "an existing cluster kept an earlier wheel: restart it, then run this again; if it says so still, remove the "
        "older wheels from the cluster's libraries",
    ),
    (
        r"parameters (progress|source)\b",
        "the package deployed is of an earlier version: `forecast-platform databricks deploy`, then submit again",
    ),
    (r"ParameterError", "a parameter is wrong: nothing was done; submit again with another one"),
    (r"No module named|ModuleNotFoundError", "a package is missing there: add it to databricks.packages"),
    (r"PERMISSION_DENIED|does not have .*(permission|privilege)", "ask for a grant on the catalog, schema or volume"),
    (r"TaskFailedError", "some keys failed, the others are in the tables: mend what each line says and submit again"),
    (r"SKIPPED", "the run was skipped before it began: submit it again"),
    (r"INTERNAL_ERROR", "Databricks failed, not the code: submit it again; what was written is kept"),
)


def suggest(text: str) -> str:
    """The mend of the first known cause in `text`; empty where none is known."""
    return next((mend for pattern, mend in MENDS if re.search(pattern, text)), "")
