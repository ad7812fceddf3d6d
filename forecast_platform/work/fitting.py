"""A fit: one model of one series on one window, made anywhere."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from forecast_platform.host import time_limit
from forecast_platform.models import registry
from forecast_platform.models.base import Model, TrainingWindow, reads_of
from forecast_platform.models.saved import Saved, saved_from
from forecast_platform.models.tags import ModelSpec
from forecast_platform.work.holdout import holdout_metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitTask:
    """One fit, self-contained so that another process or machine can do it."""

    series: str
    model: str
    window_start: dt.date
    window: TrainingWindow
    history: Any
    seed: int
    spec: ModelSpec | None = None
    """The model as the settings have it; the registered type `model` where None."""

    @property
    def wanted(self) -> ModelSpec:
        """What makes the model."""
        return self.spec or registry.spec(self.model)

    @property
    def instance(self) -> Model:
        """The model."""
        return registry.model_of(self.wanted)


@dataclass(frozen=True)
class Fit:
    """What a fit gave: the stored text, figures for tracking, seconds; or the error."""

    task: FitTask
    text: str = ""
    """The model as JSON, or the manifest of `files`."""
    samples: int = 0
    metrics: dict[str, float] | None = None
    seconds: float = 0.0
    error: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def saved(self) -> Saved:
        """The fitted model as it is to be kept."""
        return Saved(self.text, self.files)

    @property
    def parameters(self) -> dict[str, Any]:
        """What a later simulation must read: the covariates, what else, and the day the history starts."""
        history = self.task.history
        start = str(history.dates[0])
        found = {"covariates": list(history.covariates), "reads": list(reads_of(history)), "history_start": start}
        identity = self.task.wanted.identity
        return {**found, "settings": identity} if identity else found


def fit(task: FitTask) -> Fit:
    """Fit one model and measure it in sample and on a holdout. What goes wrong in it is an error of the key, kept.

    A model with a time limit is fitted in a process of its own, which is ended after it.
    Raises OSError, MemoryError and ImportError: the machine's faults, which another try may not have.
    """
    limit = registry.demand(task.wanted).tags.time_limit
    if limit is None:
        return _fit(task)
    started = time.perf_counter()
    try:
        done: Fit = time_limit.within(limit, _fit, task)
    except TimeoutError:
        return Fit(task, error=f"the fit took over {limit:g} s, the model's time limit, and was ended")
    except time_limit.ProcessEndedError as error:
        return Fit(task, error=f"the fit: {error}", seconds=time.perf_counter() - started)
    return replace(done, task=task)


def _fit(task: FitTask) -> Fit:
    from threadpoolctl import threadpool_limits

    model = registry.demand(task.wanted)
    started = time.perf_counter()
    try:
        # One BLAS thread: the bits must not depend on the machine's cores, and small matrices gain nothing.
        with threadpool_limits(limits=1):
            fitted = model.fit(task.history, task.window)
            seconds = time.perf_counter() - started
            saved = saved_from(model, fitted)
            metrics = {
                **fitted.training_metrics(),
                # A combination has nothing held out of its own: its members' forecasts are what is scored.
                **({} if model.tags.combines else holdout_metrics(model, fitted, task.history, task.window, task.seed)),
            }
    except (OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        if not isinstance(error, (ValueError, ArithmeticError, np.linalg.LinAlgError)):
            log.exception("%s %s: window %s failed", task.series, task.model, task.window_start)
        return Fit(task, error=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - started)
    finite = {name: float(value) for name, value in metrics.items() if np.isfinite(value)}
    return Fit(task, saved.text, len(task.history.observed_close), finite, seconds, files=saved.files)
