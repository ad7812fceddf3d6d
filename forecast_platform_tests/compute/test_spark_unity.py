"""compute=spark over Unity Catalog tables gives the bits of compute=local in a folder; what surrounds it works too."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from forecast_platform.compute.spark import SparkCompute
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.settings import Settings
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TRAINED_MODELS, UNIFIED_DATA
from forecast_platform.warehouse.unity import UnityWarehouse
from forecast_platform.work import artifacts, fits, store
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import (
    assert_same_tables,
    assert_what_was_live_is_archived_alike,
    interrupt_after,
    takes_seconds,
)
from forecast_platform_tests.unity_catalog import Lakehouse
from forecast_platform_tests.worlds import days, settings_for

pytestmark = pytest.mark.slow

SPAN = days("2017-12-30", "2018-01-03")


def over(lakehouse: Lakehouse, root: Path, **changes: object) -> Settings:
    """Settings of the small platform with its tables in the catalog."""
    spark = {"master": lakehouse.remote, "writer": "spark", "cores": 2}
    return settings_for(root, tables="unity_catalog", compute="spark", spark=spark, **changes)


def copied(source: Platform, target: Platform) -> None:
    """What forecasts are made of, copied into another warehouse."""
    for table in (UNIFIED_DATA, TRAINED_MODELS):
        for series in source.settings.series_names:
            where = {"commodity": series}
            target.warehouse.replace(table, source.warehouse.read(table, where=where), where)


def pair(root: Path, tmp_path: Path, lakehouse: Lakehouse) -> tuple[Platform, Platform]:
    """The same platform twice: on the local compute over a folder, and on Spark over the catalog."""
    here = Platform.from_settings(settings_for(root))
    shutil.copytree(root / "landing", tmp_path / "unity" / "landing")
    there = Platform.from_settings(over(lakehouse, tmp_path / "unity"))
    copied(here, there)
    return here, there


def test_spark_over_unity_catalog_and_local_over_a_folder_give_the_same_bits(
    small: Path, tmp_path: Path, lakehouse: Lakehouse
) -> None:
    here, there = pair(small, tmp_path, lakehouse)
    assert isinstance(there.warehouse, UnityWarehouse)
    assert forecast(here, "Alpha", "naive", SPAN).written == set(SPAN)
    assert forecast(there, "Alpha", "naive", SPAN).written == set(SPAN)
    assert_same_tables(here, there)
    # Version 0 is the table's creation: all paths are one commit.
    assert there.warehouse.version(DISTRIBUTIONS) == 1
    again = forecast(there, "Alpha", "naive", SPAN)
    assert (again.skipped, again.written) == (set(SPAN), set())
    assert forecast(there, "Alpha", "naive", SPAN[:2], overwrite=True).written == set(SPAN[:2])
    assert_same_tables(here, there)
    assert not list((there.settings.warehouse / "_spark").iterdir())
    asked = ("Alpha", "naive", SPAN[0], SPAN[-1])
    one, other = (Reader(platform.settings, platform.warehouse).paths(*asked) for platform in (here, there))
    assert list(one) == list(other) == SPAN
    assert all((one[day] == other[day]).sum() == one[day].size for day in SPAN)


def test_a_model_too_large_for_a_row_is_refused_where_its_file_would_end_with_the_cluster(
    small: Path, tmp_path: Path, lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, there = pair(small, tmp_path, lakehouse)
    windows = [dt.date(2018, 1, 1)]
    monkeypatch.setattr(fits, "INLINE_LIMIT", 100)
    assert train(there, "Alpha", "naive", windows, version="v2").written == set(windows), "a disk that stays"
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    monkeypatch.setattr(artifacts, "_on_own_disk", lambda _: False)
    assert train(there, "Alpha", "naive", windows, version="v2").written == set(), "unchanged"
    assert artifacts.why_not_kept(there.settings) is None, "a shared disk"
    monkeypatch.setattr(artifacts, "_on_own_disk", lambda _: True)
    outcome = train(there, "Alpha", "naive", windows, version="v3")
    [reason] = outcome.failed.values()
    assert "too large for a row" in reason
    assert "set unity.volume" in reason
    assert not outcome.written
    monkeypatch.setattr(fits, "INLINE_LIMIT", 1_000_000)
    assert train(there, "Alpha", "naive", windows, version="v3").written == set(windows)


def test_what_was_live_is_archived_before_it_is_replaced(
    small: Path, tmp_path: Path, lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "is_backfill", lambda *_: False)
    assert_what_was_live_is_archived_alike(*pair(small, tmp_path, lakehouse))


def test_an_interrupt_stops_the_job_and_the_same_session_does_it_again(
    small: Path, tmp_path: Path, lakehouse: Lakehouse
) -> None:
    here, there = pair(small, tmp_path, lakehouse)
    chunks = plan(there, "Alpha", "naive", "v1.0", SPAN).chunks
    started = time.monotonic()
    with interrupt_after(tmp_path / "started"), pytest.raises(KeyboardInterrupt):
        list(SparkCompute(worker=partial(takes_seconds, tmp_path / "started")).run(there, chunks, lambda days: {}))
    assert time.monotonic() - started < 30
    assert there.warehouse.rows(DISTRIBUTIONS) == 0
    assert forecast(there, "Alpha", "naive", SPAN).written == set(SPAN)
    forecast(here, "Alpha", "naive", SPAN)
    assert_same_tables(here, there)
