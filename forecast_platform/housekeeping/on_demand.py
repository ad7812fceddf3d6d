"""Pages that are made when they are asked for: fan charts of past dates, history pages."""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from forecast_platform.work.platform import Platform

AGE_SECONDS = 3600.0
"""Age from which a page is made anew when it is asked for: closes may have come since, which it shows."""

_KINDS = ("fan-chart_", "history_")

log = logging.getLogger(__name__)


def may_be_made(path: Path) -> bool:
    """Whether a page of this name is of a kind that is made on demand."""
    return path.name.startswith(_KINDS) and path.name.endswith(".html")


class OnDemand:
    """Makes a page that is not there, or is old, from the tables; one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    @cached_property
    def _platform(self) -> Platform:
        from forecast_platform.work.platform import Platform

        return Platform.from_settings(self._settings)

    def __call__(self, path: Path) -> None:
        """See that the page at `path` is there and no older than AGE_SECONDS, where it is of a kind that can be made.

        What keeps it from being made is logged: the page that is there is shown, or none is found.
        """
        if not may_be_made(path):
            return
        with self._lock:
            if path.is_file() and abs(time.time() - path.stat().st_mtime) < AGE_SECONDS:
                return
            from forecast_platform.pages.display import asked_for

            try:
                asked_for(self._platform, path.name)
            # Whatever is wrong with the tables must not end the answer to a browser.
            except Exception:
                log.exception("%s cannot be made", path.name)
