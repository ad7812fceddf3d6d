"""The asset graph, one file a table family: each asset reads its keys, calls the pipeline, reports."""

from __future__ import annotations

from dagster import Backoff, RetryPolicy

OWNERS = ["team:forecasting"]
"""Who is asked about these assets; shown in the UI."""

RETRIES = RetryPolicy(max_retries=2, delay=10, backoff=Backoff.EXPONENTIAL)
"""For what may pass: a lost worker process, a network file system. Failed keys are not retried: they name a cause."""
