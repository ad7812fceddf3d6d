"""A warehouse that version 0.1 made, with its own code (old/make.py): it opens, and gives the same forecasts."""

from __future__ import annotations

import datetime as dt
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.cli.main import OK, main
from forecast_platform.graph.event_storage import BatchedSqliteEventLogStorage
from forecast_platform.housekeeping.migrate import plan as migration
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.pipeline.inference import forecast
from forecast_platform.read import Reader
from forecast_platform.runs.launch import Launcher
from forecast_platform.settings import load
from forecast_platform.work.fits import load_model
from forecast_platform.work.forecast_chunk import read_chunk_inputs
from forecast_platform.work.platform import Platform
from forecast_platform_tests.housekeeping.old import make
from forecast_platform_tests.worlds import days, write_landing

ARCHIVE = Path(make.__file__).with_name("warehouse-0.1.0.tar.xz")
SPAN = days(make.FIRST, make.LAST)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The earlier version's warehouse under this version's code, with the settings that it was made with."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    write_landing(tmp_path / "landing")
    (tmp_path / "landing" / "market" / "beta.csv").unlink()
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for name, value in make.SETTINGS.items():
        monkeypatch.setenv(f"FORECAST_PLATFORM_{name}", value)
    monkeypatch.setenv("FORECAST_PLATFORM_LANDING", str(tmp_path / "landing"))
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    load.cache_clear()
    assert main(["migrate"]) == OK
    yield Platform.from_settings()
    load.cache_clear()


def test_migrate_leaves_nothing_to_migrate(platform: Platform) -> None:
    assert migration(platform.warehouse) == []


@pytest.mark.parametrize("model", make.SETTINGS["MODELS"].split(","))
def test_its_forecasts_are_unchanged_and_made_again_they_are_the_same(platform: Platform, model: str) -> None:
    before = Reader(platform.settings).paths(make.COMMODITY, model, SPAN[0], SPAN[-1])
    assert list(before) == SPAN
    assert plan(platform, make.COMMODITY, model, "v1.0", SPAN).skipped == set(SPAN), (
        "its inputs and models are as before"
    )
    assert forecast(platform, make.COMMODITY, model, SPAN, overwrite=True).written == set(SPAN)
    after = Reader(platform.settings).paths(make.COMMODITY, model, SPAN[0], SPAN[-1])
    for day in SPAN:
        np.testing.assert_array_equal(before[day], after[day])


def test_its_instance_opens_with_its_runs_and_partitions(platform: Platform) -> None:
    from dagster import AssetKey

    instance = Launcher(platform.settings).instance
    assert isinstance(instance.event_log_storage, BatchedSqliteEventLogStorage)
    jobs = {record.dagster_run.job_name for record in instance.get_run_records()}
    assert {"ingest", "train", "forecast"} <= jobs
    kept = instance.get_materialized_partitions(AssetKey(["distributions", "naive"]))
    assert kept == {f"{day}|{make.COMMODITY}" for day in SPAN}


def test_what_it_logged_in_mlflow_gives_the_same_paths(platform: Platform) -> None:
    import mlflow

    logged = [
        path for path in (platform.settings.warehouse / "_mlflow").rglob("MLmodel") if "naive" in path.read_text()
    ]
    model = mlflow.pyfunc.load_model(str(logged[0].parent))
    stored = load_model(platform, make.COMMODITY, "naive", "v1.0", dt.date(2018, 1, 1))
    inputs = read_chunk_inputs(platform, stored, make.COMMODITY, SPAN)
    asked = {"history": inputs.history, "origins": inputs.dates, "n_paths": 100, "seed": platform.settings.seed}
    paths = Reader(platform.settings).paths(make.COMMODITY, "naive", SPAN[0], SPAN[-1])
    np.testing.assert_array_equal(model.predict(asked), np.stack([paths[day] for day in SPAN]))
