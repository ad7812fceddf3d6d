"""CRPS skill of the models on landing data: semiannual windows, five-year lookback, every trading-day origin.

    python benchmarks/model_skill.py --landing DIR [--models naive random_walk] [--series coffee sugar] \
        [--start 2018-01-01] [--end 2022-12-01] [--paths 500]

CRPS is pooled over the trading targets within 14 days; skill is 1 - CRPS / CRPS of naive; coverage is of the central
80 and 95 % bands. Nothing is tuned here: a parameter chosen by these figures must be one constant for all series.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import History
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.forecasting.windows import FREQUENCIES
from forecast_platform.models import registry
from forecast_platform.models.base import Model, TrainingWindow
from forecast_platform_tests.histories import history_from_csv

LOOKBACK_WINDOWS = 10
SEED = 20180101


class Scores(NamedTuple):
    """One value a (origin, trading target)."""

    crps: NDArray[np.float64]
    in_80: NDArray[np.bool_]
    in_95: NDArray[np.bool_]


def windows(start: str, end: str) -> Iterator[tuple[TrainingWindow, np.datetime64]]:
    """Training windows whose first day of use lies in start..end, each with the first day of the next one."""
    frequency = FREQUENCIES["semiannually"]
    first, last = np.datetime64(start).item(), np.datetime64(end).item()
    for begin in frequency.starts(first, last):
        training = TrainingWindow(np.datetime64(frequency.back(begin, LOOKBACK_WINDOWS)), np.datetime64(begin))
        yield training, np.datetime64(frequency.next_start(begin))


def score_window(
    model: Model, history: History, window: TrainingWindow, use_end: np.datetime64, n_paths: int
) -> tuple[Scores, float, float]:
    """Scores of one window's trading-day origins, and the seconds of its fit and of its simulation."""
    seen = history.since(window.start)
    began = time.perf_counter()
    fitted = model.fit(seen.before(window.end), window)
    fit_seconds = time.perf_counter() - began
    dates = seen.observed_dates
    origins = dates[(dates >= window.end) & (dates < use_end) & (dates <= dates[-1] - np.timedelta64(DEFAULT, "D"))]
    if not len(origins):
        raise ValueError(f"{history.series}: no origin from {window.end} to {use_end} has its 14 targets observed")
    began = time.perf_counter()
    paths = fitted.simulate(seen, origins, DEFAULT, n_paths, Shocks(SEED, fitted.n_slots))
    simulate_seconds = time.perf_counter() - began
    at = np.searchsorted(seen.dates, origins)[:, None] + np.arange(DEFAULT)
    scored = seen.observed[at] & seen.trading(origins, DEFAULT)
    truth = seen.close[at][scored]
    samples = np.sort(np.moveaxis(paths, 1, 2)[scored].astype(np.float64), axis=-1)
    low_95, low_80, high_80, high_95 = np.quantile(samples, [0.025, 0.1, 0.9, 0.975], axis=-1)
    scores = Scores(
        crps(samples, truth), (low_80 <= truth) & (truth <= high_80), (low_95 <= truth) & (truth <= high_95)
    )
    return scores, fit_seconds, simulate_seconds


def evaluate(model: Model, history: History, start: str, end: str, n_paths: int) -> tuple[Scores, float, float]:
    """Pooled scores over all windows of start..end, and the total seconds of fits and simulations."""
    parts = [score_window(model, history, window, use_end, n_paths) for window, use_end in windows(start, end)]
    pooled = Scores(*(np.concatenate(column) for column in zip(*(part[0] for part in parts), strict=True)))
    return pooled, sum(part[1] for part in parts), sum(part[2] for part in parts)


def main() -> None:
    """Print one line a (series, model)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, required=True, help="folder with market/, macro.csv, weather.csv")
    parser.add_argument("--models", nargs="+", default=registry.names())
    parser.add_argument("--series", nargs="+", default=["coffee", "sugar"], help="file stems under market/")
    parser.add_argument("--start", default="2018-01-01")
    parser.add_argument("--end", default="2022-12-01", help="a day of the last window")
    parser.add_argument("--paths", type=int, default=500)
    arguments = parser.parse_args()
    print(f"{'series':10}{'model':22}{'CRPS':>9}{'skill':>9}{'80 %':>8}{'95 %':>8}{'fit s':>8}{'sim s':>8}")
    for series in arguments.series:
        history = history_from_csv(
            arguments.landing / "market" / f"{series}.csv", "2003-12-01", "2022-12-31", covariates=True
        )
        baseline = None
        for name in dict.fromkeys(["naive", *arguments.models]):
            scores, fit_s, sim_s = evaluate(
                registry.get(name), history, arguments.start, arguments.end, arguments.paths
            )
            mean = float(scores.crps.mean())
            baseline = mean if baseline is None else baseline
            print(
                f"{series:10}{name:22}{mean:9.4f}{1 - mean / baseline:9.2%}"
                f"{scores.in_80.mean():8.1%}{scores.in_95.mean():8.1%}{fit_s:8.1f}{sim_s:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
