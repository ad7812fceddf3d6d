"""CRPS and coverage of models on the panel against naive and random_walk, 2013 to 2017; and what they take.

    python benchmarks/model_zoo.py --panel DIR --models statsforecast:MSTL prophet 'neuralforecast{"max_steps": 100}'
        [--series coffee sugar] [--start 2013-01-01] [--end 2017-07-01] [--every 1] [--paths 500]

A model of an extra is run by the Python of its environment (.venv-neural/bin/python ...). `--every 2` uses every second
half-year window, for models that are slow to fit. Semiannual windows, five-year lookback, every trading-day origin; the
same origins for all models of a call. Skill is pooled over the series as `evaluate --all` does. Seconds are processor
time: a fit of a window, and simulating 100 dates with 500 paths. Nothing is tuned here.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.model_skill import windows
from benchmarks.sharper import SEED, full_history
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.pooling import Losses, pooled_skill
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry


def model_of(text: str):
    """`type` or `type{hyperparameters as JSON}`."""
    name, brace, rest = text.partition("{")
    return registry.demand(registry.spec("mine", name, json.loads(brace + rest) if brace else {}))


def scored(text: str, panel: Path, series: str, options):
    """Origins, levels and losses of one model on one series; bands; seconds of fits and of 100 dates."""
    history, model = full_history(panel, series), model_of(text)
    losses, levels, dates, inside, seconds = [], [], [], [], [0.0, 0.0]
    used = list(windows(options.start, options.end))[:: options.every]
    for window, use_end in used:
        seen = history.since(window.start)
        days = seen.observed_dates
        last = days[-1] - np.timedelta64(DEFAULT - 1, "D")
        origins = days[(days >= window.end) & (days < use_end) & (days <= last)]
        began = time.process_time()
        fitted = model.fit(seen.before(window.end), window)
        seconds[0] += (time.process_time() - began) / len(used)
        began = time.process_time()
        paths = fitted.simulate(seen, origins, DEFAULT, options.paths, Shocks(SEED, fitted.n_slots))
        seconds[1] += (time.process_time() - began) / len(origins) * 100 / len(used)
        at = np.searchsorted(seen.dates, origins)[:, None] + np.arange(DEFAULT)
        use, truth = seen.observed[at] & seen.trading(origins, DEFAULT), seen.close[at]
        ordered = np.sort(np.moveaxis(paths, 1, 2), axis=-1)
        found = np.full(use.shape, np.nan)
        found[use] = crps(ordered[use].astype(np.float64), truth[use])
        bands = np.quantile(ordered[use], [0.1, 0.9, 0.025, 0.975], axis=-1)
        inside += [[(bands[i] <= truth[use]) & (truth[use] <= bands[i + 1]) for i in (0, 2)]]
        losses.append(np.nanmean(found, axis=1))
        levels.append(seen.observed_close[seen.known_sessions(origins) - 1])
        dates.append(origins)
    held = [np.concatenate([one[i] for one in inside]) for i in (0, 1)]
    return np.concatenate(dates), np.concatenate(losses), np.concatenate(levels), held, seconds


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--series", nargs="+", default=["coffee", "sugar"])
    parser.add_argument("--start", default="2013-01-01")
    parser.add_argument("--end", default="2017-07-01", help="a day of the last window")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--paths", type=int, default=500)
    options = parser.parse_args()
    print(
        f"{', '.join(options.series)}, {options.start} to {options.end}, every {options.every}. window, {options.paths}"
    )
    print(f"{'model':44}{'skill %':>9}{'95 % +-':>9}{'80 %':>7}{'95 %':>7}{'fit s':>8}{'100 dates s':>13}")
    naive = {}
    for text in dict.fromkeys(["naive", "random_walk", *options.models]):
        each, bands, seconds = [], [[], []], np.zeros(2)
        for series in options.series:
            dates, losses, levels, held, spent = scored(text, options.panel, series, options)
            reference = naive.setdefault(series, losses)
            each.append(Losses(dates, losses, reference, levels))
            seconds += np.array(spent) / len(options.series)
            for i in (0, 1):
                bands[i].append(held[i])
        whole = pooled_skill(each, 10)
        inside = "".join(f"{100 * np.concatenate(one).mean():7.1f}" for one in bands)
        print(
            f"{text:44}{100 * whole.skill:9.2f}{50 * (whole.high - whole.low):9.2f}{inside}{seconds[0]:8.2f}"
            f"{seconds[1]:13.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
