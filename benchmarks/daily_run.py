"""Wall time of the daily run, all models and two series, process starts included; the target is 30 s on two cores.

    python benchmarks/daily_run.py --landing <folder> [--warehouse <folder>] [--days 3]

The landing files are cut to a day, models are trained on them (that is not timed), and then day after day is added as a
feed would: each is run as the command line does it (one process: ingest, forecast) and as the daemon does it (three
processes, one a run: ingest, forecast, score), the daily page beside it. Needs market/coffee.csv and market/sugar.csv,
daily rows to --until. A process that finds no bytecode compiles 2,500 modules, four seconds of processor time: where
PYTHONDONTWRITEBYTECODE is set, install with `--compile-bytecode` (uv) or set PYTHONPYCACHEPREFIX and unset it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

SERIES = ("Coffee", "Sugar")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, required=True, help="landing folder")
    parser.add_argument("--warehouse", type=Path, help="warehouse to keep between runs (default: a temporary one)")
    parser.add_argument("--until", type=dt.date.fromisoformat, default=dt.date(2022, 12, 20), help="first day run")
    parser.add_argument("--days", type=int, default=3, help="days to run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        warehouse = (options.warehouse or root / "warehouse").absolute()
        environment = _environment(root / "landing", warehouse, options.until + dt.timedelta(days=options.days + 30))
        _cut(options.landing, root / "landing", options.until)
        span = ("--start-date", str(options.until), "--end-date", str(options.until))
        _command(environment, "backfill", "--train", *span)
        shell, daemon, page = [], [], []
        for number in range(options.days):
            day = options.until + dt.timedelta(days=2 * number + 1)
            _cut(options.landing, root / "landing", day)
            shell.append(_timed("forecast-platform infer", partial(_infer, environment, day)))
            day += dt.timedelta(days=1)
            _cut(options.landing, root / "landing", day)
            daemon.append(_timed("three runs", partial(_three_runs, environment, day)))
            page.append(_timed("daily page", partial(_job, environment, "publish_daily_page")))
    for name, seconds in (
        ("one process: ingest, forecast", shell),
        ("three processes: ingest, forecast, score", daemon),
        ("one process: daily page", page),
    ):
        print(f"{name}: median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s of {len(seconds)}")
    print(f"{os.cpu_count()} cores; target 30 s: {'met' if max(daemon) <= 30 else 'MISSED'}")


def _environment(landing: Path, warehouse: Path, end: dt.date) -> dict[str, str]:
    series = [
        {"name": "Coffee", "covariates": ["vix", "usd_brl"]},
        {"name": "Sugar", "covariates": ["vix", "usd_brl"], "regions": ["Brazil"]},
    ]
    return {
        **os.environ,
        "DAGSTER_HOME": str(warehouse / "_dagster"),
        "FORECAST_PLATFORM_WAREHOUSE": str(warehouse),
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(landing),
        "FORECAST_PLATFORM_SERIES": json.dumps(series),
        "FORECAST_PLATFORM_START_DATE": "2022-07-01",
        "FORECAST_PLATFORM_END_DATE": str(end),
    }


def _cut(source: Path, target: Path, day: dt.date) -> None:
    """The landing files as they are known on the morning of `day`: nothing of that day or after."""
    for name in ("market/coffee.csv", "market/sugar.csv", "macro.csv", "weather.csv"):
        if not (source / name).exists():
            continue
        header, *rows = (source / name).read_text().splitlines()
        place = header.split(",").index("date")
        kept = [row for row in rows if row.split(",")[place] < str(day)]
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("\n".join([header, *kept]) + "\n")


def _timed(what: str, action: Callable[[], None]) -> float:
    """Wall seconds of `action`; its processor seconds are printed beside them, for they show a busy machine."""
    started, before = time.perf_counter(), os.times()
    action()
    seconds, after = time.perf_counter() - started, os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{what}: {seconds:.1f} s wall, {busy:.1f} s of processor time", flush=True)
    return seconds


def _infer(environment: dict[str, str], day: dt.date) -> None:
    _command(environment, "infer", "--date", str(day))


def _three_runs(environment: dict[str, str], day: dt.date) -> None:
    """The day's runs, each in a process of its own, as the daemon's run launcher starts them."""
    yesterday = day - dt.timedelta(days=1)
    window = dt.date(day.year, 1 if day.month < 7 else 7, 1)
    for job, key in (("ingest", yesterday), ("forecast", day), ("score", window)):
        tags = {
            "dagster/asset_partition_range_start": f"{key}|{SERIES[0]}",
            "dagster/asset_partition_range_end": f"{key}|{SERIES[-1]}",
        }
        _job(environment, job, "--tags", json.dumps(tags))


def _job(environment: dict[str, str], job: str, *options: str) -> None:
    _run(environment, "dagster", "job", "execute", "-m", "forecast_platform.definitions", "-j", job, *options)


def _command(environment: dict[str, str], *arguments: str) -> None:
    _run(environment, "forecast_platform.cli", *arguments)


def _run(environment: dict[str, str], module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    if shutil.which("dagster") is None and not Path(sys.executable).with_name("dagster").exists():
        raise SystemExit("dagster is not installed beside this Python")
    main()
