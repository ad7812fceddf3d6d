"""The one Spark session of this process."""

from __future__ import annotations

import threading
from typing import Any

from forecast_platform.clients.spark_catalog import catalog_session
from forecast_platform.clients.spark_session import master_of, session_on
from forecast_platform.settings import Settings

_lock = threading.Lock()


def session_for(settings: Settings) -> Any:
    """The process's session on the master that the settings name, or over Unity Catalog where they name none.

    Raises SparkUnavailableError.
    """
    with _lock:
        if settings.tables == "unity_catalog" and settings.spark.master == "auto":
            return catalog_session(settings)
        return session_on(master_of(settings), settings)
