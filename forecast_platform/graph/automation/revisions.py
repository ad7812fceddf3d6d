"""Revised history: forecasts made from rows that have changed since, and the command that makes them anew."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.graph.automation.messages import Problem
from forecast_platform.host.files import write_whole
from forecast_platform.host.times import in_zone
from forecast_platform.work.results import ranges_text

if TYPE_CHECKING:
    from forecast_platform.pipeline.ingest import Changes
    from forecast_platform.work.platform import Platform

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Revision:
    """Days of a series whose rows changed after they had been written."""

    series: str
    first: str
    last: str
    noticed: str
    table_version: int
    """Version of unified_data when the change was seen in the source: it is in the table once that has moved on."""


class Revisions:
    """Revisions whose forecasts have not been made anew, in a file under the warehouse."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "revisions.json"

    def read(self) -> list[Revision]:
        """All of them."""
        try:
            return [Revision(**item) for item in json.loads(self.path.read_text())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError):
            # A damaged file must not stop ingest, which notes revisions, for ever.
            self.path.replace(self.path.with_suffix(".damaged"))
            return []

    def add(self, changes: Mapping[str, Changes], noticed: dt.datetime, table_version: int) -> list[Revision]:
        """Note what `changes` revises; returns what is new. A series' open revision takes further days in."""
        with self._lock():
            return self._add(changes, noticed, table_version)

    def _add(self, changes: Mapping[str, Changes], noticed: dt.datetime, table_version: int) -> list[Revision]:
        known = {item.series: item for item in self.read()}
        new = []
        for name, change in changes.items():
            if not change.revised:
                continue
            first, last = str(min(change.revised)), str(max(change.revised))
            earlier = known.get(name)
            if earlier is not None and earlier.first <= first and earlier.table_version == table_version:
                continue
            stamp = noticed.isoformat(timespec="seconds")
            found = Revision(
                name,
                min(first, earlier.first) if earlier else first,
                max(last, earlier.last) if earlier else last,
                earlier.noticed if earlier else stamp,
                table_version,
            )
            known[name] = found
            new.append(found)
        if new:
            self._write(known.values())
        return new

    def drop(self, done: Iterable[Revision]) -> None:
        """Forget revisions whose forecasts are up to date."""
        gone = set(done)
        if gone:
            with self._lock():
                self._write([item for item in self.read() if item not in gone])

    def _lock(self) -> AbstractContextManager[object]:
        """The sensors that note and drop revisions run in threads of their own."""
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.lock", timeout=30)

    def _write(self, revisions: Iterable[Revision]) -> None:
        write_whole(self.path, json.dumps([asdict(item) for item in revisions], indent=1))


Stale = Mapping[tuple[str, str], list[dt.date]]
"""Model and version -> forecast dates."""


def stale_dates(platform: Platform, revision: Revision, today: dt.date) -> Stale:
    """Forecast dates after the revised day whose stored forecasts do not fit the data any more, of every model and
    version that the daily run covers."""
    from forecast_platform.pipeline.champions import versions_to_run
    from forecast_platform.pipeline.forecast_plan import plan
    from forecast_platform.warehouse.base import Between
    from forecast_platform.warehouse.schemas import POINT_FORECASTS

    first = max(dt.date.fromisoformat(revision.first) + _DAY, platform.settings.start_date)
    found = {}
    for model, version in versions_to_run(platform):
        where = {
            "commodity": revision.series,
            "model_name": model,
            "model_version": version,
            "forecast_date": Between(first, today),
            "day_ahead": platform.horizon,
        }
        there = platform.warehouse.read(POINT_FORECASTS, ["forecast_date"], where)["forecast_date"].to_pylist()
        if there:
            chunks = plan(platform, revision.series, model, version, there).chunks
            stale = sorted(day for chunk in chunks for day in chunk.dates)
            if stale:
                found[model, version] = stale
    return found


def problem_of(platform: Platform, revision: Revision, stale: Stale, today: dt.date) -> Problem:
    """What was revised, what is stale because of it, and how to refresh it."""
    settings = platform.settings
    day = dt.date.fromisoformat(revision.first)
    dates = sorted({date for found in stale.values() for date in found})
    own = settings.model_version
    names = sorted(model if version == own else f"{model} {version}" for model, version in stale)
    versions = sorted({version for _, version in stale}, key=lambda version: (version != own, version))
    commands = [f"`{refresh_command(platform, revision, dates[-1])}{_only(stale, one, own)}`" for one in versions]
    windows = [
        start
        for start in platform.frequency.starts(settings.start_date, today)
        if start > day >= platform.training_window(start).start.astype(dt.date)
    ]
    span = revision.first if revision.first == revision.last else f"{revision.first} to {revision.last}"
    trained = f"; models of windows {', '.join(map(str, windows))} were fitted on the old rows" if windows else ""
    return Problem(
        key=f"revised/{revision.series}",
        what=f"{revision.series}: the source has revised rows of {span}",
        since=in_zone(dt.datetime.fromisoformat(revision.noticed), settings.timezone),
        affected=f"forecasts of {revision.series} of {ranges_text(dates)} by {', '.join(names)} are stale{trained}",
        cause="prices, covariates or weather of past days were corrected at their source",
        mend=f"refresh them with {' and '.join(commands)}"
        + (f" (models first, if wished: `{_train_command(revision, windows, today)}`)" if windows else ""),
        severity="warning",
        link=f"{settings.ui_url}/automation",
    )


def refresh_command(platform: Platform, revision: Revision, last: dt.date) -> str:
    """The command that makes the stale forecasts, actuals and scores anew."""
    # Actuals reach ahead: those of dates before the revised day hold it as well.
    ahead = (platform.horizon - 1) * _DAY
    first = max(dt.date.fromisoformat(revision.first) - ahead, platform.settings.start_date)
    return f"forecast-platform backfill --commodity {revision.series} --start-date {first} --end-date {last}"


def _only(stale: Stale, version: str, configured: str) -> str:
    """What makes the command one of a version other than the configured one: that may lack some of the models."""
    models = " ".join(sorted(model for model, owner in stale if owner == version))
    return "" if version == configured else f" --model-version-tag {version} --models {models}"


def _train_command(revision: Revision, windows: list[dt.date], today: dt.date) -> str:
    return (
        f"forecast-platform train --commodity {revision.series} --start-date {windows[0]} "
        f"--end-date {max(today, windows[-1])}"
    )
