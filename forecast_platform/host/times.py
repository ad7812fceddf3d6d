"""Moments as people read them: in one zone, which is said."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo


def in_zone(moment: dt.datetime | float, zone: str) -> str:
    """A moment (aware, or Unix seconds) to the minute in `zone`, with the zone's abbreviation: 2019-01-04 08:03 PST.

    Raises ValueError for a moment without a zone.
    """
    if isinstance(moment, int | float):
        moment = dt.datetime.fromtimestamp(moment, dt.timezone.utc)
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: give one, such as datetime.now(timezone.utc)")
    local = moment.astimezone(ZoneInfo(zone))
    name = local.tzname() or ""
    # Zones without an abbreviation of their own give a bare offset.
    return f"{local:%Y-%m-%d %H:%M} {name if name[:1].isalpha() else f'UTC{name}'}"
