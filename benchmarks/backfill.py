"""Speed of a backfill: the engine, the whole command, reading, memory, and the usual way on a sample of dates.

    python benchmarks/backfill.py --landing FOLDER [--models naive xgboost] [--series Coffee]

Trains what is missing first (not counted), then prints one row a model: engine seconds (simulate, validate, Delta
write of paths, points and metadata), seconds of the whole `forecast-platform backfill` command with and without
scoring, peak memory of its process, and the time a date takes the usual way (reload, refilter, refit, loop over paths,
one insert) with the ratio to the engine's. Then the reader's times.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    options = arguments()
    root = Path(options.warehouse or tempfile.mkdtemp(prefix="backfill-"))
    os.environ.update(
        FORECAST_PLATFORM_SOURCE="landing",
        FORECAST_PLATFORM_LANDING=str(Path(options.landing).resolve()),
        FORECAST_PLATFORM_WAREHOUSE=str(root),
    )
    for model in options.models:
        command("train", options, model)
    from forecast_platform.work.platform import Platform

    platform = Platform.from_settings()
    print(
        f"{options.series}, {options.start_date} to {options.end_date}, 2,000 paths x 14 days, {os.cpu_count()} cores"
    )
    print(
        f"{'model':<22}{'engine s':>9}{'command s':>11}{'scoring s':>11}{'peak MB':>9}{'usual ms/date':>15}{'ratio':>8}"
    )
    for model in options.models:
        forget(root)
        engine, dates = run_engine(platform, options, model)
        forget(root)
        whole, _ = command("backfill", options, model, "--no-score")
        scored, peak = command("backfill", options, model)
        usual = usual_way(platform, options, model)
        ratio = usual / (engine / dates)
        # The second command finds every date there: what it adds to the first one's start-up is the scoring.
        print(
            f"{model:<22}{engine:>9.2f}{whole:>11.1f}{scored_seconds(scored):>11.1f}{peak:>9.0f}"
            f"{usual * 1000:>15.0f}{ratio:>8.0f}"
        )
    reading(platform, options)
    if not options.warehouse:
        shutil.rmtree(root)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", required=True)
    parser.add_argument("--warehouse", help="keep the tables here (default: a temporary folder, removed at the end)")
    parser.add_argument("--series", default="Coffee")
    parser.add_argument("--models", nargs="+", default=["naive", "xgboost", "sarimax_auto_weather"])
    parser.add_argument("--start-date", default="2018-01-01")
    parser.add_argument("--end-date", default="2022-12-31")
    parser.add_argument("--sample", type=int, default=3, help="dates of the usual way")
    return parser.parse_args()


_last_output = ""


def command(name: str, options: argparse.Namespace, model: str, *more: str) -> tuple[float, float]:
    """Run one command in a process of its own; returns seconds and peak memory in MB."""
    global _last_output
    call = [sys.executable, "-m", "forecast_platform.cli", name, "--commodity", options.series, "--models", model]
    call += ["--start-date", options.start_date, "--end-date", options.end_date, *more]
    started = time.perf_counter()
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _last_output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(_last_output)
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def scored_seconds(_whole: float) -> float:
    """Seconds of the score run of the last command, as it printed them."""
    return float(re.findall(r"success in ([0-9.]+) s", _last_output)[-1])


def run_engine(platform, options: argparse.Namespace, model: str) -> tuple[float, int]:
    from forecast_platform.pipeline.inference import forecast

    first, last = dt.date.fromisoformat(options.start_date), dt.date.fromisoformat(options.end_date)
    dates = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    # Warm: the libraries are imported, as they are in a running code location.
    forecast(platform, options.series, model, dates[:1])
    forget(platform.settings.warehouse)
    platform.warehouse._opened.forget_all()
    started = time.perf_counter()
    outcome = forecast(platform, options.series, model, dates)
    if outcome.failed:
        raise SystemExit(str(outcome.failed))
    seconds = time.perf_counter() - started
    platform.warehouse._opened.forget_all()
    return seconds, len(dates)


def forget(root: Path) -> None:
    for table in ("distributions", "point_forecasts", "forecast_metadata", "forecast_runs"):
        shutil.rmtree(root / "commodity" / "forecast" / table, ignore_errors=True)


def usual_way(platform, options: argparse.Namespace, model: str) -> float:
    """Seconds a date, done as such backfills are written by hand: everything again for each date."""
    import pyarrow as pa
    from deltalake import write_deltalake

    from forecast_platform.forecasting.shocks import Shocks
    from forecast_platform.models import registry
    from forecast_platform.models.base import TrainingWindow

    folder = tempfile.mkdtemp(prefix="usual-")
    last = np.datetime64(options.end_date)
    days = last - np.arange(1, options.sample + 1) * np.timedelta64(97, "D")
    started = time.perf_counter()
    for day in days:
        platform._tables.clear()
        start = day - np.timedelta64(5 * 365, "D")
        window = TrainingWindow(start, day)
        table = platform.series_table(options.series)
        chosen = registry.get(model)
        history = table.history(start, day, table.covariate_names(chosen.covariates, window))
        fitted = chosen.fit(history, window)
        paths = [
            fitted.simulate(history, np.array([day]), 14, 1, Shocks(number, fitted.n_slots))[0, 0]
            for number in range(2000)
        ]
        frame = pa.table({f"day_{h + 1}": [float(path[h]) for path in paths] for h in range(14)})
        write_deltalake(folder, frame, mode="append")
    seconds = (time.perf_counter() - started) / options.sample
    shutil.rmtree(folder)
    return seconds


def reading(platform, options: argparse.Namespace) -> None:
    from forecast_platform.read import Reader

    reader = Reader(platform.settings, platform.warehouse)
    model = options.models[-1]
    started = time.perf_counter()
    found = reader.paths(options.series, model)
    whole = time.perf_counter() - started
    one = []
    for day in list(found)[::200]:
        started = time.perf_counter()
        reader.paths(options.series, model, day)
        one.append(time.perf_counter() - started)
    print(f"reading {len(found)} dates: {whole:.2f} s; one date: {np.median(one) * 1000:.0f} ms (median of {len(one)})")


if __name__ == "__main__":
    main()
