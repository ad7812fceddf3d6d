"""Training jobs: what the job adds to the library's own calls, how fast the store answers, and memory.

    python benchmarks/jobs.py [PART ...] [--series 400] [--wide 10000] [--users 20] [--m4 FOLDER] [--landing FOLDER]

The parts: answers, tables, statsforecast, wide; those that start the whole service: latency, service, and history
(_job_history.py, ten thousand old jobs beside a hundred); and in the environment of an extra
(`.venv-automl/bin/python -m benchmarks.jobs ...`) library (_job_library.py), presets and m4 (_job_panels.py), graph
(_job_graph.py).

--m4 names the folder of the M4 competition's Weekly-train.csv and Weekly-test.csv; its repository (Mcompetitions,
M4-methods) keeps them in Dataset/Train and Dataset/Test. --landing names one of files as the source `landing` reads.

A generator makes weekly series with seasons, trends and breaks. Mode statsforecast's backtest and forecast stand beside
the library's `cross_validation` and `forecast` with the same models, windows and one process; both in one run,
processor time beside wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.settings import build
from forecast_platform.training_jobs.backtest import train, windows_of
from forecast_platform.training_jobs.config import JobConfig, parse
from forecast_platform.training_jobs.modes.choose import methods_of
from forecast_platform.training_jobs.panel import Panel
from forecast_platform.training_jobs.panel import build as panel_of
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.reading import Columns, Limits, read_file
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.training import PANEL, run_job

MODELS = ("AutoETS", "DynamicOptimizedTheta")


def generated(n_series: int, longest: int, seed: int = 1) -> Columns:
    """Weekly series of uneven lengths with a season of a year, a trend that breaks, and noise."""
    rng = np.random.default_rng(seed)
    stamps, values, ids = [], [], []
    for k in range(n_series):
        n = int(rng.integers(max(80, longest // 10), longest + 1))
        t = np.arange(n)
        slope = np.where(t < rng.integers(n), *rng.normal(0, 0.05, 2))
        season = rng.uniform(0, 8) * np.sin(2 * np.pi * (t + rng.integers(52)) / 52)
        stamps.append(np.datetime64("2024-12-30", "s") - (7 * 86_400) * (n - 1 - t))
        values.append(100 + np.cumsum(slope) + season + np.cumsum(rng.normal(0, 0.5, n)) + rng.normal(0, 1, n))
        ids.append(np.full(n, f"series{k:05d}"))
    return Columns(np.concatenate(stamps), np.concatenate(values), np.concatenate(ids), {})


def asked(**changes: Any) -> JobConfig:
    """A config over generated series; their arrays are handed in beside it."""
    given = {"data": [], "time_col": "week", "target_col": "sales", "id_col": "id", "horizon": 13}
    return parse({**given, "training_mode": "statsforecast", "models": MODELS, "time_limit": 86_400, **changes})


def timed(what: str, work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and processor seconds of `work`, printed."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{what:<58}{wall:8.1f} s wall {processor:8.1f} s processor", flush=True)
    return wall, processor, found


def against_statsforecast(n_series: int, part: int, parts: int) -> None:
    """The job's backtest and forecast beside the library's own, of one part of the series."""
    import pandas as pd
    from statsforecast import StatsForecast, models

    config, limits = asked(), Limits()
    columns = generated(n_series, 2500)
    mine = np.isin(columns.ids, np.array_split(np.unique(columns.ids), parts)[part - 1])
    panel: Panel = panel_of(Columns(columns.stamps[mine], columns.values[mine], columns.ids[mine], {}), config, limits)
    print(
        f"part {part} of {parts} of {n_series} series: {len(panel.ids)} series, {len(panel.values):,} rows, lengths "
        f"{panel.lengths.min()} to {panel.lengths.max()}, load {os.getloadavg()[0]:.1f}"
    )
    windows = windows_of(panel, config)
    one = next(iter(methods_of(asked(models=["AutoETS"]))[0]))
    train(panel, config, [one], windows_of(panel_of(generated(1, 100), config, limits), config), Progress())  # warm
    ours, ours_cpu, found = timed("job: backtest of three windows and forecast", lambda: train(
        panel, config, methods_of(config)[0], windows, Progress()))  # fmt: skip
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(panel.ids, panel.lengths),
            "ds": np.concatenate([np.arange(n) for n in panel.lengths]),
            "y": panel.values,
        }
    )
    library = StatsForecast(
        [models.AutoETS(season_length=1), models.DynamicOptimizedTheta(season_length=52)], freq=1, n_jobs=1
    )

    def own() -> Any:
        library.cross_validation(df=frame, h=13, n_windows=3, step_size=13, level=[80, 95])
        return library.forecast(df=frame, h=13, level=[80, 95])

    theirs, theirs_cpu, forecast = timed("library: cross_validation and forecast", own)
    print(f"{'ratio':<58}{ours / theirs:8.2f}        {ours_cpu / theirs_cpu:8.2f}")
    ets = next(trained for trained in found[0] if trained.name == "AutoETS")
    same = np.allclose(ets.forecast.points.ravel(), forecast["AutoETS"].to_numpy())
    print(f"AutoETS forecasts the same in both: {same}")


def answers(n_jobs: int = 1000) -> None:
    """The store's and the service's answers with many jobs."""
    from dagster import DagsterRun, DagsterRunStatus

    from forecast_platform.graph.training_jobs import tags_of
    from forecast_platform.runs.training_jobs import TrainingJobs

    with tempfile.TemporaryDirectory() as folder:
        settings = build(warehouse=Path(folder), training_jobs={"drafts_a_user": 10_000, "jobs_a_user": 100})
        store, config = JobStore(settings), asked()
        jobs = [store.create("ann", config) for _ in range(n_jobs)]
        service = TrainingJobs(settings)
        service.instance  # noqa: B018 - opened once
        store.submit(jobs[0].job_id, "ann")

        def each(work: Callable[[str], Any], ids: list[str]) -> str:
            seconds, processor = [], time.process_time()
            for job_id in ids:
                began = time.perf_counter()
                work(job_id)
                seconds.append(1000 * (time.perf_counter() - began))
            processor = 1000 * (time.process_time() - processor) / len(ids)
            wall = f"median {statistics.median(seconds):6.1f} ms, slowest {max(seconds):6.1f} ms"
            return f"{wall}; {processor:5.1f} ms of processor each"

        waiting = [jobs[0].job_id] * 100
        told = each(lambda one: service.get("ann", one), waiting)
        print(f"status of a waiting job among {n_jobs}             {told}")
        run = DagsterRun("train_on_request", status=DagsterRunStatus.STARTED, tags=tags_of(store.get(jobs[9].job_id)))
        store.submit(jobs[9].job_id, "ann")
        store.requested(store.get(jobs[9].job_id))
        told = each(lambda one: service.get("ann", one), [jobs[9].job_id] * 100)
        print(f"status of one whose run is asked for among {n_jobs}         {told}")
        service.instance.add_run(run)
        store.started(jobs[9].job_id, run.run_id)
        told = each(lambda one: service.get("ann", one), [jobs[9].job_id] * 100)
        print(f"status of a running job among {n_jobs} (asks Dagster)     {told}")
        some = [job.job_id for job in jobs[1:9]]
        told = each(lambda one: store.submit(one, "ann"), some)
        print(f"submit, the part of the store                           {told}")


def tables(n_jobs: int = 1000) -> None:
    """What a job's rows cost once many jobs have theirs, each in a process of its own as far as tables go."""
    import datetime as dt
    from dataclasses import replace

    from forecast_platform.housekeeping.maintenance import compact
    from forecast_platform.training_jobs.tables import remove_rows, write_rows
    from forecast_platform.warehouse.delta import DeltaWarehouse

    with tempfile.TemporaryDirectory() as folder:
        settings = build(warehouse=Path(folder), training_jobs={"drafts_a_user": 10_000})
        store, config, limits = JobStore(settings), asked(models=["HistoricAverage"], horizon=12), Limits()
        first = store.create("ann", config)
        store.job_folder(first.job_id).mkdir(parents=True)
        panel_of(generated(10, 100), config, limits).save(store.job_folder(first.job_id) / PANEL)
        results = run_job(store.job_folder(first.job_id), config, Progress())
        forecast = (store.job_folder(first.job_id) / "forecast.csv").read_bytes()

        def write(day: int) -> tuple[float, float, Any]:
            job = store.create("ann", config)
            job = replace(job, created_at=f"2026-01-{day:02d}T00:00:00")
            store.job_folder(job.job_id).mkdir(parents=True)
            (store.job_folder(job.job_id) / "forecast.csv").write_bytes(forecast)
            wall, processor = time.perf_counter(), time.process_time()
            write_rows(DeltaWarehouse(settings.warehouse), store, job, results)
            return time.perf_counter() - wall, time.process_time() - processor, job

        def told(what: str, some: list[tuple[float, float, Any]]) -> None:
            wall, cpu = (1000 * statistics.median(one[k] for one in some) for k in (0, 1))
            print(f"{what:<64}{wall:7.0f} ms wall {cpu:7.0f} ms processor", flush=True)

        done = [write(1 + 30 * k // n_jobs) for k in range(n_jobs)]
        told(f"a job's rows, of the first 50 ({results['forecast_rows'] * 2} rows a job)", done[1:51])
        told(f"a job's rows, of the last 50 of {n_jobs}", done[-50:])
        warehouse = DeltaWarehouse(settings.warehouse)
        timed("maintenance merges files", lambda: compact(warehouse, dt.date(2026, 2, 1)))
        told("a job's rows after it, on a new day", [write(31) for _ in range(20)])
        told("a job tried again on a day that was merged", [write(3) for _ in range(5)])
        gone = [(job.job_id, job.day) for *_, job in done[:100]]
        timed("removing the rows of 100 jobs", lambda: remove_rows(DeltaWarehouse(settings.warehouse), gone))


def wide(n_series: int, mode: str, windows: int) -> None:
    """Ten thousand series of 200 rows, as an uploaded CSV file: memory when it is read, and when it is trained on."""
    import pyarrow as pa
    from pyarrow import csv

    models = ["DynamicOptimizedTheta"] if mode == "statsforecast" else []
    config = asked(training_mode=mode, models=models, backtest_windows=windows)
    with tempfile.TemporaryDirectory() as folder:
        rng, file = np.random.default_rng(1), Path(folder) / "upload.csv"
        stamps = np.tile(np.datetime64("2021-01-04", "D") + 7 * np.arange(200), n_series)
        ids = np.repeat(np.array([f"s{k:05d}" for k in range(n_series)]), 200)
        values = np.cumsum(rng.normal(size=200 * n_series)) + 100
        csv.write_csv(pa.table({"week": stamps, "id": ids, "sales": values}), file)
        what = f"{n_series:,} series of 200 rows, a CSV file of {file.stat().st_size / 1e6:.0f} MB"
        panel = timed(f"{what}, read", lambda: panel_of(read_file(file, config, Limits()), config, Limits()))[2]
        panel.save(Path(folder) / PANEL)
        print(f"peak memory {peak():.2f} GB")
        *_, found = timed(f"job of mode {mode}, {windows} windows", lambda: run_job(Path(folder), config, Progress()))
    for row in found["leaderboard"]:
        print(
            f"  {row['model']:<24} MASE {row['mase']:.3f}, {row['total_seconds']:.0f} s, {row['fallbacks']} fallbacks"
        )
    print(f"peak memory {peak():.2f} GB (at most 4)")


def peak() -> float:
    """The most memory that this process has had, in GB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def of_the_extras(chosen: set[str], options: argparse.Namespace) -> None:
    """The parts of the extras that take whole panels or the daily graph."""
    config = asked(training_mode="autogluon", models=[], backtest_windows=options.windows)
    if "presets" in chosen:
        from benchmarks._job_panels import presets

        presets(panel_of(generated(options.series, options.longest), config, Limits()), config)
    if "m4" in chosen:
        from benchmarks._job_panels import m4

        if options.m4 is None:
            raise SystemExit("m4: name the folder of Weekly-train.csv and Weekly-test.csv by --m4")
        m4(options.m4, config, options.arima)
    if "graph" in chosen:
        from benchmarks._job_graph import graph

        if options.landing is None:
            raise SystemExit("graph: name the folder of prices by --landing")
        graph(options.landing, options.commodity, options.rounds)


def main() -> None:
    """Print the figures asked for; all without the service where none is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("answers", "tables", "statsforecast", "wide", "latency", "service", "history")
    parts += ("library", "presets", "m4", "graph")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--series", type=int, default=400)
    parser.add_argument("--wide", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="of `library` and `graph`: the least is told")
    parser.add_argument("--longest", type=int, default=2500, help="rows of the longest generated series")
    parser.add_argument("--mode", default="statsforecast", help="of `wide`: statsforecast, autogluon, neuralforecast")
    parser.add_argument("--arima", type=int, default=400, help="series of `m4` that AutoARIMA is measured on")
    parser.add_argument("--windows", type=int, default=3, help="of the backtest of `m4`, `presets` and `wide`")
    parser.add_argument("--m4", type=Path, help="folder of the M4 competition's weekly files")
    parser.add_argument("--landing", type=Path, help="folder of prices, for `graph`")
    parser.add_argument("--commodity", default="Coffee", help="series of `graph`")
    parser.add_argument("--part", type=int, nargs=2, default=(1, 1), metavar=("K", "N"),
                        help="of `statsforecast`: the K-th of N parts of the series")  # fmt: skip
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5400, help="after which `service` says what is done by then")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(parts)}")
    warnings.filterwarnings("ignore")
    chosen = options.parts or parts[:4]
    if "answers" in chosen:
        answers()
    if "tables" in chosen:
        tables()
    if "statsforecast" in chosen:
        against_statsforecast(options.series, *options.part)
    if "wide" in chosen:
        wide(options.wide, options.mode, options.windows)
    if "library" in chosen:
        from benchmarks._job_library import beside_the_library

        config = asked()
        beside_the_library(panel_of(generated(options.series, 600), config, Limits()), config, options.rounds)
    of_the_extras(set(chosen), options)
    if {"latency", "service"} & set(chosen):
        from benchmarks._job_service import latency, service
    if "latency" in chosen:
        latency()
    if "history" in chosen:
        from benchmarks._job_history import history

        history()
    if "service" in chosen:
        service(options.users, seconds=options.seconds)


if __name__ == "__main__":
    main()
