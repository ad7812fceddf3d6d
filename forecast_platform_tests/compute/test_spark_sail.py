"""compute=spark on the embedded engine gives the tables that compute=local gives, also when something goes wrong."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from forecast_platform.cli.main import main
from forecast_platform.clients import spark_session
from forecast_platform.clients.spark import session_for
from forecast_platform.compute import spark_delta
from forecast_platform.compute.spark import SparkCompute
from forecast_platform.compute.spark_delta import prepare, replace_rows
from forecast_platform.forecasting.horizon import DEFAULT, day_columns
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.settings import Settings, load
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TRAINED_MODELS
from forecast_platform.work import store
from forecast_platform.work.platform import Platform
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.compute.engines import (
    RESULTS,
    assert_same_tables,
    assert_what_was_live_is_archived_alike,
    fails_once,
    interrupt_after,
    needs_sail,
    takes_seconds,
)
from forecast_platform_tests.worlds import days, settings_for

pytestmark = [needs_sail, pytest.mark.slow]

SPAN = days("2017-12-20", "2018-01-15")


def pair(root: Path, tmp_path: Path, **changes: Any) -> tuple[Platform, Platform]:
    """The same platform twice: on the local compute, and on sail."""
    shutil.copytree(root, tmp_path / "spark")
    on_spark = settings_for(tmp_path / "spark", compute="spark", spark={"master": "sail"}, **changes)
    return Platform.from_settings(settings_for(root, **changes)), Platform.from_settings(on_spark)


def spoil(platform: Platform) -> None:
    """Put one absurd residual into the stored random_walk of 2018: dates that draw it explode."""
    where = {"commodity": "Alpha", "model_name": "random_walk", "training_cutoff_date": dt.date(2017, 12, 31)}
    rows = platform.warehouse.read(TRAINED_MODELS, where=where)
    [row] = rows.to_pylist()
    state = json.loads(row["fitted_model_json"])
    state["residuals"]["__array__"][400] = 1000.0
    row.update(fitted_model_json=json.dumps(state), model_id="spoiled")
    platform.warehouse.replace(TRAINED_MODELS, type(rows).from_pylist([row], rows.schema), where)


def test_spark_and_local_give_the_same_bits_and_a_rerun_skips(small: Path, tmp_path: Path) -> None:
    here, there = pair(small, tmp_path)
    for model in ("naive", "random_walk"):
        assert forecast(here, "Alpha", model, SPAN).written == set(SPAN)
        assert forecast(there, "Alpha", model, SPAN).written == set(SPAN)
    assert_same_tables(here, there)
    before = [there.warehouse.version(table) for table in RESULTS]
    again = forecast(there, "Alpha", "naive", SPAN)
    assert (again.skipped, again.written) == (set(SPAN), set())
    assert before == [there.warehouse.version(table) for table in RESULTS]
    assert not list((there.settings.warehouse / "_spark").iterdir())


@pytest.mark.parametrize("writer", ["spark", "workers", "driver"])
def test_another_horizon_gives_the_same_bits_whoever_writes(small: Path, tmp_path: Path, writer: str) -> None:
    shutil.copytree(small, tmp_path / "spark")
    master = {"master": "sail", "writer": writer}
    there = Platform.from_settings(settings_for(tmp_path / "spark", compute="spark", spark=master, horizon=20))
    here = Platform.from_settings(settings_for(small, horizon=20))
    span = SPAN[-10:]
    for platform in (here, there):
        assert forecast(platform, "Alpha", "naive", span).written == set(span)
    assert_same_tables(here, there)
    assert "day_20" in there.warehouse.read(DISTRIBUTIONS).column_names


def test_a_group_of_chunks_is_one_commit_of_the_paths(small: Path, tmp_path: Path) -> None:
    _, there = pair(small, tmp_path)
    assert len(plan(there, "Alpha", "naive", "v1.0", SPAN).chunks) == 2
    forecast(there, "Alpha", "naive", SPAN)
    # Version 0 is the table's creation.
    assert there.warehouse.version(DISTRIBUTIONS) == 1


def test_invalid_dates_are_reported_alike_and_keep_their_stored_paths(small: Path, tmp_path: Path) -> None:
    here, there = pair(small, tmp_path, n_paths=100)
    kept = days("2018-01-01", "2018-01-08")
    found = []
    for platform in (here, there):
        forecast(platform, "Alpha", "random_walk", kept)
        spoil(platform)
        found.append(forecast(platform, "Alpha", "random_walk", SPAN))
    local, spark = found
    assert spark.failed == local.failed
    assert spark.written == local.written
    assert set(kept) & set(local.failed)
    assert set(kept) & local.written
    assert all("exploding" in reason or "not finite" in reason for reason in spark.failed.values())
    assert_same_tables(here, there)


def test_stale_data_and_missing_models_are_reported_alike(small: Path, tmp_path: Path) -> None:
    here, there = pair(small, tmp_path)
    span = days("2018-03-28", "2018-07-02")
    local, spark = (forecast(platform, "Alpha", "naive", span) for platform in (here, there))
    assert len(local.failed) > 80
    assert (spark.written, spark.failed) == (local.written, local.failed)
    assert_same_tables(here, there)


def test_a_task_that_fails_once_is_done_again_without_duplicates(small: Path, tmp_path: Path) -> None:
    here, there = pair(small, tmp_path)
    forecast(here, "Alpha", "naive", SPAN)
    chunks = plan(there, "Alpha", "naive", "v1.0", SPAN).chunks
    compute = SparkCompute(worker=partial(fails_once, tmp_path / "failed"))
    results = list(compute.run(there, chunks, lambda days: {}))
    assert (tmp_path / "failed").exists()
    assert sorted(day for result in results for day in result.written) == SPAN
    assert_same_tables(here, there)


def test_a_job_that_fails_every_time_fails_its_keys_with_the_reason_and_writes_nothing(
    small: Path, tmp_path: Path
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no such machine")

    _, there = pair(small, tmp_path)
    chunks = plan(there, "Alpha", "naive", "v1.0", SPAN).chunks
    results = list(SparkCompute(worker=broken).run(there, chunks, lambda days: {}))
    assert {day for result in results for day in result.failed} == set(SPAN)
    assert all("no such machine" in reason for result in results for reason in result.failed.values())
    assert there.warehouse.rows(DISTRIBUTIONS) == 0


def test_an_interrupt_stops_the_job_within_seconds_and_the_engine_outlives_it(small: Path, tmp_path: Path) -> None:
    # sail takes SIGINT for its own end, and pyspark would then look for it for ten minutes.
    here, there = pair(small, tmp_path)
    chunks = plan(there, "Alpha", "naive", "v1.0", SPAN).chunks
    compute = SparkCompute(worker=partial(takes_seconds, tmp_path / "started"))
    session = session_for(there.settings)
    started = time.monotonic()
    with interrupt_after(tmp_path / "started"), pytest.raises(KeyboardInterrupt):
        list(compute.run(there, chunks, lambda days: {}))
    assert time.monotonic() - started < 30
    assert there.warehouse.rows(DISTRIBUTIONS) == 0
    assert session_for(there.settings) is session
    assert forecast(there, "Alpha", "naive", SPAN).written == set(SPAN)
    forecast(here, "Alpha", "naive", SPAN)
    assert_same_tables(here, there)


def test_an_engine_that_has_ended_is_started_again(small: Path, tmp_path: Path) -> None:
    _, there = pair(small, tmp_path)
    session_for(there.settings)
    spark_session._sail.stop()
    assert forecast(there, "Alpha", "naive", SPAN[:2]).written == set(SPAN[:2])


def test_a_session_that_is_lost_costs_a_run_one_try_and_not_one_a_group(
    small: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("forecast_platform.compute.spark_pieces.DRIVER_GROUP_DATES", 1)
    driver = settings_for(small, compute="spark", spark={"master": "sail", "writer": "driver"})
    there = Platform.from_settings(driver)
    planned = plan(there, "Alpha", "naive", "v1.0", SPAN[:5]).chunks
    chunks = [replace(chunk, dates=(day,)) for chunk in planned for day in chunk.dates]
    results = SparkCompute().run(there, chunks, lambda days: {})
    assert not next(results).failed
    session_for(there.settings).client._channel.close()
    assert not any(result.failed for result in results)
    assert sum("was lost; tried again" in record.message for record in caplog.records) == 1


def test_what_was_live_is_archived_before_spark_replaces_it(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "is_backfill", lambda *_: False)
    assert_what_was_live_is_archived_alike(*pair(small, tmp_path))


def test_the_session_of_a_dagster_resource_is_used(small: Path, tmp_path: Path) -> None:
    class Source:
        asked = 0

        def __init__(self, settings: Settings) -> None:
            self.settings = settings

        @property
        def spark_session(self) -> Any:
            Source.asked += 1
            return session_for(self.settings)

    _, there = pair(small, tmp_path)
    platform = Platform.from_settings(there.settings, Source(there.settings))
    assert forecast(platform, "Alpha", "naive", SPAN[:2]).written == set(SPAN[:2])
    assert Source.asked == 1


def test_models_forecast_at_the_same_time_do_not_lose_one_anothers_commits(small: Path, tmp_path: Path) -> None:
    here, there = pair(small, tmp_path)
    asked = [("Alpha", "naive"), ("Alpha", "random_walk"), ("Beta", "naive")]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda key: forecast(there, *key, SPAN), asked))
    assert all(outcome.written == set(SPAN) for outcome in done)
    for key in asked:
        forecast(here, *key, SPAN)
    assert_same_tables(here, there)


def test_another_engine_s_commit_in_between_costs_sail_s_job_no_row(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sail gives up a commit that any other overtook; delta-rs commits other keys until one has."""
    here, there = pair(small, tmp_path)
    assert forecast(there, "Beta", "naive", SPAN[-2:]).written == set(SPAN[-2:])
    rows = there.warehouse.read(DISTRIBUTIONS, where={"commodity": "Beta"})
    conflicts: list[str] = []
    seen = spark_delta.is_conflict

    def is_conflict(error: Exception) -> bool:
        found = seen(error)
        conflicts.extend([str(error)] if found else [])
        return found

    monkeypatch.setattr(spark_delta, "is_conflict", is_conflict)
    over = Event()

    def commit_meanwhile() -> None:
        other = Platform.from_settings(there.settings).warehouse
        while not conflicts and not over.is_set():
            other.replace(DISTRIBUTIONS, rows, keys_of("Beta", "naive", "v1.0", SPAN[-2:], by_month=True))

    with ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(commit_meanwhile)
        try:
            assert forecast(there, "Alpha", "naive", SPAN).written == set(SPAN)
        finally:
            over.set()
        meanwhile.result()
    assert conflicts, "no commit came in between: the test says nothing"
    for series, span in (("Alpha", SPAN), ("Beta", SPAN[-2:])):
        forecast(here, series, "naive", span)
    assert_same_tables(here, there)


