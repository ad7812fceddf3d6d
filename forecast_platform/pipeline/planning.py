"""What a backfill would do before it does it: runs, dates to do and to skip, missing models, time and disk."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.pipeline.ingest import catch_up
from forecast_platform.warehouse.schemas import FORECAST_METADATA, TRAINED_MODELS, Table
from forecast_platform.work.fits import trained_windows
from forecast_platform.work.platform import NoDataError, Platform

OVERHEAD = 1.05
"""Stored bytes over those of the bare paths: point forecasts, metadata and identity; simulated prices do not
compress. Measured on 1,826 dates of 2,000 paths: 0.97 for the paths, 0.01 for the rest, rounded up."""

RUN_SECONDS = 2.0
"""A run's own time beside its work."""
DATE_SECONDS = 0.002
"""Dagster's bookkeeping of a date and model in the forecast run (events, 1 ms) and its checks."""
SCORE_SECONDS = 0.0026
"""Scoring a date of 2,000 paths."""
FIT_SECONDS = 0.15
"""Tracking a fit. The fit itself is done twice: once more for the holdout. All on two cores, which others used too."""


@dataclass(frozen=True)
class ModelPlan:
    """One series and model."""

    series: str
    model: str
    asked: int
    todo: tuple[dt.date, ...]
    skipped: int
    repaired: int
    missing_windows: tuple[dt.date, ...]
    waiting: int
    """Dates whose window has no model, or whose members are forecast by the same request: they come after that."""
    failed: dict[dt.date, str]
    """Dates that cannot be forecast, and why."""
    inference_seconds: float | None
    """Of the dates to do and those that wait; None where no past forecast tells."""
    training_seconds: float | None
    """Of the missing windows; None where no past fit tells."""
    stored_bytes: int


@dataclass(frozen=True)
class BackfillPlan:
    """A whole request."""

    models: list[ModelPlan]
    ingest: dict[str, tuple[dt.date, dt.date]]
    """Days of unified_data that are new or revised in the source, by series: these are ingested first."""
    rejected: list[str]
    runs: dict[str, int]
    free_bytes: int
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every model is there."""
        return not any(item.missing_windows for item in self.models)

    @property
    def stored_bytes(self) -> int:
        """Bytes that the backfill would add."""
        return sum(item.stored_bytes for item in self.models)

    @property
    def seconds(self) -> float | None:
        """Expected time of all runs; None where a part of it has no past to tell from."""
        parts = [item.inference_seconds for item in self.models] + [item.training_seconds for item in self.models]
        if any(part is None for part in parts):
            return None
        dates = sum(len(item.todo) + item.waiting for item in self.models)
        work = sum(part for part in parts if part is not None)
        return work + (DATE_SECONDS + SCORE_SECONDS) * dates + RUN_SECONDS * sum(self.runs.values())


def backfill_plan(
    platform: Platform,
    series: Sequence[str],
    models: Sequence[str],
    dates: Sequence[dt.date],
    *,
    version: str,
    overwrite: bool = False,
    train: bool = True,
) -> BackfillPlan:
    """What `backfill` over these would do now. Reads the source and the tables; writes nothing.

    The command line makes one run a series for each of ingest (where the source has newer or revised days), train
    (where models are missing and `train`), forecast and score, whatever the number of models and dates. Raises
    SourceError as `ingest.read_source`.
    """
    notes = []
    stale: dict[str, tuple[dt.date, dt.date]] = {}
    rejected: list[str] = []
    if platform.settings.source == "feeds":
        # Reading a feed fetches, and keeps what it fetched.
        notes.append("the feeds are not asked for newer days: the counts are of what unified_data holds now")
    else:
        stale, rejected = catch_up(platform, series)
    found = [
        _model_plan(platform, name, model, version, dates, overwrite, models) for name in series for model in models
    ]
    lacking = {item.series for item in found if item.missing_windows}
    runs = {
        "ingest": len(stale),
        "train": len(lacking) if train else 0,
        "forecast": len(series),
        "score": len(series),
    }
    for name, (first, last) in stale.items():
        notes.append(
            f"{name}: unified_data of {first} to {last} is new or revised in the source; forecasts that read those "
            "days are made anew once it is ingested, beside those counted here"
        )
    return BackfillPlan(found, stale, rejected, runs, _free(platform), notes)


def _model_plan(
    platform: Platform,
    series: str,
    model: str,
    version: str,
    dates: Sequence[dt.date],
    overwrite: bool,
    models: Sequence[str],
) -> ModelPlan:
    try:
        planned = plan(platform, series, model, version, dates, overwrite=overwrite)
    except NoDataError as error:
        planned_failed = dict.fromkeys(dates, str(error))
        windows = sorted({platform.window_start(day) for day in dates})
        lacking = sorted(set(windows) - trained_windows(platform, series, model, version))
        return ModelPlan(series, model, len(dates), (), 0, 0, tuple(lacking), 0, planned_failed, 0.0, None, 0)
    todo = tuple(day for chunk in planned.chunks for day in chunk.dates)
    missing = set(planned.missing_windows)
    waiting = {day for day in dates if platform.window_start(day) in missing}
    waiting |= {day for day, member in planned.lacking.items() if member in models}
    failed = {day: why for day, why in planned.failed.items() if day not in waiting}
    each = _past(platform, FORECAST_METADATA, "inference_seconds", model, series)
    fit = _past(platform, TRAINED_MODELS, "training_seconds", model, series)
    count = len(todo) + len(waiting)
    return ModelPlan(
        series=series,
        model=model,
        asked=len(set(dates)),
        todo=todo,
        skipped=len(planned.skipped),
        repaired=len(planned.repair),
        missing_windows=tuple(sorted(missing)),
        waiting=len(waiting),
        failed=failed,
        inference_seconds=0.0 if count == 0 else None if each is None else each * count,
        training_seconds=0.0 if not missing else None if fit is None else (2 * fit + FIT_SECONDS) * len(missing),
        stored_bytes=int(count * platform.settings.n_paths * platform.horizon * 4 * OVERHEAD),
    )


def _past(platform: Platform, table: Table, column: str, model: str, series: str) -> float | None:
    """The median of a past duration of this model: of this series where there is one, else of any."""
    for where in ({"model_name": model, "commodity": series}, {"model_name": model}):
        rows = platform.warehouse.read(table, [column], where)
        values = np.array([value for value in rows[column].to_pylist() if value is not None], np.float64)
        if len(values):
            return float(np.median(values))
    return None


def _free(platform: Platform) -> int:
    """Bytes free where the warehouse is, or will be."""
    folder = platform.settings.warehouse
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
