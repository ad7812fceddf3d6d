"""From the source to unified_data: the source is read and checked once, then each series' days are replaced."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.pipeline.kept_data import held, keep_macro
from forecast_platform.warehouse.base import Between, any_of
from forecast_platform.warehouse.schemas import UNIFIED_DATA
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from forecast_platform.sources.unify import UnifiedFrame


@dataclass
class IngestReport:
    """What an ingest did, by series, and what it has to say of the source."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    available: dict[str, tuple[dt.date, dt.date]] = field(default_factory=dict)
    """First and last day that the source can fill, by series."""
    rejections: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a series has no frame, by series."""
    held: set[str] = field(default_factory=set)
    """Of those, the series that lack nothing but a file which may still be being written."""

    def refused(self, name: str, reason: str) -> None:
        """The series `name` is not read, for `reason`."""
        self.rejections.append(reason)
        self.reasons[name] = reason


def read_source(platform: Platform, series_names: Sequence[str]) -> tuple[dict[str, UnifiedFrame], IngestReport]:
    """Every series' unified frame from the first history day to the last complete day. Nothing is written.

    Raises SourceError where no source can be made, and for an unknown exchange.
    """
    from forecast_platform.sources.base import SourceError
    from forecast_platform.sources.calendars import sessions
    from forecast_platform.sources.choose import source_for
    from forecast_platform.sources.unify import last_complete_day, last_observed_close, unify

    settings = platform.settings
    today = settings.today()
    chosen = [settings.series_named(name) for name in series_names]
    raw = source_for(settings).read(chosen)
    report = IngestReport(rejections=[str(item) for item in raw.rejections], warnings=raw.remarks)
    frames: dict[str, UnifiedFrame] = {}
    for series in chosen:
        if series.name not in raw.market:
            reasons = raw.rejections_of(series.name)
            report.reasons[series.name] = "; ".join(map(str, reasons))
            if reasons and all(item.held for item in reasons):
                report.held.add(series.name)
            continue
        newest = last_observed_close(raw, series.name)
        calendar = sessions(series.calendar, newest, max(newest, today) + dt.timedelta(days=30))
        end = last_complete_day(newest, calendar, today, settings.publication_lag_days.market)
        if settings.end_date is not None:  # history partitions end the day before the last forecast date
            end = min(end, settings.end_date - dt.timedelta(days=1))
        try:
            frames[series.name] = unify(
                raw, series, start=settings.history_start, end=end, lags=settings.publication_lag_days
            )
        except SourceError as error:
            report.refused(series.name, f"{series.name}: {error}")
            continue
        if any(item.file.startswith("macro") for item in raw.rejections):
            frames[series.name] = keep_macro(frames[series.name], _stored(platform, series.name))
        if reason := held(series, frames[series.name], _stored_closes(platform, series.name)):
            report.refused(series.name, reason)
            del frames[series.name]
    return frames, report


def _stored(platform: Platform, name: str) -> pd.DataFrame:
    return platform.warehouse.read(UNIFIED_DATA, where={"commodity": name}).to_pandas()


def _stored_closes(platform: Platform, name: str) -> pa.Table:
    return platform.warehouse.read(UNIFIED_DATA, ["date", "close", "is_observed"], {"commodity": name})


def ingest(platform: Platform, series_names: Sequence[str], first: dt.date, last: dt.date) -> IngestReport:
    """Write the days first..last of each series. Days whose rows are unchanged are left alone; days that the source
    cannot fill are failed keys that say why; a rejected file fails its series and no other.

    Raises SourceError as `read_source`.
    """
    frames, report = read_source(platform, series_names)
    wanted = [first + dt.timedelta(days=offset) for offset in range((last - first).days + 1)]
    few: list[tuple[str, pa.Table]] = []
    for name in series_names:
        started = time.perf_counter()
        outcome = report.outcomes.setdefault(name, Outcome(name, ""))
        unified = frames.get(name)
        if unified is None:
            reason = report.reasons.get(name) or "the source has no such series"
            outcome.failed = dict.fromkeys(wanted, reason)
            continue
        rows = _rows(unified, first, last)
        days = rows["date"].to_pylist()
        everything = unified.frame["date"]
        begins, ends = _date(everything.iloc[0]), _date(everything.iloc[-1])
        report.available[name] = (begins, ends)
        for day in set(wanted) - set(days):
            outcome.failed[day] = (
                f"data of {name} begin on {begins}"
                if day < begins
                else f"data of {name} end on {ends}: the close of the session after is not in the source yet"
            )
        unchanged = _unchanged(platform, name, rows)
        changed = [day for day in days if day not in unchanged]
        outcome.skipped = unchanged
        if changed:
            if len(days) <= _FEW_DAYS:
                few.append((name, rows))
            else:
                _write(platform, [name], rows)
            outcome.written = set(changed)
            outcome.rows = len(changed)
        if unified.filled_closes:
            outcome.notes.append(f"{unified.filled_closes} exchange sessions have no close; filled forward")
        outcome.notes.extend(unified.notes)
        outcome.seconds = time.perf_counter() - started
    _write_together(platform, few)
    return report


_FEW_DAYS = 31
"""Days of a series up to which it is written with others: the commit takes longer than the rows."""


def _write_together(platform: Platform, few: Sequence[tuple[str, pa.Table]]) -> None:
    """Replace these rows of series: those with the same days and columns in one commit."""
    import pyarrow as pa

    alike: dict[tuple[object, ...], list[tuple[str, pa.Table]]] = {}
    for name, rows in few:
        days = rows["date"]
        alike.setdefault((days[0].as_py(), days[-1].as_py(), *rows.column_names), []).append((name, rows))
    for group in alike.values():
        _write(platform, [name for name, _ in group], pa.concat_tables([rows for _, rows in group]))


def _write(platform: Platform, series: Sequence[str], rows: pa.Table) -> None:
    """Replace the days that `rows` [n] span, of each of `series`; rows of a series are by date."""
    days = Between(rows["date"][0].as_py(), rows["date"][-1].as_py())
    platform.warehouse.replace(UNIFIED_DATA, rows, {"commodity": any_of(series), "date": days})


def ingest_partitions(platform: Platform, series_names: Sequence[str], first: dt.date, last: dt.date) -> IngestReport:
    """`ingest` over the partitions first..last, whose outcomes are by partition: the first one, `lookback_end`, holds
    the whole lookback.

    Raises SourceError as `read_source`.
    """
    end = platform.settings.lookback_end
    report = ingest(platform, series_names, platform.settings.history_start if first == end else first, last)
    return replace(report, outcomes={name: by_partition(outcome, end) for name, outcome in report.outcomes.items()})


def by_partition(outcome: Outcome, lookback_end: dt.date) -> Outcome:
    """The outcome with all days of the lookback as one key, `lookback_end`: there where that day's row is.

    Days before the data begin are no failure of it: which of them a model needs is said where it is fitted.
    """

    def kept(days: set[dt.date]) -> set[dt.date]:
        return {max(day, lookback_end) for day in days}

    good = lookback_end in outcome.good
    written = kept(outcome.written) - (set() if good else {lookback_end})
    failed = {day: reason for day, reason in outcome.failed.items() if day > lookback_end}
    if lookback_end in outcome.failed:
        failed[lookback_end] = outcome.failed[lookback_end]
    return replace(outcome, written=written, skipped=kept(outcome.skipped) - written - failed.keys(), failed=failed)


@dataclass(frozen=True)
class Changes:
    """Days of a series that an ingest would write: those that unified_data lacks, and those whose rows differ."""

    new: list[dt.date]
    revised: list[dt.date]

    def partitions(self, lookback_end: dt.date) -> tuple[dt.date, dt.date]:
        """The first and the last partition that holds one of them: the lookback is one, named by its last day."""
        everything = [*self.new, *self.revised]
        return max(min(everything), lookback_end), max(max(everything), lookback_end)


def changes(platform: Platform, series_names: Sequence[str]) -> tuple[dict[str, Changes], list[str]]:
    """What an ingest would change, by series (none where unified_data is up to date), and what the source refused.

    Raises SourceError as `read_source`.
    """
    frames, report = read_source(platform, series_names)
    found: dict[str, Changes] = {}
    for name, unified in frames.items():
        days = unified.frame["date"]
        rows = _rows(unified, _date(days.iloc[0]), _date(days.iloc[-1]))
        unchanged = _unchanged(platform, name, rows)
        changed = [day for day in rows["date"].to_pylist() if day not in unchanged]
        if changed:
            stored = platform.warehouse.read(UNIFIED_DATA, ["date"], {"commodity": name})["date"].to_pylist()
            known = set(stored)
            found[name] = Changes([d for d in changed if d not in known], [d for d in changed if d in known])
    return found, report.rejections


def catch_up(platform: Platform, series_names: Sequence[str]) -> tuple[dict[str, tuple[dt.date, dt.date]], list[str]]:
    """The partitions of each series that an ingest would change, from the first new or revised day to the last one
    (none where unified_data is up to date), and what the source refused.

    Raises SourceError as `read_source`.
    """
    found, rejections = changes(platform, series_names)
    return {name: change.partitions(platform.settings.lookback_end) for name, change in found.items()}, rejections


def _rows(unified: UnifiedFrame, first: dt.date, last: dt.date) -> pa.Table:
    """The frame's rows first..last as an Arrow table of the schema; columns that the source lacks are null."""
    import pandas as pd
    import pyarrow as pa

    frame = unified.frame
    frame = frame[(frame["date"] >= pd.Timestamp(first)) & (frame["date"] <= pd.Timestamp(last))]
    known = {column.name for column in UNIFIED_DATA.columns}
    extra = tuple(name for name in frame.columns if name not in known)
    schema = UNIFIED_DATA.arrow_schema(extra)
    arrays = [
        pa.Array.from_pandas(frame[field.name], type=field.type)
        if field.name in frame.columns
        else pa.nulls(len(frame), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays([_single(array) for array in arrays], schema=schema).sort_by("date")


def _single(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if hasattr(array, "combine_chunks") else array


def _unchanged(platform: Platform, series: str, rows: pa.Table) -> set[dt.date]:
    """Days whose stored row equals the new one in every column."""
    if rows.num_rows == 0:
        return set()
    days = rows["date"].to_pylist()
    stored = platform.warehouse.read(UNIFIED_DATA, where={"commodity": series, "date": Between(days[0], days[-1])})
    if stored.num_rows == 0 or not set(rows.column_names) <= set(stored.column_names):
        return set()
    stored = stored.sort_by("date")
    old_days = stored["date"].to_numpy()
    if len(np.unique(old_days)) < len(old_days):
        return set()  # a day stored twice is mended by writing it again
    new_days = rows["date"].to_numpy()
    position = np.minimum(np.searchsorted(old_days, new_days), len(old_days) - 1)
    same = old_days[position] == new_days
    for name in rows.column_names:
        new = rows[name].to_numpy(zero_copy_only=False)
        old = stored[name].to_numpy(zero_copy_only=False)[position]
        equal = new == old
        if new.dtype == np.float64:
            equal |= np.isnan(new) & np.isnan(old.astype(np.float64))
        same &= equal.astype(bool)
    return {day for day, unchanged in zip(days, same, strict=True) if unchanged}


def _date(day: object) -> dt.date:
    return day.date() if hasattr(day, "date") else day  # type: ignore[return-value]
