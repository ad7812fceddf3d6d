"""Training with compute=spark: the local fits to the bit on either engine, and one fit's trouble is its own."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.clients.spark import session_for
from forecast_platform.clients.spark_session import SparkUnavailableError
from forecast_platform.compute import spark_fits
from forecast_platform.compute.spark import SparkCompute
from forecast_platform.models import registry
from forecast_platform.models.tags import ModelTags
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work.fitting import Fit, FitTask, fit
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import (
    fit_fails_once,
    fit_takes_seconds,
    interrupt_after,
    needs_java,
    needs_sail,
    task_for,
)
from forecast_platform_tests.compute.test_spark_jvm import run_case
from forecast_platform_tests.worlds import settings_for

WINDOWS = [dt.date(2017, 7, 1), dt.date(2018, 1, 1)]
EQUAL = ("fitted_model_json", "model_id", "parameters", "training_samples", "model_size_bytes", "data_version")


def on_sail(root: Path, **changes: Any) -> Platform:
    settings = settings_for(root, compute="spark", spark={"master": "sail"}, **changes)
    return Platform.from_settings(settings)


def kept(platform: Platform, model: str, version: str) -> dict[dt.date, dict[str, Any]]:
    where = {"commodity": "Alpha", "model_name": model, "model_version": version}
    rows = platform.warehouse.read(TRAINED_MODELS, where=where).to_pylist()
    return {row["training_cutoff_date"]: row for row in rows if row["is_active"]}


def assert_same_models(here: Platform, there: Platform, model: str, version: str) -> None:
    expected, found = kept(here, model, version), kept(there, model, version)
    assert len(expected) == len(WINDOWS)
    assert found.keys() == expected.keys()
    for day, row in expected.items():
        assert [found[day][name] for name in EQUAL] == [row[name] for name in EQUAL]
        assert found[day]["mlflow_run_id"]


@pytest.mark.slow
@needs_sail
def test_workers_fit_the_local_models_to_the_bit_and_a_rerun_fits_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small, tmp_path / "spark")
    here, there = Platform.from_settings(settings_for(small)), on_sail(tmp_path / "spark")
    for model in ("naive", "random_walk"):
        assert train(here, "Alpha", model, WINDOWS, version="v2").written == set(WINDOWS)
        assert train(there, "Alpha", model, WINDOWS, version="v2").written == set(WINDOWS)
        assert_same_models(here, there, model, "v2")
    monkeypatch.setattr(SparkCompute, "fits", lambda *_: pytest.fail("nothing is left to fit") if _[2] else iter(()))
    assert train(there, "Alpha", "naive", WINDOWS, version="v2").skipped == set(WINDOWS)


@needs_sail
def test_a_lost_fit_is_done_again(small: Path, tmp_path: Path) -> None:
    platform = on_sail(small)
    tasks = [task_for(platform, "Alpha", "naive", start) for start in WINDOWS]
    done = list(SparkCompute(fitter=partial(fit_fails_once, tmp_path / "failed")).fits(platform, tasks))
    assert (tmp_path / "failed").exists()
    assert {one.task.window_start: one.text for one in done} == {task.window_start: fit(task).text for task in tasks}


@needs_sail
def test_one_windows_error_is_its_own_and_said_as_locally(small: Path) -> None:
    platform = on_sail(small, start_date=dt.date(2014, 1, 1))
    outcome = train(platform, "Alpha", "naive", [dt.date(2014, 7, 1), *WINDOWS], version="v2", overwrite=True)
    local = Platform.from_settings(settings_for(small, start_date=dt.date(2014, 1, 1)))
    assert outcome.written == set(WINDOWS)
    assert outcome.failed == train(local, "Alpha", "naive", [dt.date(2014, 7, 1)], version="v3").failed
    assert len(outcome.failed) == 1


@pytest.mark.slow
@needs_sail
def test_a_fit_that_is_lost_every_time_fails_its_window_alone(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second_is_lost(task: FitTask) -> Fit:
        if task.window_start == WINDOWS[1]:
            raise OSError("no such machine")
        return fit(task)

    platform = on_sail(small)
    # A slow model's fits are jobs of their own.
    monkeypatch.setattr(type(registry.get("naive")), "tags", ModelTags(slow_fit=True))
    tasks = [task_for(platform, "Alpha", "naive", start) for start in WINDOWS]
    done = {one.task.window_start: one for one in SparkCompute(fitter=second_is_lost).fits(platform, tasks)}
    assert done[WINDOWS[0]].error is None
    assert done[WINDOWS[0]].text == fit(tasks[0]).text
    assert "no such machine" in str(done[WINDOWS[1]].error)


@needs_sail
def test_a_session_that_is_lost_between_fits_is_made_anew(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = on_sail(small)
    monkeypatch.setattr(type(registry.get("naive")), "tags", ModelTags(slow_fit=True))
    tasks = [task_for(platform, "Alpha", "naive", start) for start in WINDOWS]
    lost = session_for(platform.settings)
    jobs = spark_fits._job

    def lose_it(session: Any, *arguments: Any) -> list[Fit]:
        if session is lost:
            session.client._channel.close()
        return jobs(session, *arguments)

    monkeypatch.setattr(spark_fits, "_job", lose_it)
    done = list(SparkCompute().fits(platform, tasks))
    assert {one.task.window_start: one.text for one in done} == {task.window_start: fit(task).text for task in tasks}
    assert session_for(platform.settings) is not lost


@pytest.mark.slow
@needs_sail
def test_an_interrupt_while_a_session_is_waited_for_starts_no_fit(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = on_sail(small)
    monkeypatch.setattr(type(registry.get("naive")), "tags", ModelTags(slow_fit=True))
    tasks = [task_for(platform, "Alpha", "naive", start) for start in WINDOWS]
    monkeypatch.setattr(spark_fits, "_job", lambda *_: pytest.fail("a fit was sent"))
    asked: list[str] = []

    def slowly() -> Any:
        asked.append("a session")
        (tmp_path / "waiting").touch()
        time.sleep(2)
        return session_for(platform.settings)

    with interrupt_after(tmp_path / "waiting"), pytest.raises(KeyboardInterrupt):
        list(spark_fits.spark_fits(slowly, tasks, 4, 3))
    time.sleep(2.5)
    assert asked == ["a session"], "threads take turns, and the second one asks for nothing any more"


@needs_sail
def test_training_ends_at_once_where_no_session_can_be_had(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = on_sail(small)
    asked: list[str] = []

    def gone(session: Any, *arguments: Any) -> list[Fit]:
        asked.append("a job")
        monkeypatch.setattr(platform, "spark", Lost())
        raise OSError("the server went away")

    monkeypatch.setattr(spark_fits, "_job", gone)
    with pytest.raises(SparkUnavailableError, match="no session"):
        train(platform, "Alpha", "naive", WINDOWS, version="v2")
    assert asked == ["a job"]


class Lost:
    """A resource whose server is gone."""

    @property
    def spark_session(self) -> Any:
        """Refuses."""
        raise SparkUnavailableError("no session on sc://gone:15002")


@pytest.mark.slow
@needs_sail
def test_an_interrupt_ends_training_and_no_fit_is_sent_again(small: Path, tmp_path: Path) -> None:
    platform = on_sail(small)
    tasks = [task_for(platform, "Alpha", "naive", start) for start in WINDOWS]
    marker = tmp_path / "started"
    started = time.monotonic()
    with interrupt_after(marker), pytest.raises(KeyboardInterrupt):
        list(SparkCompute(fitter=partial(fit_takes_seconds, marker)).fits(platform, tasks))
    assert time.monotonic() - started < 30
    time.sleep(1)
    assert marker.read_text().count("started") <= len(tasks)


@needs_java
@pytest.mark.slow
def test_jvm_workers_fit_the_local_models_to_the_bit_though_one_is_killed(small: Path, tmp_path: Path) -> None:
    models = ("naive", "random_walk", "xgboost")
    here = Platform.from_settings(settings_for(small, models=models))
    spans = [str(start) for start in WINDOWS]
    marker = tmp_path / "killed"
    replies = run_case(small, "local[2,4]", "fits", *spans, ",".join(models), str(marker))
    assert marker.exists()
    for model, reply in zip(models, replies, strict=True):
        expected = {str(start): fit(task_for(here, "Alpha", model, start)) for start in WINDOWS}
        assert reply["fits"] == {start: [one.text, one.metrics, None] for start, one in expected.items()}
