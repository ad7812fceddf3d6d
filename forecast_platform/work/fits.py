"""Fits as they are kept in trained_models, and read back."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from forecast_platform import __version__
from forecast_platform.forecasting.history import History
from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Reads, TrainingWindow, model_id
from forecast_platform.models.saved import ArtifactError, Saved
from forecast_platform.models.saved import load as open_saved
from forecast_platform.models.tags import ModelSpec
from forecast_platform.warehouse.base import Where, any_of, revise
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work import artifacts, fitted_store
from forecast_platform.work.fitting import Fit
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import RefusedError

INLINE_LIMIT = 1_000_000
"""Bytes from which a fitted model goes to a file instead of the table."""

OTHER_UNIT = 1.5
"""Factor by which the closes of a fit may have moved, by their median, before it is not used on them: above that they
are in another unit. What ingest holds moves by one factor beyond 5 %; a series that is adjusted at rolls moves less."""


class MissingModelError(LookupError):
    """No fitted model for a window; the message says which and how to train it."""


_MANIFEST = (
    *("commodity", "model_name", "model_version", "training_cutoff_date", "model_id", "algorithm_version"),
    *("parameters", "training_seconds", "data_version", "created_at"),
)
"""The columns of trained_models that a FitManifest is made of."""


@dataclass(frozen=True)
class FitManifest:
    """What the table says of a window's current fit beside the fitted model itself: enough to plan with."""

    series: str
    model: str
    version: str
    window: TrainingWindow
    model_id: str
    algorithm_version: int
    data_version: str
    created_at: dt.datetime
    history_start: np.datetime64
    covariates: tuple[str, ...]
    reads: Reads
    paths_version: int
    """The algorithm version of the paths that today's code makes from this fit."""
    training_seconds: float
    settings: str
    """`ModelSpec.identity` of the model that was fitted."""
    median_close: float | None
    """Of the closes that it was fitted on; None where an earlier version fitted it."""

    @property
    def window_start(self) -> dt.date:
        """The window's key."""
        return self.window.end.astype(dt.date)

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
            f"`forecast-platform train --commodity {self.series} --models {self.model} "
            f"--start-date {self.window_start} --end-date {self.window_start} --overwrite`"
        )


@dataclass(frozen=True)
class StoredModel(FitManifest):
    """A fitted model read back, with its record."""

    saved: Saved
    spec: ModelSpec

    @cached_property
    def fitted(self) -> FittedModel:
        """The model, opened on first use: a worker elsewhere opens its own."""
        return open_saved(self.spec, self.saved, self.window)


def refuse_missing_extra(platform: Platform, model: str) -> None:
    """Raises RefusedError where the model's library is not installed here, with the command that installs it."""
    if reason := registry.missing(platform.model(model), model):
        raise RefusedError(reason)


def load_model(platform: Platform, series: str, model: str, version: str, window_start: dt.date) -> StoredModel:
    """The current fit of a window, its files compared with its manifest before it is opened.

    Raises MissingModelError: there is none, or its files are gone or are not what was written.
    """
    where = {"commodity": series, "model_name": model, "model_version": version, "is_active": True}
    cutoff = window_start - dt.timedelta(days=1)
    rows = platform.warehouse.read(TRAINED_MODELS, where={**where, "training_cutoff_date": cutoff}).to_pylist()
    if not rows:
        raise MissingModelError(missing_model_text(platform, series, model, version, [window_start]))
    try:
        saved = fitted_store.read(platform, rows[0])
    except ArtifactError as error:
        raise MissingModelError(
            f"trained_models/{model} for {series}, window {window_start}: {error}; train it again with "
            f"`forecast-platform train --commodity {series} --models {model} --overwrite`"
        ) from None
    return StoredModel(**vars(_manifest(platform, rows[0])), saved=saved, spec=platform.settings.model_spec(model))


def manifests(platform: Platform, series: str, model: str, version: str) -> dict[dt.date, FitManifest]:
    """The current fit of each window that has one, by window start; no fitted model is read."""
    return manifests_of(platform, [series], model, version)[series]


