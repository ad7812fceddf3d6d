"""What the day's range and a roll step cost: backfills of one series side by side in one run, processor seconds.

    python benchmarks/sharper_speed.py [--base CHECKOUT] [--years 5] [--paths 2000] [--repeat 5]
    python benchmarks/sharper_speed.py --panel DIR [--years 5] [--repeat 3]

Simulates every calendar day of five years of a made-up nearby series, window by window as a backfill does (load the
fit, filter the history once, simulate the window's dates, sort and summarise): naive, the random walk of closes alone,
and with ranges, roll schedule and second contract. Fits are not counted. With --base, a checkout of an earlier state is
timed too, in a process of its own, alternating with this one's; it must be able to run this file's `base` part.
Prints the least of the repeats and the ratios.

With --panel it times whole commands instead: `forecast-platform backfill` of coffee with ranges, rolls and second
contract, the years to the end of 2017, naive and random_walk in turn, each with its own process, scoring and all; the
panel's market/coffee.csv and coffee_chain.csv, trained beforehand.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._sides import HERE, Side

START, YEARS = np.datetime64("2018-01-01"), 5


def closes(years: int):
    """Dates, closes and sessions of a random walk from five years before START on."""
    dates = np.arange(START - 5 * 366, START + years * 365 + 40)
    observed = np.is_busday(dates)
    observed[0] = True
    steps = np.where(observed, np.random.default_rng(1).normal(0.0, 0.02, len(dates)), 0.0)
    schedule = np.arange(dates[0], dates[-1] + 200)
    return dates, 100.0 * np.exp(np.cumsum(steps)), observed, schedule[np.is_busday(schedule)]


def seconds(model_name: str, history, n_paths: int, years: int) -> float:
    """Processor seconds of the backfill of START and `years` on."""
    from forecast_platform.forecasting.shocks import Shocks
    from forecast_platform.forecasting.summary import summarise
    from forecast_platform.models import registry
    from forecast_platform.models.base import TrainingWindow

    model, total = registry.get(model_name), 0.0
    for number in range(2 * years):
        begin = START + number * 182
        window = TrainingWindow(begin - 5 * 365, begin)
        seen = history.since(window.start)
        text = model.fit(seen.before(begin), window).to_json()
        started = time.process_time()
        fitted = model.load(text, window)
        paths = fitted.simulate(seen, np.arange(begin, begin + 182), 14, n_paths, Shocks(1, fitted.n_slots))
        summarise(paths)
        total += time.process_time() - started
    return total


def plain(years: int):
    """The history of closes alone: all that an earlier state knows."""
    from forecast_platform.forecasting.history import History

    dates, close, observed, sessions = closes(years)
    return History("Speed", dates, close, observed, sessions)


def full(years: int):
    """With bars, monthly rolls and a second contract."""
    from dataclasses import replace

    from forecast_platform.forecasting.rolls import CATALOGUE, seen_rolls

    history = plain(years)
    noise = 1 + 0.01 * np.abs(np.random.default_rng(2).standard_normal(len(history)))
    schedule = CATALOGUE["wti"].schedule(history.sessions)
    rolls = np.zeros(len(history), bool)
    rolls[history.observed_index] = seen_rolls(schedule, history.observed_dates)
    own = {"high": history.close * noise, "low": history.close / noise, "close_2": history.close * 1.01}
    return replace(history, rolls=rolls, schedule=schedule, **own)


def whole_commands(panel: Path, years: int, repeat: int) -> None:
    """Print processor and wall seconds of the whole backfill of naive and random_walk, and their ratio."""
    side, models = Side("now", HERE, Path(sys.executable)), ("naive", "random_walk")
    with tempfile.TemporaryDirectory(prefix="sharper-speed-") as folder:
        root = Path(folder)
        (root / "landing" / "market").mkdir(parents=True)
        shutil.copy(panel / "market" / "coffee.csv", root / "landing" / "market")
        shutil.copy(panel / "coffee_chain.csv", root / "landing")
        series = "  - {name: Coffee, roll_rule: coffee, regions: []}\n"
        (root / "platform.yaml").write_text(
            f"source: landing\nlanding: {root / 'landing'}\nwarehouse: {root / 'warehouse'}\nseries:\n{series}"
            f"models: [{', '.join(models)}]\nstart_date: {2018 - years}-01-01\n"
        )
        environment = {"FORECAST_PLATFORM_CONFIG": str(root / "platform.yaml")}
        span = ["--start-date", f"{2018 - years}-01-01", "--end-date", "2017-12-31"]
        for model in models:
            side.run(environment, "train", "--models", model, *span)
        taken = {model: [] for model in models}
        for number in range(repeat):
            for model in models if number % 2 else models[::-1]:
                for table in ("distributions", "point_forecasts", "forecast_metadata", "forecast_runs"):
                    shutil.rmtree(root / "warehouse" / "commodity" / "forecast" / table, ignore_errors=True)
                taken[model].append(side.run(environment, "backfill", "--models", model, *span))
    least = {model: min(cost.processor for cost in costs) for model, costs in taken.items()}
    print(f"whole `backfill` of coffee, {years} years to 2017-12-31, least of {repeat}")
    for model, costs in taken.items():
        wall = min(cost.wall for cost in costs)
        print(f"{model:14}{least[model]:8.2f} s of processor{wall:8.1f} s{least[model] / least['naive']:8.3f} of naive")


def main() -> None:
    """Print a line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="checkout of the state to compare with")
    parser.add_argument("--panel", type=Path, help="time whole commands on this folder's coffee")
    parser.add_argument("--years", type=int, default=YEARS)
    parser.add_argument("--paths", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(seconds(options.only, plain(options.years), options.paths, options.years))
        return
    if options.panel:
        whole_commands(options.panel, options.years, options.repeat)
        return
    variants = {
        "naive": lambda: seconds("naive", plain(options.years), options.paths, options.years),
        "random_walk, closes alone": lambda: seconds("random_walk", plain(options.years), options.paths, options.years),
        "random_walk, all": lambda: seconds("random_walk", full(options.years), options.paths, options.years),
    }
    if options.base:
        call = [sys.executable, __file__, "--only", "random_walk", "--years", str(options.years)]
        call += ["--paths", str(options.paths)]
        environment = {**os.environ, "PYTHONPATH": str(options.base)}
        variants["random_walk of the base"] = lambda: float(
            subprocess.run(call, env=environment, check=True, capture_output=True, text=True).stdout
        )
    taken = {name: [] for name in variants}
    for _ in range(options.repeat):
        for name, run in variants.items():
            taken[name].append(run())
    least = {name: min(values) for name, values in taken.items()}
    today = least.get("random_walk of the base", least["random_walk, closes alone"])
    print(f"{options.years} years of dates, {options.paths} paths; processor seconds, least of {options.repeat}")
    for name, value in least.items():
        print(f"{name:28}{value:8.2f}{value / today:8.3f} of today's random_walk{value / least['naive']:8.3f} of naive")


if __name__ == "__main__":
    main()
