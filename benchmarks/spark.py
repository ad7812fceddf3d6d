"""compute=spark against compute=local: wall and CPU of a backfill, what a start costs, and a cluster on paper.

    python benchmarks/spark.py --landing FOLDER [--models naive xgboost] [--engines local sail jvm] [--warehouse DIR]

Each line is a process of its own, held to 1 or 2 of this machine's processors: seconds to a session; what the workers'
start and imports cost (the first job of half a year less the same job again, warm); wall and CPU seconds of the
backfill when warm (CPU of the process and all its children: JVM and Python workers), as such and as multiples of
`local` with as many processors; and wall seconds of a job of one date. From the CPU a date takes, the cluster's times
are computed for 2,878 dates of 2 series, with the same cutting into jobs and pieces as the code does.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FIRST, LAST = dt.date(2018, 1, 1), dt.date(2022, 12, 31)
MASTERS = {"sail": "sail", "jvm": "local[{}]"}


def main() -> None:
    options = arguments()
    if options.case:
        print(json.dumps(case(options)))
        return
    folder = Path(tempfile.mkdtemp(prefix="spark-"))
    root = folder / "warehouse"
    if options.warehouse:
        shutil.copytree(options.warehouse, root)
    for model in options.models:
        call = [sys.executable, "-m", "forecast_platform.cli", "train", "--commodity", options.series]
        call += ["--models", model, "--start-date", str(FIRST), "--end-date", str(LAST)]
        subprocess.run(call, env=environment(options, root), check=True, stdout=subprocess.DEVNULL)
    load = os.getloadavg()[0]
    print(f"{options.series}, {FIRST} to {LAST}, 2,000 paths x 14 days; load before the start {load:.1f}")
    print(f"{'engine':<8}{'workers':>8} {'model':<22}{'session s':>10}{'worker start s':>16}", end="")
    print(f"{'wall s':>8}{'CPU s':>8}{'x wall':>8}{'x CPU':>8}{'one date s':>12}")
    found: dict[tuple[str, int, str], dict[str, float]] = {}
    for engine in options.engines:
        for workers in options.workers:
            for model in options.models:
                one = run_case(options, root, engine, workers, model)
                found[engine, workers, model] = one
                print(f"{engine:<8}{workers:>8} {model:<22}{one['session']:>10.1f}{one['start']:>16.1f}", end="")
                print(f"{one['wall']:>8.1f}{one['cpu']:>8.1f}", end="")
                base = found.get(("local", workers, model))
                ratios = [f"{one[name] / base[name]:.2f}" if base else "-" for name in ("wall", "cpu")]
                print(f"{ratios[0]:>8}{ratios[1]:>8}{one['single']:>12.2f}", flush=True)
    on_paper(options, found)
    shutil.rmtree(folder)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", required=True)
    parser.add_argument("--warehouse", help="a warehouse with data and models: copied, not changed")
    parser.add_argument("--series", default="Coffee")
    parser.add_argument("--models", nargs="+", default=["naive", "xgboost"])
    parser.add_argument("--engines", nargs="+", default=["local", "sail", "jvm"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


def environment(options: argparse.Namespace, root: Path) -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(Path(options.landing).resolve()),
        "FORECAST_PLATFORM_WAREHOUSE": str(root),
    }


def run_case(options: argparse.Namespace, root: Path, engine: str, workers: int, model: str) -> dict[str, float]:
    call = [sys.executable, __file__, "--landing", options.landing, "--series", options.series]
    call += ["--models", model, "--engines", engine, "--workers", str(workers), "--case", str(root)]
    done = subprocess.run(call, env=environment(options, root), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def case(options: argparse.Namespace) -> dict[str, float]:
    """One engine, number of workers and model, in this process."""
    [engine], [workers], [model] = options.engines, options.workers, options.models
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    from forecast_platform.clients.spark import session_for
    from forecast_platform.pipeline.inference import forecast
    from forecast_platform.settings import build
    from forecast_platform.work.platform import Platform

    spark = {}
    if engine in MASTERS:
        spark = {"compute": "spark", "spark": {"master": MASTERS[engine].format(workers), "cores": workers}}
    platform = Platform.from_settings(build(workers=workers, **spark))
    started = time.perf_counter()
    if spark:
        session_for(platform.settings)
    session = time.perf_counter() - started
    dates = [FIRST + dt.timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    half_year = dates[:181]
    first, again = (timed(platform, lambda: forecast(platform, options.series, model, half_year))[0] for _ in range(2))
    single = min(timed(platform, lambda: forecast(platform, options.series, model, dates[:1]))[0] for _ in range(2))
    wall, cpu = timed(platform, lambda: forecast(platform, options.series, model, dates))
    return {"session": session, "start": first - again, "wall": wall, "cpu": cpu, "single": single}


def timed(platform, work) -> tuple[float, float]:
    """Wall and CPU seconds over an empty table."""
    for table in ("distributions", "point_forecasts", "forecast_metadata"):
        shutil.rmtree(platform.settings.warehouse / "commodity" / "forecast" / table, ignore_errors=True)
    platform.warehouse._opened.forget_all()
    wall, cpu = time.perf_counter(), processor_seconds()
    outcome = work()
    if outcome.failed or not outcome.written:
        raise SystemExit(str(outcome.failed))
    return time.perf_counter() - wall, processor_seconds() - cpu


def processor_seconds() -> float:
    import psutil

    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    # Also of children that have ended, such as a worker that Spark let go.
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


def on_paper(options: argparse.Namespace, found: dict[tuple[str, int, str], dict[str, float]]) -> None:
    """2,878 dates (2018-01-01 to 2025-11-17) of 2 series on workers of 4 cores, from what a date takes here."""
    engines = [engine for engine in options.engines if engine in MASTERS]
    if not engines:
        return
    print("\non paper, 2,878 dates x 2 series; warm cluster, a core as fast as one here; wall minutes (core-hours)")
    print(f"{'engine':<8}{'models':<40}" + "".join(f"{f'{n} x 4 cores':>16}" for n in (4, 8, 16, 32)))
    for engine in engines:
        cells = []
        for machines in (4, 8, 16, 32):
            seconds = 0.0
            for model in options.models:
                one = found[engine, options.workers[-1], model]
                a_date = one["cpu"] / ((LAST - FIRST).days + 1)
                seconds += 2 * backfill_seconds(machines * 4, a_date, one["single"])
            cells.append(f"{f'{seconds / 60:.1f} ({seconds * machines * 4 / 3600:.1f})':>16}")
        print(f"{engine:<8}{', '.join(options.models):<40}" + "".join(cells))


def backfill_seconds(cores: int, a_date: float, a_job: float) -> float:
    """Seconds of one model and series: its jobs one after the other, each as long as its busiest core, and for every
    chunk the driver's share, taken as that of a whole job of one date: an upper bound."""
    from forecast_platform.compute.spark_pieces import groups, piece_size, split
    from forecast_platform.forecasting.windows import FREQUENCIES
    from forecast_platform.work.chunks import Chunk

    frequency, slots = FREQUENCIES["semiannually"], cores * 3
    chunks = []
    for start in frequency.starts(FIRST, dt.date(2025, 11, 17)):
        end = min(frequency.next_start(start) - dt.timedelta(days=1), dt.date(2025, 11, 17))
        days = [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]
        chunks.append(Chunk("Coffee", "model", "v1.0", start, tuple(days)))
    total = 0.0
    for group in groups(chunks, slots, "spark"):
        size = piece_size(group, slots)
        pieces = [
            part.stop - part.start
            for chunk in group
            for part in split(np.array(chunk.dates, "datetime64[D]"), size, whole_months=False)
        ]
        load = np.zeros(cores)
        for dates in sorted(pieces, reverse=True):
            load[load.argmin()] += dates * a_date
        total += a_job * len(group) + load.max()
    return total


if __name__ == "__main__":
    main()
