"""What the Spark tests share: engines or the reason to skip them, workers that die, tables without their clocks."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from forecast_platform.compute.spark_worker import SparkJob, forecast_piece
from forecast_platform.models import registry
from forecast_platform.pipeline.inference import forecast
from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    FORECAST_METADATA,
    POINT_FORECASTS,
    Table,
)
from forecast_platform.work.chunks import Forecasts
from forecast_platform.work.fitting import Fit, FitTask, fit
from forecast_platform.work.platform import Platform
from forecast_platform_tests.waiting import PATIENCE, until
from forecast_platform_tests.worlds import days, ingest_all

RESULTS = (DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA)

needs_sail = pytest.mark.skipif(
    find_spec("pysail") is None, reason="pysail is not installed: install the extra `sail` to run Spark without Java"
)
needs_java = pytest.mark.skipif(
    shutil.which("java") is None and not os.environ.get("JAVA_HOME"), reason="no Java: JVM Spark needs Java 17"
)


def content(platform: Platform, table: Table) -> pa.Table:
    """A table's rows by key, without what differs between two runs: the times of making and the seconds taken."""
    rows = platform.warehouse.read(table)
    told = ("training_seconds", "inference_seconds", "scored_at")
    clocks = [name for name in rows.column_names if "timestamp" in name or name in told]
    return rows.drop_columns(clocks).sort_by([(name, "ascending") for name in table.key]).combine_chunks()


def assert_same_tables(one: Platform, other: Platform) -> None:
    """The same rows, to the bit."""
    for table in RESULTS:
        expected, found = content(one, table), content(other, table)
        assert found.num_rows == expected.num_rows, table.name
        differing = [name for name in expected.column_names if not found[name].equals(expected[name])]
        assert not differing, (table.name, differing)


def assert_what_was_live_is_archived_alike(here: Platform, there: Platform) -> None:
    """On both, forecasts are made anew from a revised price: what they replace goes to the archive, the same rows."""
    span = days("2018-01-08", "2018-01-12")
    for platform in (here, there):
        forecast(platform, "Alpha", "naive", span)
        file = platform.settings.landing / "market" / "alpha.csv"
        frame = pd.read_csv(file)
        frame.loc[frame.date == "2018-01-09", "close"] *= 1.05
        frame.to_csv(file, index=False)
        ingest_all(platform)
        assert forecast(platform, "Alpha", "naive", span).written == set(span[2:])
    assert_same_tables(here, there)
    archived = [content(platform, DISTRIBUTIONS_ARCHIVE).drop_columns("archived_at") for platform in (here, there)]
    assert archived[0].num_rows == 3 * 200
    assert archived[0].equals(archived[1])


def _first(marker: Path) -> bool:
    """Whether this is the first worker to come here, of those that come at the same time too."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def fails_once(marker: Path, job: SparkJob, row: Mapping[str, Any]) -> tuple[Forecasts, pa.Table]:
    """A worker whose machine fails after its first piece was made."""
    made = forecast_piece(job, row)
    if _first(marker):
        raise OSError("the machine went away")
    return made


def dies_once_after_writing(marker: Path, job: SparkJob, row: Mapping[str, Any]) -> tuple[Forecasts, pa.Table]:
    """A worker process that is killed once its rows are in the table, before Spark hears of it."""
    made, rows = forecast_piece(job, row)
    if _first(marker):
        from forecast_platform.warehouse.base import keys_of
        from forecast_platform.warehouse.delta import DeltaWarehouse

        assert job.root is not None
        where = keys_of(row["series"], row["model"], row["version"], made.days, by_month=True)
        DeltaWarehouse(Path(job.root)).replace(DISTRIBUTIONS, rows, where)
        os.kill(os.getpid(), signal.SIGKILL)
    return made, rows


def takes_seconds(marker: Path, job: SparkJob, row: Mapping[str, Any]) -> tuple[Forecasts, pa.Table]:
    """A worker that is still at it when the interrupt comes."""
    marker.touch()
    time.sleep(4)
    return forecast_piece(job, row)


def fit_takes_seconds(marker: Path, task: FitTask) -> Fit:
    """A fit that is still going on when the interrupt comes."""
    with marker.open("a") as told:
        told.write("started\n")
    time.sleep(4)
    return fit(task)


@contextmanager
def interrupt_after(marker: Path) -> Iterator[None]:
    """Ctrl-C as soon as `marker` is there."""

    def interrupt() -> None:
        until(marker.exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)


def task_for(platform: Platform, series: str, model: str, start: dt.date) -> FitTask:
    """What training fits for a window."""
    window = platform.training_window(start)
    table = platform.series_table(series)
    names = table.covariate_names(registry.get(model).covariates, window)
    history = table.history(window.start, window.end, names)
    return FitTask(series, model, start, window, history, platform.settings.seed)


def dies_once(marker: Path, task: FitTask) -> Fit:
    """A worker process that is killed in its first fit."""
    if _first(marker):
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(task)


def fit_fails_once(marker: Path, task: FitTask) -> Fit:
    """A worker whose machine fails in its first fit."""
    if _first(marker):
        raise OSError("the machine went away")
    return fit(task)
