"""Fitting: one model of one series on one window, kept in trained_models and tracked; a rerun fits nothing again."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from forecast_platform.host.progress import Progress, silent
from forecast_platform.work.fits import (
    FitManifest,
    manifests,
    other_algorithm_text,
    other_settings_text,
    refuse_missing_extra,
    store_fit,
    why_not_storable,
)
from forecast_platform.work.fitting import FitTask
from forecast_platform.work.platform import Platform, row_hashes
from forecast_platform.work.results import Outcome

log = logging.getLogger(__name__)


def train(
    platform: Platform,
    series: str,
    model: str,
    windows: Sequence[dt.date],
    *,
    version: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Fit `model` on each window of `series` that has no current fit, and keep every fit as soon as it is there.

    Raises RefusedError where the model's library is not installed here.
    """
    from forecast_platform.compute import engine_for, remote_for
    from forecast_platform.pipeline import tracking

    version = version or platform.settings.model_version
    outcome = Outcome(series, model)
    started = time.perf_counter()
    if platform.settings.compute == "local":
        refuse_missing_extra(platform, model)
    algorithm, identity = platform.model(model).algorithm_version, platform.settings.model_spec(model).identity
    active = manifests(platform, series, model, version)
    tasks: list[FitTask] = []
    hashes: dict[dt.date, str] = {}
    for start in sorted(windows):
        try:
            task, data_version = _task(platform, series, model, start)
        except ValueError as error:
            outcome.failed[start] = str(error)
            continue
        current = active.get(start)
        if current and not overwrite:
            other = current.algorithm_version != algorithm
            # A window of an earlier algorithm is compared on what that one read.
            read = _data_version(platform, task, current) if other else data_version
            if current.data_version == read:
                if other:
                    outcome.failed[start] = other_algorithm_text(version, current.algorithm_version, algorithm)
                elif current.settings != identity:
                    outcome.failed[start] = other_settings_text(version, model, current.settings, identity)
                else:
                    outcome.skipped.add(start)
                continue
        tasks.append(task)
        hashes[start] = data_version
    total = len(windows)
    remote = remote_for(platform.settings)
    if remote is not None:
        with closing(remote.fit(platform, series, model, version, hashes)) as parts:
            for part in parts:
                outcome.add(part)
                progress(len(outcome.good) + len(outcome.failed), total, f"{series} {model}")
        outcome.seconds = time.perf_counter() - started
        return outcome
    tracker = tracking.Tracker(platform.settings) if tasks else None
    if tracker is not None:
        try:
            tracker.close_abandoned()
        except tracking.TrackingError as error:
            outcome.notes.append(f"runs that were left open are not closed: {error}")
    for done in engine_for(platform.settings).fits(platform, tasks):
        start = done.task.window_start
        if reason := done.error or why_not_storable(platform, done):
            outcome.failed[start] = reason
        else:
            assert tracker is not None  # noqa: S101 - there are tasks
            try:
                run_id = tracker.log_fit(done, version, hashes[start])
            except tracking.TrackingError as error:
                # The fit is worth more than its record: keep it, and say that MLflow lacks it.
                run_id = None
                outcome.notes.append(f"window {start}: {error}")
            store_fit(platform, done, version, algorithm, hashes[start], run_id)
            outcome.written.add(start)
            outcome.rows += 1
            dropped = np.datetime64(done.task.history.dates[0]) - done.task.window.start
            if dropped > np.timedelta64(7, "D"):
                outcome.notes.append(
                    f"window {start}: training begins on {done.task.history.dates[0]}, not {done.task.window.start}: "
                    "earlier days have no data or not all covariates"
                )
        progress(len(outcome.good) + len(outcome.failed), total, f"{series} {model} {start}")
    outcome.seconds = time.perf_counter() - started
    return outcome


def _task(platform: Platform, series: str, model: str, start: dt.date) -> tuple[FitTask, str]:
    window = platform.training_window(start)
    table = platform.series_table(series)
    if start > platform.settings.today():
        raise ValueError(f"window {start} has not begun; it can be trained from that day on")
    seen = table.seen_days(platform.settings.publication_lag_days.market)
    due = seen[seen < window.end]
    missing = int((due > np.datetime64(table.last_observed, "D")).sum())
    if missing:
        raise ValueError(
            f"{series}: data end on {table.last_observed}, {missing} exchange sessions before window {start} begins; "
            "ingest newer data first"
        )
    chosen = platform.model(model)
    covariates = table.covariate_names(chosen.covariates, window)
    history = table.history(window.start, window.end, covariates, chosen.reads)
    spec = platform.settings.model_spec(model)
    return FitTask(series, model, start, window, history, platform.settings.seed, spec), row_hashes(history)[-1]


def _data_version(platform: Platform, task: FitTask, fit: FitManifest) -> str:
    """The hash of a window's training rows as its current fit read them."""
    table, covariates = platform.series_table(task.series), tuple(task.history.covariates)
    return row_hashes(table.history(task.window.start, task.window.end, covariates, fit.reads))[-1]
