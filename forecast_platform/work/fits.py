"""Fits: one model of one series on one window; how it is made anywhere, kept in trained_models, and read back."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform import __version__
from forecast_platform.forecasting.history import History
from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Reads, TrainingWindow, model_id, reads_of
from forecast_platform.warehouse.base import Where, revise
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work import artifacts
from forecast_platform.work.holdout import holdout_metrics
from forecast_platform.work.platform import Platform

log = logging.getLogger(__name__)

INLINE_LIMIT = 1_000_000
"""Bytes from which a fitted model goes to a file instead of the table."""

OTHER_UNIT = 1.5
"""Factor by which the closes of a fit may have moved, by their median, before it is not used on them: above that they
are in another unit. What ingest holds moves by one factor beyond 5 %; a series that is adjusted at rolls moves less."""


class MissingModelError(LookupError):
    """No fitted model for a window; the message says which and how to train it."""


@dataclass(frozen=True)
class FitTask:
    """One fit, self-contained so that another process or machine can do it."""

    series: str
    model: str
    window_start: dt.date
    window: TrainingWindow
    history: Any
    seed: int


@dataclass(frozen=True)
class Fit:
    """What a fit gave: the stored text, figures for tracking, seconds; or the error."""

    task: FitTask
    text: str = ""
    samples: int = 0
    metrics: dict[str, float] | None = None
    seconds: float = 0.0
    error: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What a later simulation must read: the covariates, what else, and the day the history starts."""
        history = self.task.history
        start = str(history.dates[0])
        return {"covariates": list(history.covariates), "reads": list(reads_of(history)), "history_start": start}


_MANIFEST = ("training_cutoff_date", "model_id", "algorithm_version", "parameters", "training_seconds")
"""The columns of trained_models that a FitManifest is made of."""


@dataclass(frozen=True)
class FitManifest:
    """What the table says of a window's current fit beside the fitted model itself: enough to plan with."""

    model_id: str
    algorithm_version: int
    window_start: dt.date
    history_start: np.datetime64
    covariates: tuple[str, ...]
    reads: Reads
    paths_version: int
    """The algorithm version of the paths that today's code makes from this fit."""
    training_seconds: float
    median_close: float | None
    """Of the closes that it was fitted on; None where an earlier version fitted it."""

    def other_unit(self, history: History) -> str | None:
        """Why the model is not used on `history`: the closes it was fitted on are there in another unit. None where
        they are not: their median has moved by less than half."""
        own = history.observed_dates < np.datetime64(self.window_start, "D")
        closes = history.observed_close[own]
        if self.median_close is None or self.median_close <= 0 or len(closes) == 0:
            return None
        ratio = float(np.median(closes)) / self.median_close
        if 1 / OTHER_UNIT < ratio < OTHER_UNIT:
            return None
        return (
            f"the model of window {self.window_start} was fitted on closes around {self.median_close:.6g}; "
            f"unified_data now holds {self.median_close * ratio:.6g} for them: the unit has changed; train it again: "
            f"`forecast-platform train --commodity {history.series} --overwrite`"
        )


@dataclass(frozen=True)
class StoredModel(FitManifest):
    """A fitted model read back from the table."""

    fitted: FittedModel


