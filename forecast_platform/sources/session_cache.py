"""Exchange sessions that an earlier process has worked out, in the user's cache folder.

Building a calendar takes half a second and more of every process that needs one; what it gives depends on the
exchange, the years and the version of exchange-calendars alone.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from forecast_platform.host.files import write_whole
from forecast_platform.host.user_cache import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forecast_platform.forecasting.history import Dates

    Times = NDArray[np.datetime64]

_LAYOUT = "1"
"""Counted up where the files' content is laid out otherwise: two versions of this package may share a user."""
_DIGEST = 16
"""Bytes at the beginning that tell whether the rest is what was written."""

log = logging.getLogger(__name__)


def read(exchange: str, start: np.datetime64, end: np.datetime64) -> tuple[Dates, Times] | None:
    """The sessions of `exchange` from `start` to `end` as they were kept, datetime64[D], and when each closes,
    datetime64[m], UTC; None where none are, or what is there is damaged."""
    path = _file(exchange, start, end)
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.debug("%s cannot be read (%s): the calendar is built anew", path, error)
        return None
    if _digest(content[_DIGEST:]) != content[:_DIGEST]:
        log.debug("%s is damaged: the calendar is built anew", path)
        return None
    days, closes = np.frombuffer(content, "<i8", offset=_DIGEST).reshape(2, -1).astype("int64")
    return days.view("datetime64[D]"), closes.view("datetime64[m]")


def keep(exchange: str, start: np.datetime64, end: np.datetime64, days: Dates, closes: Times) -> None:
    """Keep the sessions of `exchange` from `start` to `end`, datetime64[D], and when each closes, datetime64[m], UTC,
    for later processes, where the folder can be written to."""
    path = _file(exchange, start, end)
    if path is None:
        return
    content = np.stack([days.astype("int64"), closes.astype("int64")]).astype("<i8").tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _digest(content) + content)
    except OSError as error:
        log.debug("%s cannot be written (%s): later processes build the calendar too", path, error)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def _file(exchange: str, start: np.datetime64, end: np.datetime64) -> Path | None:
    from importlib.metadata import version

    folder = cache_folder(f"exchange-calendars-{version('exchange-calendars')}")
    return None if folder is None else folder / f"{quote(exchange, safe='')}_{start}_{end}.sessions{_LAYOUT}"
