"""The user's cache folder: what is kept there between processes saves time, and is safe to delete."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def cache_folder(name: str) -> Path | None:
    """The folder `name` of this package's: below XDG_CACHE_HOME, else ~/.cache. It need not be there yet; None for a
    user without a home."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(chosen) if chosen else Path.home() / ".cache"
    except RuntimeError as error:
        log.debug("no folder for what is kept between processes: %s", error)
        return None
    return root / "forecast_platform" / name
