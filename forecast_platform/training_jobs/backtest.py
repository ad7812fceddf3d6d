"""The rolling backtest of a job and the forecast that follows it: the same cutoffs for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from forecast_platform.training_jobs import scores
from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.frequency import Steps
from forecast_platform.training_jobs.modes.base import (
    Ask,
    Cut,
    Method,
    OutOfTimeError,
    Predicted,
    SeasonalNaive,
    Tick,
    naive,
)
from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.progress import Progress

Floats = NDArray[np.float64]

FEWEST = 5
"""Rows before the earliest cutoff, at the least."""


@dataclass(frozen=True, eq=False)
class Window:
    """One window of the backtest: what was known at its cutoffs, and what then happened."""

    number: int
    """1 is the newest."""
    cut: Cut
    actual: Floats
    """[m, horizon]; nan where a gap was closed."""
    scale: Floats
    """[m] of MASE."""


@dataclass(eq=False)
class Trained:
    """What came of one method."""

    name: str
    windows: list[Predicted] = field(default_factory=list)
    """One a window of the backtest."""
    forecast: Predicted | None = None
    """From all data, [n_series, horizon]."""
    fallbacks: int = 0
    """Forecasts, of all windows and series, in whose place seasonal naive stands."""
    why: str = ""
    """The first failure's message."""

    @property
    def fit_seconds(self) -> float:
        """Of the final fit."""
        return self.forecast.fit_seconds if self.forecast else float("nan")

    @property
    def predict_seconds(self) -> float:
        """Of the final forecast."""
        return self.forecast.predict_seconds if self.forecast else float("nan")


def ask_of(panel: Panel, config: JobConfig) -> Ask:
    """What the methods of a job are asked for."""
    return Ask(config.horizon, config.quantiles, config.levels, panel.season)


def cutoffs(length: int, horizon: int, windows: int) -> list[int]:
    """Rows that are known at each window's cutoff, newest first: at most `windows`, a horizon apart where they fit.

    Closer together where they do not; none where a series has fewer than horizon + 5 rows.
    """
    room = length - horizon - FEWEST
    if room < 0:
        return []
    step = horizon if windows == 1 else min(horizon, room // (windows - 1))
    if step == 0:
        return [length - horizon - k for k in range(min(windows, room + 1))]
    return [length - horizon - k * step for k in range(windows)]


def windows_of(panel: Panel, config: JobConfig) -> list[Window]:
    """The windows of a job's backtest. Raises JobError where no series is long enough for one."""
    ends = np.full((panel.lengths.size, config.backtest_windows), -1)
    for k, length in enumerate(panel.lengths):
        found = cutoffs(int(length), config.horizon, config.backtest_windows)
        ends[k, : len(found)] = found
    if (ends[:, 0] < 0).all():
        raise JobError(
            f"{config.horizon} steps ahead need {config.horizon + FEWEST} rows to be judged on, and the longest series "
            f"has {panel.lengths.max()}: give it more history, or a shorter horizon",
            "horizon",
        )
    return [_window(panel, config, k + 1, ends[:, k]) for k in range(config.backtest_windows) if (ends[:, k] > 0).any()]


def _window(panel: Panel, config: JobConfig, number: int, ends: Steps) -> Window:
    series = np.flatnonzero(ends > 0)
    ends = ends[series]
    ahead = (panel.starts[series] + ends)[:, None] + np.arange(config.horizon)[None, :]
    future = {name: panel.covariates[name][ahead] for name in panel.future}
    cut = Cut(panel, series, ends, future)
    scale = np.array([scores.seasonal_scale(cut.values(row), panel.season) for row in range(len(series))])
    return Window(number, cut, np.where(panel.known[ahead], panel.values[ahead], np.nan), scale)


def whole(panel: Panel) -> Cut:
    """All that is known now."""
    return Cut(panel, np.arange(len(panel.ids)), panel.lengths, panel.future)


def train(
    panel: Panel, config: JobConfig, methods: Sequence[Method], windows: Sequence[Window], progress: Progress
) -> tuple[list[Trained], list[str]]:
    """Backtest each method on the windows, then let it forecast from all data; and what there is to say of it.

    Baselines first and without a limit, then the quickest. A method that config.time_limit ends is left out.
    Raises CancelledError.
    """
    ask = replace(ask_of(panel, config), seconds_left=lambda: progress.seconds_left)
    bases: list[Method] = [SeasonalNaive()]
    if panel.season > 1:
        bases.append(SeasonalNaive("Naive", 1))
    chosen = [*bases, *sorted(methods, key=lambda method: method.cost)]
    cuts = [*(window.cut for window in windows), whole(panel)]
    sizes = [len(cut.series) for cut in cuts]
    progress.plan(sum(method.cost for method in chosen) * sum(sizes))
    progress.limit(config.time_limit)
    found: list[Trained] = []
    notes: list[str] = []
    for method in chosen:
        progress.limited = method not in bases
        trained, left = Trained(method.name), method.cost * sum(sizes)
        try:
            for number, cut in enumerate(cuts, 1):
                last = number == len(cuts)
                step = "forecast" if last else f"backtest window {number} of {len(cuts) - 1}"
                progress.begin(f"{method.name}: {step}")
                with progress.within_the_limit():
                    predicted = method.predict(cut, ask, _ticking(progress, method.cost))
                left -= method.cost * len(cut.series)
                _stand_in(trained, predicted, cut, ask)
                if last:
                    trained.forecast = predicted
                else:
                    trained.windows.append(predicted)
        except OutOfTimeError:
            notes.append(f"{method.name} was not done within time_limit ({config.time_limit:g} s): left out")
            progress.skip(max(left, 0.0))
            continue
        if trained.fallbacks:
            notes.append(
                f"{method.name} failed {trained.fallbacks:,} of {sum(sizes):,} times, seasonal naive stands in its "
                f"place; the first time: {trained.why}"
            )
        found.append(trained)
    return found, notes


def _ticking(progress: Progress, cost: float) -> Tick:
    return lambda done: progress.done(done * cost)


def _stand_in(trained: Trained, predicted: Predicted, cut: Cut, ask: Ask) -> None:
    """Seasonal naive in the place of what a method could not forecast, counted and named."""
    for row, why in predicted.failed.items():
        predicted.points[row], predicted.quantiles[row] = naive(cut.values(row), ask.season, ask)
        trained.fallbacks += 1
        trained.why = trained.why or f"series {cut.panel.ids[cut.series[row]]!r}: {why[:300]}"
