"""The asset graph, one file a table family: each asset reads its keys, calls the pipeline, reports."""

from __future__ import annotations

OWNERS = ["team:forecasting"]
"""Who is asked about these assets; shown in the UI."""