def test_the_driver_can_write_what_workers_return(small: Path, tmp_path: Path) -> None:
    here, there = pair(small, tmp_path)
    driver = Platform.from_settings(
        settings_for(tmp_path / "spark", compute="spark", spark={"master": "sail", "writer": "driver"})
    )
    forecast(here, "Beta", "naive", SPAN)
    forecast(driver, "Beta", "naive", SPAN)
    assert_same_tables(here, driver)


def test_paths_that_are_all_a_file_holds_keep_their_bits_when_sail_rewrites_it(small: Path, tmp_path: Path) -> None:
    # Over a weekend day_1 is the held close in every path: sail answers such a column from statistics in JSON.
    _, platform = pair(small, tmp_path)
    prepare(platform, 0)
    session = session_for(platform.settings)
    some = {"string": "x", "timestamp": platform.settings.now(), "bool": False, "int": 1}
    rng = np.random.default_rng(7)

    def rows(kept: list[dt.date]) -> pa.Table:
        fixed = {column.name: some.get(column.type) for column in DISTRIBUTIONS.columns}
        closes = dict(zip(day_columns(DEFAULT), rng.random(14, np.float32) * 200, strict=True))
        made = [
            {
                **fixed,
                **closes,
                "forecast_date": day,
                "data_cutoff_date": day,
                "last_observed_date": day,
                "path_id": path,
            }
            for day in kept
            for path in range(2)
        ]
        return pa.Table.from_pylist(made, schema=DISTRIBUTIONS.arrow_schema())

    def write(table: pa.Table, written: list[dt.date]) -> None:
        replace_rows(platform, session.createDataFrame(table), {"commodity": "x", "forecast_date": written})

    for day in days("2018-01-01", "2018-01-20"):
        both = [day, day + dt.timedelta(days=100)]
        table = rows(both)
        write(table, both)
        write(rows(both[1:]), both[1:])
        found = platform.warehouse.read(DISTRIBUTIONS, [*day_columns(DEFAULT), "path_id"], {"forecast_date": day})
        expected = table.slice(0, 2).select(found.column_names)
        assert found.sort_by("path_id").combine_chunks().equals(expected.combine_chunks())


