"""The asset graph, one file a table family: each asset reads its keys, calls the pipeline, reports."""

from __future__ import annotations

import sys
from typing import Any

from dagster import Backoff, DagsterExecutionInterruptedError, RetryPolicy

from forecast_platform.graph.assets.report import definition_metadata
from forecast_platform.graph.partitions import backfill_policy
from forecast_platform.warehouse.schemas import Table

OWNERS = ["team:forecasting"]
"""Who is asked about these assets; shown in the UI."""


class UnlessCanceled(RetryPolicy):
    """A retry policy that lets a cancel through."""

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds to the next attempt. Raises the interrupt that is being handled, if it is one."""
        # Dagster 1.13 applies the policy to interrupts too (op_execution_error_boundary): a canceled step would start
        # again, and its run end as a success.
        error = sys.exc_info()[1]
        if isinstance(error, (DagsterExecutionInterruptedError, KeyboardInterrupt)):
            raise error
        return float(super().calculate_delay(attempt_num))


RETRIES = UnlessCanceled(max_retries=2, delay=10, backoff=Backoff.EXPONENTIAL)
"""For what may pass: a lost worker process, a network file system. Failed keys are not retried: they name a cause."""


def shown(group: str, *kinds: str, table: Table | None = None) -> dict[str, Any]:
    """How the UI shows an asset, as keywords of `asset` and `AssetSpec`: in a group, of these kinds, its owners, and
    what its table holds, where it has one."""
    found: dict[str, Any] = {"group_name": group, "kinds": {*kinds}, "owners": OWNERS}
    if table is not None:
        found |= {"kinds": {*kinds, "deltalake"}, "metadata": definition_metadata(table)}
    return found


def over_partitions(*resources: str) -> dict[str, Any]:
    """How a step over partitions runs, as keywords of `asset` and `multi_asset`: one run for a range of them, tried
    again, with the platform and these resources."""
    return {
        "backfill_policy": backfill_policy(),
        "retry_policy": RETRIES,
        "required_resource_keys": {"platform", *resources},
    }
