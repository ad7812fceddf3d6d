"""The part `graph` of benchmarks/jobs.py: a year's backfill of a model of an extra beside the library's own call.

Run in the extra's environment: `.venv-automl/bin/python -m benchmarks.jobs graph --landing FOLDER`.
"""

from __future__ import annotations

import copy
import datetime as dt
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._job_panels import Clock

YEAR = 2018


def graph(landing: Path, series: str, rounds: int = 3) -> None:
    """A year of `series` by autogluon or neuralforecast, whichever is installed, after training; the library's predict
    call for all origins of each window, its fitted model opened before, and `naive`'s backfill of the same year: of
    each the least of so many rounds, in turns."""
    model = "autogluon" if importlib.util.find_spec("autogluon") is not None else "neuralforecast"
    short = {"rounds": 20} if model == "autogluon" else {"max_steps": 20}  # fitting is not what is measured
    with tempfile.TemporaryDirectory() as made:
        os.environ.update(
            FORECAST_PLATFORM_SOURCE="landing",
            FORECAST_PLATFORM_LANDING=str(landing.resolve()),
            FORECAST_PLATFORM_WAREHOUSE=made,
            FORECAST_PLATFORM_MODELS=json.dumps(["naive", {"name": model, "params": short}]),
        )
        from forecast_platform.pipeline.ingest import ingest
        from forecast_platform.pipeline.training import train
        from forecast_platform.work.platform import Platform

        platform = Platform.from_settings()
        dates = [dt.date(YEAR, 1, 1) + dt.timedelta(days=n) for n in range(365)]
        ingest(platform, [series], platform.settings.history_start, dates[-1])
        for one in ("naive", model):
            outcome = train(platform, series, one, sorted({platform.window_start(day) for day in dates}))
            if outcome.failed:
                raise SystemExit(f"training of {one} failed: {outcome.failed}")
        backfilled(platform, series, model, dates[:1])  # imports, compilation
        backfilled(platform, series, "naive", dates[:1])
        taken: dict[str, list[Clock]] = {one: [] for one in (model, "naive", "library", "opened")}
        for _ in range(rounds):
            for one in (model, "naive"):
                taken[one].append(backfilled(platform, series, one, dates))
            library, opened, origins = own_call(platform, series, model, dates)
            taken["library"].append(library)
            taken["opened"].append(opened)
        ours, naive, library, opened = map(least, taken.values())
        print(f"{series} {YEAR}, {len(dates)} dates, load {os.getloadavg()[0]:.1f}, least of {rounds}")
        for what, clock in (
            (f"{model}: the backfill", ours),
            ("naive: the backfill", naive),
            (f"the library: predict of {origins} origins", library),
            ("the library: opening its fitted models", opened),
        ):
            print(f"  {what:<46}{clock.wall:8.2f} s wall {clock.processor:8.2f} s processor", flush=True)
        for what, parts in (("", (library, naive)), (" and opening", (library, opened, naive))):
            wall, processor = (sum(getattr(one, kind) for one in parts) for kind in ("wall", "processor"))
            print(
                f"  ratio to the library's call{what} + naive: {ours.wall / wall:.2f} wall, "
                f"{ours.processor / processor:.2f} processor (at most 1.5)"
            )


def least(clocks: list[Clock]) -> Clock:
    """The least of each kind of seconds."""
    found = Clock()
    found.wall, found.processor = min(one.wall for one in clocks), min(one.processor for one in clocks)
    return found


def backfilled(platform: Any, series: str, model: str, dates: list[dt.date]) -> Clock:
    """What the forecasts of these dates take, tables anew."""
    from forecast_platform.pipeline.inference import forecast

    for table in ("distributions", "point_forecasts", "forecast_metadata", "forecast_runs"):
        shutil.rmtree(platform.settings.warehouse / "commodity" / "forecast" / table, ignore_errors=True)
    platform.warehouse._opened.forget_all()
    with Clock() as clock:
        outcome = forecast(platform, series, model, dates)
    if outcome.failed or len(outcome.written) != len(dates):
        raise SystemExit(f"{model}: {len(outcome.written)} of {len(dates)} dates; {outcome.failed}")
    return clock


def own_call(platform: Any, series: str, model: str, dates: list[dt.date]) -> tuple[Clock, Clock, int]:
    """The library's predict call a window, for all sessions that the dates' forecasts begin after; opening its fitted
    models; how many sessions those are."""
    from forecast_platform.models import registry
    from forecast_platform.models.isolated import IsolatedFitted
    from forecast_platform.work.fits import load_model
    from forecast_platform.work.forecast_chunk import read_chunk_inputs

    predicted, opened, origins = Clock(), Clock(), 0
    predicted.wall = predicted.processor = opened.wall = opened.processor = 0.0
    for start in sorted({platform.window_start(day) for day in dates}):
        stored = load_model(platform, series, model, platform.settings.model_version, start)
        days = [day for day in dates if platform.window_start(day) == start]
        history = read_chunk_inputs(platform, stored, series, days).history
        fitted: Any = stored.fitted
        if isinstance(fitted, IsolatedFitted):
            fitted = registry.demand(stored.spec).load_folder(fitted.text, fitted.folder, fitted.window)
        length = int(fitted.state["context"])
        r = np.concatenate([np.zeros(length), fitted.scaled_returns(history)])
        known = np.unique(np.searchsorted(history.observed_dates, np.array(days, "datetime64[D]")))
        contexts = r[known[:, None] + np.arange(length)]
        if not origins:
            copy.copy(fitted).step_quantiles(contexts[:1])  # imports, compilation
        with Clock() as opening:
            fitted.library  # noqa: B018 - opened on first use
        with Clock() as predicting:
            fitted.step_quantiles(contexts)
        for total, one in ((opened, opening), (predicted, predicting)):
            total.wall, total.processor = total.wall + one.wall, total.processor + one.processor
        origins += len(contexts)
    return predicted, opened, origins