def test_boosted_trees_are_the_same_bits_on_spark(small: Path, tmp_path: Path) -> None:
    models = ("naive", "random_walk", "xgboost")
    platform = Platform.from_settings(settings_for(small, models=models))
    train(platform, "Alpha", "xgboost", [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])
    here, there = pair(small, tmp_path, models=models)
    assert forecast(here, "Alpha", "xgboost", SPAN).written == set(SPAN)
    assert forecast(there, "Alpha", "xgboost", SPAN).written == set(SPAN)
    assert_same_tables(here, there)


def test_backfill_from_a_shell_runs_on_spark(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, _ = pair(small, tmp_path)
    for name, value in environment(tmp_path / "spark").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FORECAST_PLATFORM_COMPUTE", "spark")
    monkeypatch.setenv("FORECAST_PLATFORM_SPARK__MASTER", "sail")
    load.cache_clear()
    arguments = ["backfill", "--commodity", "Alpha", "--start-date", str(SPAN[0]), "--end-date", str(SPAN[-1])]
    code = main(arguments)
    told = capsys.readouterr().out
    assert code == 0, told
    assert f"distributions/naive: {len(SPAN)} written, 0 unchanged, 0 failed" in told
    for model in ("naive", "random_walk"):
        forecast(here, "Alpha", model, SPAN)
    there = Platform.from_settings(load())
    commits = DeltaTable(str(tmp_path / "spark" / "warehouse" / "commodity" / "forecast" / "distributions"))
    assert any("sail" in commit.get("engineInfo", "") for commit in commits.history())
    for model in ("naive", "random_walk"):
        where = {"model_name": model}
        rows = [p.warehouse.read(DISTRIBUTIONS, ["forecast_date", "path_id", "day_14"], where) for p in (here, there)]
        expected, found = (table.sort_by([("forecast_date", "ascending"), ("path_id", "ascending")]) for table in rows)
        assert found.num_rows == len(SPAN) * 200
        assert np.array_equal(found["day_14"].to_numpy(), expected["day_14"].to_numpy())