def manifests_of(
    platform: Platform, series: Sequence[str], model: str, version: str
) -> dict[str, dict[dt.date, FitManifest]]:
    """`manifests` of each series, in one look."""
    where = {"commodity": any_of(series), "model_name": model, "model_version": version, "is_active": True}
    found: dict[str, dict[dt.date, FitManifest]] = {name: {} for name in series}
    for row in platform.warehouse.read(TRAINED_MODELS, _MANIFEST, where).to_pylist():
        fit = _manifest(platform, row)
        found[fit.series][fit.window_start] = fit
    return found


def window_fits(
    platform: Platform, series: str, models: Sequence[str], version: str, window_start: dt.date
) -> dict[str, FitManifest]:
    """The current fit of one window of each model that has one, by model, in one look."""
    cutoff = window_start - dt.timedelta(days=1)
    where = {"commodity": series, "model_name": any_of(models), "model_version": version, "is_active": True}
    rows = platform.warehouse.read(TRAINED_MODELS, _MANIFEST, {**where, "training_cutoff_date": cutoff})
    return {row["model_name"]: _manifest(platform, row) for row in rows.to_pylist()}


def _manifest(platform: Platform, row: Mapping[str, Any]) -> FitManifest:
    parameters = json.loads(row["parameters"])
    return FitManifest(
        series=row["commodity"],
        model=row["model_name"],
        version=row["model_version"],
        window=platform.training_window(row["training_cutoff_date"] + dt.timedelta(days=1)),
        model_id=row["model_id"],
        algorithm_version=row["algorithm_version"],
        data_version=row["data_version"],
        created_at=row["created_at"],
        history_start=np.datetime64(parameters["history_start"], "D"),
        covariates=tuple(parameters["covariates"]),
        reads=tuple(parameters.get("reads", ())),
        paths_version=platform.model(row["model_name"]).version_of(row["algorithm_version"]),
        training_seconds=row["training_seconds"],
        settings=parameters.get("settings", ""),
        median_close=parameters.get("median_close"),
    )


def trained_windows(platform: Platform, series: str, model: str, version: str) -> set[dt.date]:
    """Starts of the windows that have a current fit."""
    return set(manifests(platform, series, model, version))


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
    algorithm = platform.model(model).algorithm_version
    identity = platform.settings.model_spec(model).identity
    return {
        start: record.created_at
        for start, record in manifests(platform, series, model, version).items()
        if record.data_version == hashes.get(start)
        and (record.algorithm_version, record.settings) == (algorithm, identity)
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


def other_settings_text(version: str, model: str, stored: str, current: str) -> str:
    """Why a fit with other hyperparameters or members is refused, and the mend."""
    return (
        f"{version} of {model} was fitted with {stored or 'no settings of its own'}, the settings now say "
        f"{current or 'none'}: raise the version tag (--model-version-tag), train it again with --overwrite, or set "
        "them back"
    )


def why_not_storable(platform: Platform, done: Fit) -> str | None:
    """Why the fitted model could not be kept; None where it can."""
    size = done.saved.size
    reason = artifacts.why_not_kept(platform.settings) if size >= INLINE_LIMIT else None
    return reason and f"the fitted model, {size / 1e6:.1f} MB, is too large for a row, and {reason}"


def store_fit(
    platform: Platform, done: Fit, version: str, algorithm: int, data_version: str, run_id: str | None
) -> None:
    """Make a fit the current one of its window; an earlier one is kept, and no longer active."""
    import pyarrow as pa

    task = done.task
    start = task.window_start.isoformat()
    identity = model_id(task.series, task.model, version, algorithm, start, done.text, task.wanted.identity)
    median = float(np.median(task.history.observed_close))
    parameters = {**done.parameters, "metrics": done.metrics, "median_close": median}
    size = done.saved.size
    folder = artifacts.root(platform.settings) / "models" / task.series / task.model / version / start / identity
    large = size >= INLINE_LIMIT
    key = (task.series, task.model, version, start)
    text, path = fitted_store.write(platform.settings, key, done.saved, task.instance.tags, folder, large=large)
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
        "fitted_model_json": text,
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