def fit(task: FitTask) -> Fit:
    """Fit one model and measure it in sample and on a holdout. What goes wrong in it is an error of the key, kept.

    Raises OSError, MemoryError and ImportError: the machine's faults, which another try may not have.
    """
    from threadpoolctl import threadpool_limits

    model = registry.get(task.model)
    started = time.perf_counter()
    try:
        # One BLAS thread: the bits must not depend on the machine's cores, and small matrices gain nothing.
        with threadpool_limits(limits=1):
            fitted = model.fit(task.history, task.window)
            seconds = time.perf_counter() - started
            metrics = {
                **fitted.training_metrics(),
                **holdout_metrics(model, fitted, task.history, task.window, task.seed),
            }
    except (OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        if not isinstance(error, (ValueError, ArithmeticError, np.linalg.LinAlgError)):
            log.exception("%s %s: window %s failed", task.series, task.model, task.window_start)
        return Fit(task, error=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - started)
    finite = {name: float(value) for name, value in metrics.items() if np.isfinite(value)}
    return Fit(task, fitted.to_json(), len(task.history.observed_close), finite, seconds)


def load_model(platform: Platform, series: str, model: str, version: str, window_start: dt.date) -> StoredModel:
    """The current fit of a window. Raises MissingModelError."""
    row = active_rows(platform, series, model, version, window_start).get(window_start)
    if row is None:
        raise MissingModelError(missing_model_text(platform, series, model, version, [window_start]))
    text = row["fitted_model_json"]
    if text is None:
        path = Path(row["fitted_model_s3_path"])
        text = artifacts.read_text(platform.settings, path)
        if text is None:
            raise MissingModelError(
                f"trained_models/{model} for {series}, window {window_start}: its file {path} is gone; train it again "
                f"with `forecast-platform train --commodity {series} --models {model} --overwrite`"
            )
    return StoredModel(
        **vars(_manifest(model, window_start, row)),
        fitted=registry.get(model).load(text, platform.training_window(window_start)),
    )


def manifests(platform: Platform, series: str, model: str, version: str) -> dict[dt.date, FitManifest]:
    """The current fit of each window that has one, by window start; no fitted model is read."""
    where = {"commodity": series, "model_name": model, "model_version": version, "is_active": True}
    rows = platform.warehouse.read(TRAINED_MODELS, _MANIFEST, where).to_pylist()
    starts = [row["training_cutoff_date"] + dt.timedelta(days=1) for row in rows]
    return {start: _manifest(model, start, row) for start, row in zip(starts, rows, strict=True)}


def _manifest(model: str, window_start: dt.date, row: Mapping[str, Any]) -> FitManifest:
    parameters = json.loads(row["parameters"])
    return FitManifest(
        model_id=row["model_id"],
        algorithm_version=row["algorithm_version"],
        window_start=window_start,
        history_start=np.datetime64(parameters["history_start"], "D"),
        covariates=tuple(parameters["covariates"]),
        reads=tuple(parameters.get("reads", ())),
        paths_version=registry.get(model).version_of(row["algorithm_version"]),
        training_seconds=row["training_seconds"],
        median_close=parameters.get("median_close"),
    )


def trained_windows(platform: Platform, series: str, model: str, version: str) -> set[dt.date]:
    """Starts of the windows that have a current fit."""
    return set(active_rows(platform, series, model, version))


def trained_owners(platform: Platform, starts: Iterable[dt.date]) -> dict[dt.date, set[tuple[str, str, str]]]:
    """Series, model and version of every current fit of these windows, from one look at the table's keys."""
    found: dict[dt.date, set[tuple[str, str, str]]] = {start: set() for start in starts}
    columns = ["commodity", "model_name", "model_version", "training_cutoff_date"]
    where = {"training_cutoff_date": [start - dt.timedelta(days=1) for start in found], "is_active": True}
    for row in platform.warehouse.read(TRAINED_MODELS, columns, where).to_pylist():
        start = row["training_cutoff_date"] + dt.timedelta(days=1)
        found[start].add((row["commodity"], row["model_name"], row["model_version"]))
    return found


def current_fits(
    platform: Platform, series: str, model: str, version: str, hashes: Mapping[dt.date, str]
) -> dict[dt.date, dt.datetime]:
    """When each window's fit was made, of those on training data of these hashes with today's algorithm."""
    algorithm = registry.get(model).algorithm_version
    return {
        start: row["created_at"]
        for start, row in active_rows(platform, series, model, version).items()
        if row["data_version"] == hashes.get(start) and row["algorithm_version"] == algorithm
    }


def latest_run_id(platform: Platform, series: str, model: str, version: str) -> str | None:
    """The MLflow run of the newest window's current fit."""
    where = {"commodity": series, "model_name": model, "model_version": version, "is_active": True}
    rows = platform.warehouse.read(TRAINED_MODELS, ["training_cutoff_date", "mlflow_run_id"], where).to_pylist()
    return max(rows, key=lambda row: row["training_cutoff_date"])["mlflow_run_id"] if rows else None


def missing_model_text(platform: Platform, series: str, model: str, version: str, windows: Iterable[dt.date]) -> str:
    """Which windows have no model, and the command that trains them."""
    starts = sorted(windows)
    last = platform.frequency.next_start(starts[-1]) - dt.timedelta(days=1)
    tag = "" if version == platform.settings.model_version else f" --model-version-tag {version}"
    return (
        f"no trained_models/{model} {version} for {series}, window{'s' if len(starts) > 1 else ''} "
        f"{', '.join(map(str, starts))}: materialize them, run `forecast-platform train --commodity {series} "
        f"--models {model} --start-date {starts[0]} --end-date {last}{tag}`, or launch the backfill with --train"
    )


def other_algorithm_text(version: str, stored: int, current: int) -> str:
    """Why a key of another algorithm version is refused, and the mend."""
    return (
        f"{version} was made with algorithm version {stored}, the code is at {current}: raise the version tag "
        "(--model-version-tag), or replace it with --overwrite"
    )


def active_rows(
    platform: Platform, series: str, model: str, version: str, window_start: dt.date | None = None
) -> dict[dt.date, dict[str, Any]]:
    """Rows of the windows' current fits, by window start: all columns of one window, or the light ones of all."""
    where: dict[str, Any] = {"commodity": series, "model_name": model, "model_version": version, "is_active": True}
    if window_start is not None:
        where["training_cutoff_date"] = window_start - dt.timedelta(days=1)
    light = ["training_cutoff_date", "data_version", "algorithm_version", "created_at"]
    rows = platform.warehouse.read(TRAINED_MODELS, light if window_start is None else None, where)
    return {row["training_cutoff_date"] + dt.timedelta(days=1): row for row in rows.to_pylist()}


def why_not_storable(platform: Platform, done: Fit) -> str | None:
    """Why the fitted model could not be kept; None where it can."""
    size = len(done.text.encode())
    reason = artifacts.why_not_storable(platform.settings) if size >= INLINE_LIMIT else None
    return reason and f"the fitted model, {size / 1e6:.1f} MB, is too large for a row, and {reason}"


def store_fit(
    platform: Platform, done: Fit, version: str, algorithm: int, data_version: str, run_id: str | None
) -> None:
    """Make a fit the current one of its window; an earlier one is kept, and no longer active."""
    import pyarrow as pa

    task = done.task
    identity = model_id(task.series, task.model, version, algorithm, task.window_start.isoformat(), done.text)
    median = float(np.median(task.history.observed_close))
    parameters = {**done.parameters, "metrics": done.metrics, "median_close": median}
    size = len(done.text.encode())
    path = None
    if size >= INLINE_LIMIT:
        folder = artifacts.root(platform.settings) / "models" / task.series / task.model / version
        path = folder / str(task.window_start) / f"{identity}.json"
        artifacts.write_text(platform.settings, path, done.text)
    cutoff = task.window_start - dt.timedelta(days=1)
    where = {
        "commodity": task.series,
        "model_name": task.model,
        "model_version": version,
        "training_cutoff_date": cutoff,
    }
    row = {
        **where,
        "training_start_date": task.history.dates[0].astype(dt.date),
        "fitted_model_json": done.text if path is None else None,
        "fitted_model_s3_path": None if path is None else str(path),
        "created_at": dt.datetime.now(dt.timezone.utc),
        "created_by": account(),
        "year": task.window_start.year,
        "month": task.window_start.month,
        "model_id": identity,
        "parameters": json.dumps(parameters, sort_keys=True),
        "training_samples": done.samples,
        "model_size_bytes": size,
        "training_seconds": done.seconds,
        "mlflow_run_id": run_id,
        "data_version": data_version,
        "code_version": __version__,
        "algorithm_version": algorithm,
        "is_active": True,
    }

    def superseding(earlier: pa.Table) -> tuple[pa.Table, Where]:
        kept = [{**old, "is_active": False} for old in earlier.to_pylist()]
        return pa.Table.from_pylist([*kept, row], schema=TRAINED_MODELS.arrow_schema()), where

    revise(platform.warehouse, TRAINED_MODELS, where, superseding)


def account() -> str:
    """The account that runs this process, as rows name it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
