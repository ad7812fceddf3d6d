"""compute=spark on JVM Spark: the local compute's bits through either writer, and no duplicates after a kill."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_platform.ensembles.reading import read_workflow, written
from forecast_platform.ensembles.running import Run
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import assert_same_tables, needs_java
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.workflows import text_of
from forecast_platform_tests.worlds import days, settings_for

pytestmark = [needs_java, pytest.mark.slow]

FIRST, LAST = "2017-12-01", "2018-01-31"
SPAN = days(FIRST, LAST)


def run_case(root: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run jvm_case in a process whose workers find the tests' package too."""
    top = Path(__file__).resolve().parents[2]
    # A sail session of an earlier test names itself there.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    found = subprocess.run(
        [sys.executable, "-m", "forecast_platform_tests.compute.jvm_case", str(root), *arguments],
        cwd=root,
        env={**environment, "PYTHONPATH": str(top)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-4000:]
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]


def test_jvm_spark_and_local_give_the_same_bits_with_workers_writing(small: Path, tmp_path: Path) -> None:
    models = ("naive", "random_walk", "xgboost")
    here = Platform.from_settings(settings_for(small, models=models))
    train(here, "Alpha", "xgboost", [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])
    shutil.copytree(small, tmp_path / "spark")
    for model in models:
        assert forecast(here, "Alpha", model, SPAN).written == set(SPAN)
    replies = run_case(tmp_path / "spark", "local[2]", "workers", FIRST, LAST, ",".join(models))
    assert [(reply["written"], reply["failed"]) for reply in replies] == [(len(SPAN), {})] * 3
    there = Platform.from_settings(settings_for(tmp_path / "spark", models=models))
    assert_same_tables(here, there)
    # Version 0 is the table's creation; then one commit a piece of whole months.
    assert there.warehouse.version(DISTRIBUTIONS) == 2 * 3


def test_a_worker_killed_after_its_write_leaves_no_duplicates_and_the_driver_may_write(
    small: Path, tmp_path: Path
) -> None:
    shutil.copytree(small, tmp_path / "spark")
    here = Platform.from_settings(settings_for(small))
    forecast(here, "Alpha", "naive", SPAN)
    marker = tmp_path / "killed"
    [reply] = run_case(tmp_path / "spark", "local[2,4]", "workers", FIRST, LAST, "naive", str(marker))
    assert marker.exists()
    assert (reply["written"], reply["failed"]) == (len(SPAN), {})
    there = Platform.from_settings(settings_for(tmp_path / "spark"))
    assert_same_tables(here, there)
    # The killed task's commit, its successor's, and the other piece's.
    assert there.warehouse.version(DISTRIBUTIONS) == 3
    forecast(here, "Alpha", "random_walk", SPAN)
    [reply] = run_case(tmp_path / "spark", "local[2]", "driver", FIRST, LAST, "random_walk")
    assert reply["written"] == len(SPAN)
    assert_same_tables(here, Platform.from_settings(settings_for(tmp_path / "spark")))


def test_an_interrupt_is_not_taken_for_a_lost_job(small: Path, tmp_path: Path) -> None:
    # pyspark raises the cancelled job's error over the interrupt that cancelled it.
    [reply] = run_case(small, "local[2]", "interrupted", FIRST, LAST, "naive", str(tmp_path / "started"))
    assert reply == {"interrupted": True}
    assert Platform.from_settings(settings_for(small)).warehouse.rows(DISTRIBUTIONS) == 0


def test_a_plain_task_is_done_by_a_jvm_s_workers(small: Path) -> None:
    found = run_case(small, "local[2,4]", "tasks", "2018-01-01", "2018-01-02", "naive,random_walk")
    assert {one["task"] for one in found} == {"naive", "random_walk"}
    assert all(one["failed"] == {} and one["value"]["libraries"]["numpy"] for one in found)


def test_the_tasks_of_a_workflow_are_done_by_a_jvm_s_workers_to_the_bits_of_local_ones(
    small: Path, tmp_path: Path
) -> None:
    classes(120).to_parquet(tmp_path / "table.parquet")
    tasks = [{"task": "stack_top_any", "stack": {"top_n": 2}}, {"task": "vote_mix", "depends_on": ["stack_top_any"]}]
    source = {"path": str(tmp_path / "table.parquet")}
    workflow = read_workflow(text_of(*tasks, source=source, bases=["linear", "neighbours"], folds=2))
    shutil.copytree(small, tmp_path / "spark")
    (tmp_path / "spark" / "workflow.yaml").write_text(written(workflow))
    found = run_case(tmp_path / "spark", "local[2]", "workflow", FIRST, LAST, "naive")
    assert [(one["task"], one["fresh"], one["remote"], one["address"]) for one in found] == [
        ("stack_top_any", [True, False], True, ""),
        ("vote_mix", [True, False], True, ""),
    ]
    there = Run(Platform.from_settings(settings_for(tmp_path / "spark")), workflow)
    states = there.states.read()
    assert {states[name].run_id for name in there.plan.order} == {"a step"}
    here = Run(Platform.from_settings(settings_for(small)), workflow)
    for name in here.plan.order:
        own, far = here.perform(name).outcome, there.finished(name)
        assert far is not None
        np.testing.assert_array_equal(far.predicted, own.predicted)
        assert far.scores == own.scores
