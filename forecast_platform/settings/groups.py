"""Groups of series: each is an asset family with a key prefix of its own, so that no asset has too many partitions."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_PARTITIONS = 100_000
"""Partitions of an asset that Dagster recommends at most, date x series counted as the product of the two
(https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets; older versions said 25,000)."""

RESERVED = frozenset(
    {
        *("unified_data", "trained_models", "distributions", "point_forecasts", "forecast_metadata", "daily_page"),
        *("reports", "rest", "ingest", "train", "forecast", "score"),
    }
)
"""Names of tables, pages and jobs, which a group's would be mistaken for."""

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
_PORTFOLIO = re.compile(r"^[A-Za-z][A-Za-z0-9-]{0,40}$")


@dataclass(frozen=True)
class SeriesGroup:
    """Series whose partitions are in one asset family. `name` is the key prefix, empty for the family without one."""

    name: str
    series: tuple[str, ...]
    """In the order of the setting `series`, which is that of the partitions."""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or "the series without a group"


def grouped(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[SeriesGroup, ...]:
    """The groups of all series: first those without a group where there are any, then the `groups` as given.

    Raises ValueError for a name that is none, an unknown or empty group member, and a series in two groups.
    """
    known = {name.lower(): name for name in names}
    owner: dict[str, str] = {}
    for group, members in groups.items():
        if not _NAME.match(group) or "__" in group:
            raise ValueError(
                f"groups: {group!r}: small letters, digits and single underscores, beginning with a letter, at most 31"
            )
        if group in RESERVED:
            raise ValueError(f"groups: {group!r} is the name of a table, a page or a job: choose another")
        if not members:
            raise ValueError(f"groups: {group} has no series: name some, or leave the group out")
        for member in members:
            series = known.get(member.lower())
            if series is None:
                raise ValueError(f"groups: {group}: series {member!r} is not configured; known: {', '.join(names)}")
            if series in owner:
                twice = f"twice in {group}" if owner[series] == group else f"in {owner[series]} and in {group}"
                raise ValueError(f"groups: series {series} is {twice}: its tables have one place, leave it in one")
            owner[series] = group
    rest = tuple(name for name in names if name not in owner)
    found = [SeriesGroup(group, tuple(name for name in names if owner.get(name) == group)) for group in groups]
    return (*([SeriesGroup("", rest)] if rest or not found else []), *found)


def refuse_too_many(groups: Sequence[SeriesGroup], start: dt.date, last: dt.date) -> None:
    """Raise ValueError where an asset of a group has more than MAX_PARTITIONS, forecast dates start..last."""
    days = (last - start).days + 1
    most = MAX_PARTITIONS // days if days > 0 else MAX_PARTITIONS
    for group in groups:
        count = len(group.series)
        if count <= most:
            continue
        what = f"groups: {group.name}" if group.name else "series"
        if most == 0:
            raise ValueError(
                f"start_date: {days:,} days from {start} on are more partitions than the {MAX_PARTITIONS:,} an asset "
                "that Dagster recommends at most: begin later"
            )
        raise ValueError(
            f"{what}: {count} series over {days:,} days are {days * count:,} partitions, more than the "
            f"{MAX_PARTITIONS:,} an asset that Dagster recommends at most: spread them over {-(-count // most)} groups "
            f"or more, of at most {most} series each (setting groups; about 10 a group keep the UI quick)"
        )


def refuse_unknown_positions(portfolios: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    """Raise ValueError for a portfolio whose name makes no file, that is empty, or names a series that is none."""
    known = {name.lower() for name in names}
    for portfolio, positions in portfolios.items():
        if not _PORTFOLIO.match(portfolio):
            raise ValueError(f"portfolios: {portfolio!r}: letters, digits and dashes, beginning with a letter")
        if not positions:
            raise ValueError(f"portfolios: {portfolio} has no position: name contracts by series, such as Coffee: 10")
        for name in positions:
            if name.lower() not in known:
                raise ValueError(
                    f"portfolios: {portfolio}: series {name!r} is not configured; known: {', '.join(names)}"
                )


def full_on(group: SeriesGroup, start: dt.date) -> dt.date:
    """The last day on which an asset of the group has no more than MAX_PARTITIONS."""
    return start + dt.timedelta(days=MAX_PARTITIONS // max(len(group.series), 1) - 1)
