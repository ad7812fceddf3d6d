"""Watching the source: a file that is still being written is left alone, and unchanged content is not read again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from forecast_platform.settings import Settings
from forecast_platform.sources.choose import source_for
from forecast_platform.sources.landing import LandingSource

_MOST_NAMED = 4
"""Files that are named where many are young."""

Signature = Mapping[str, tuple[int, int]]
"""File -> size and time of change in ns."""


@dataclass(frozen=True)
class Look:
    """What the last look saw: the files' signature, and since when (Unix seconds) it has been that."""

    signature: str
    since: float


def signature(settings: Settings) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file that a landing source reads; empty for a source without files.

    Feeds are asked first, as often as they allow: what they bring lies in the same files. Raises SourceError where no
    source can be made.
    """
    if settings.source == "feeds":
        from forecast_platform.sources.feeds import FeedSource

        source = source_for(settings)
        if isinstance(source, FeedSource):
            source.refresh(settings.series)
    if settings.landing is None or settings.source not in ("landing", "feeds"):
        return {}
    found = {}
    for name, path in LandingSource(settings.landing, settings.today).paths(settings.series).items():
        try:
            stat = path.stat()
        except OSError:
            continue  # a file that is not there, or that cannot be seen, is what reading the source reports
        found[name] = (stat.st_size, stat.st_mtime_ns)
    return found


def look(previous: Look | None, files: Signature, now: dt.datetime, settle_seconds: float) -> tuple[Look, str]:
    """This look, and why the files are not to be read yet (empty where they are settled).

    They are where no file is younger than `settle_seconds`, or where they have stayed the same for that long: the
    second holds where the files' clock is ahead of ours. Where ours was set back since the last look, that counts from
    now on.
    """
    text = json.dumps(files, sort_keys=True)
    stamp = now.timestamp()
    known = previous is not None and previous.signature == text and previous.since <= stamp
    current = previous if previous is not None and known else Look(text, stamp)
    young = [name for name, (_, changed) in files.items() if stamp - changed / 1e9 < settle_seconds]
    if not young or stamp - current.since >= settle_seconds:
        return current, ""
    named = ", ".join(sorted(young)[:_MOST_NAMED]) + (
        f" and {len(young) - _MOST_NAMED} more files" if len(young) > _MOST_NAMED else ""
    )
    return (
        current,
        f"{named} changed less than {settle_seconds:g} s ago: read when it stays the same",
    )


@dataclass(frozen=True)
class Cursor:
    """What the new-data sensor remembers between ticks: its last look, and the content that unified_data holds all of.

    read: the files' signature when that content was read. The content counts for one date only, because each day
    brings a calendar row even where no file changes.
    """

    look: Look | None = None
    content: str = ""
    date: str = ""
    read: str = ""

    def dump(self) -> str:
        """As text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def load(cls, text: str | None) -> tuple[Cursor, str]:
        """The cursor in `text`, and a word on it where it is unreadable: then all is looked at anew."""
        if not text:
            return cls(), ""
        try:
            stored = json.loads(text)
            seen = stored["look"]
            return cls(
                None if seen is None else Look(str(seen["signature"]), float(seen["since"])),
                str(stored["content"]),
                str(stored["date"]),
                str(stored["read"]),
            ), ""
        except (ValueError, TypeError, KeyError):
            return cls(), f"the cursor {text[:40]!r} is not one of this sensor; it starts over"
