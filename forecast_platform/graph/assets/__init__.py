"""The asset graph, one file a table family: each asset reads its keys, calls the pipeline, reports."""

from __future__ import annotations

import sys

from dagster import Backoff, DagsterExecutionInterruptedError, RetryPolicy

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
