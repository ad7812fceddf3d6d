"""Whether unified_data is known to hold what the source gives: then a command need not read the source again.

Reading and judging the files takes most of a second. What comes of it depends on the files' bytes, the settings, the
day, this code and the stored rows alone; where a command has found that an ingest of them would change nothing, a mark
of all five is kept in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import forecast_platform.sources
from forecast_platform.host.user_cache import cache_folder
from forecast_platform.pipeline import ingest
from forecast_platform.sources.choose import source_for
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import UNIFIED_DATA
from forecast_platform.work.platform import Platform

_OF_FILES = ("landing", "sample")
"""Sources that give the same as long as their fingerprint does; others are asked each time."""
_KEPT_SECONDS = 2 * 24 * 3600
"""A mark holds for its day alone."""

log = logging.getLogger(__name__)


class SourceMark:
    """What the source holds when this is made, for `series_names`.

    Raises SourceError where no source can be made.
    """

    def __init__(self, platform: Platform, series_names: Sequence[str]) -> None:
        self.platform = platform
        self.series_names = sorted(series_names)
        self._content = self._read()

    def is_up_to_date(self) -> bool:
        """Whether an earlier command found that unified_data, as it is now, holds all of it."""
        path = self._path()
        return path is not None and path.is_file()

    def keep(self) -> None:
        """Say that unified_data, as it is now, holds all of it and nothing was refused; not where the source has
        changed since this was made, nor where the cache folder cannot be written to."""
        if self._content is None or self._read() != self._content:
            return
        path = self._path()
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            _remove_old(path.parent)
        except OSError as error:
            log.debug("%s cannot be written (%s): later commands read the source too", path, error)

    def _read(self) -> str | None:
        settings = self.platform.settings
        if settings.source not in _OF_FILES:
            return None
        chosen = [settings.series_named(name) for name in self.series_names]
        return json.dumps(source_for(settings).fingerprint(chosen), sort_keys=True)

    def _path(self) -> Path | None:
        folder, warehouse = cache_folder("up-to-date"), self.platform.warehouse
        if self._content is None or folder is None or not isinstance(warehouse, DeltaWarehouse):
            return None
        state = warehouse.state(UNIFIED_DATA)
        if state is None:
            return None
        settings = self.platform.settings
        parts = [
            json.dumps(self.series_names),
            self._content,
            settings.model_dump_json(
                exclude={"warehouse", "workers"}
            ),  # where its tables lie; what they hold is their state
            settings.today().isoformat(),
            version("exchange-calendars"),
            _code(),
        ]
        digest = hashlib.blake2b("\x1f".join(parts).encode() + state, digest_size=16)
        return folder / digest.hexdigest()


def _code() -> str:
    """What tells this code from any other that judges or lays out the source: its files' names, sizes and times."""
    folder = Path(forecast_platform.sources.__path__[0])
    files = [Path(ingest.__file__), *sorted(folder.rglob("*.py"))]
    return json.dumps([(path.name, *_of_file(path)) for path in files])


def _of_file(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _remove_old(folder: Path) -> None:
    """Remove marks of other days. Raises OSError where one cannot be removed."""
    oldest = time.time() - _KEPT_SECONDS
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another command was quicker
            if path.stat().st_mtime < oldest:
                path.unlink()
