"""A workflow of every task type whose process is killed in the middle of each task, one after the other."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from dagster import DagsterRunStatus

from forecast_platform.ensembles.grammar import TASK_TYPES
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import MODEL
from forecast_platform.ensembles.store import FAILED, FINISHED, RUNNING, States
from forecast_platform.runs.launch import Launcher
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.test_run import text_at, world
from forecast_platform_tests.forked import Command, Program
from forecast_platform_tests.waiting import PATIENCE, until

PROGRAM = """
import sys
import time
from pathlib import Path
from forecast_platform.ensembles import finishing, running
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.settings import load
from forecast_platform.work.platform import Platform

held, marker = sys.argv[2], Path(sys.argv[3])

def holding(real, name_of):
    def work(*arguments):
        made = real(*arguments)
        if name_of(arguments) == held:
            marker.touch()  # what it made is in memory and in part on disk, and nothing says that it has ended
            time.sleep(600)
        return made
    return work

running.perform = holding(running.perform, lambda arguments: arguments[3])
finishing.write_report = holding(finishing.write_report, lambda _: running.MODEL)
run = running.Run(Platform.from_settings(load()), read_workflow(Path(sys.argv[1]).read_text()))
for name in run.plan.order:
    run.perform(name)
finishing.finish(run)
"""


TASKS = (
    {"task": "route_cluster", "route": {"cluster": {"kmeans": {"n_clusters": 2}}}},
    {"task": "stack_top_any", "stack": {"top_n": 2}, "depends_on": ["route_cluster"]},
    {"task": "route_feature", "route": {"feature": "kind"}},
    {"task": "boost", "boost": {"method": "xgboost"}, "depends_on": ["route_feature"]},
    {"task": "route_external", "route": {"partition": "random", "parts": 2}},
    {"task": "vote_mix", "depends_on": ["route_external"]},
    {"task": "stack_top_alg", "stack": {"top_alg": 2}},
    {"task": "stack_top_n_alg", "stack": {"top_n_alg": 1, "levels": 2}},
    {"task": "stack_blend", "stack": {"holdout": 0.4}},
    {"task": "stack_classwise"},
    {"task": "vote_top_alg", "depends_on": ["stack_top_alg"]},
    {"task": "vote_weight", "depends_on": ["stack_top_alg"]},
)


def test_every_task_type_is_here() -> None:
    assert sorted(one["task"] for one in TASKS) == sorted(TASK_TYPES)


@pytest.mark.slow
def test_killed_in_the_middle_of_each_task_it_completes_and_no_finished_task_is_begun_again(tmp_path: Path) -> None:
    settings = world(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(text_at(tmp_path, *TASKS, bases=["linear", "neighbours"], folds=2))
    workflow = read_workflow(file.read_text())
    states = States(Platform.from_settings(settings).warehouse, workflow.context)
    environment = {**os.environ, "FORECAST_PLATFORM_WAREHOUSE": str(settings.warehouse), "OMP_NUM_THREADS": "1"}
    environment["FORECAST_PLATFORM_WORKERS"] = "1"
    order = [*plan_of(workflow).order, MODEL]
    for name in order:
        marker = tmp_path / f"in {name}"
        process = Program("-c", PROGRAM, str(file), name, str(marker), env=environment)
        end = time.monotonic() + 120
        while not marker.exists():
            assert process.poll() is None, process.told()
            assert time.monotonic() < end
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert states.read()[name].state == RUNNING, "nobody was left to say how it ended"
    done = Program("-c", PROGRAM, str(file), "", str(tmp_path / "in none"), env=environment)
    told = done.told(PATIENCE)
    assert done.returncode == 0, told
    found = states.read()
    assert {one.state for one in found.values()} == {FINISHED}
    assert {name: one.attempts for name, one in found.items()} == dict.fromkeys(order, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "kept", "told"),
    [
        pytest.param(signal.SIGKILL, -signal.SIGKILL, RUNNING, "interrupted", id="nobody is left to say how it ended"),
        pytest.param(signal.SIGTERM, 130, FAILED, FAILED, id="terminated"),
    ],
)
def test_a_task_whose_command_was_ended_is_told_so_until_the_next_one_goes_on(
    tmp_path: Path, number: int, code: int, kept: str, told: str
) -> None:
    settings = world(tmp_path)
    classes(n=20_000).to_parquet(tmp_path / "table.parquet")
    file = tmp_path / "small.yaml"
    file.write_text(text_at(tmp_path, {"task": "boost"}, {"task": "vote_weight"}, bases=["linear"], folds=2))
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("FORECAST_PLATFORM_", "DAGSTER_"))}
    environment = {**clean, "FORECAST_PLATFORM_WAREHOUSE": str(settings.warehouse), "FORECAST_PLATFORM_WORKERS": "1"}

    def shown() -> tuple[int | None, dict[str, str]]:
        command = Command("ensemble", "status", str(file), env=environment)
        lines = command.told(PATIENCE).splitlines()
        return command.returncode, {line.split()[0]: " ".join(line.split()[1:2]) for line in lines if "tries" in line}

    states = States(Platform.from_settings(settings).warehouse, read_workflow(file.read_text()).context)
    running = Command("ensemble", "run", str(file), env=environment)
    until(lambda: "boost" in states.read(), "the first task", pause=0.01)
    assert shown() == (1, {"boost": "running", "vote_weight": "waiting", "model": "waiting"})
    assert running.poll() is None, "the task was over before it was looked at"
    running.send_signal(number)
    assert running.wait(PATIENCE) == code
    assert states.read()["boost"].state == kept
    assert shown() == (1, {"boost": told, "vote_weight": "waiting", "model": "waiting"})
    [run] = Launcher(settings).instance.get_runs()
    assert run.status == (DagsterRunStatus.CANCELED if code > 0 else DagsterRunStatus.STARTED)
    again = Command("ensemble", "run", str(file), env=environment)
    said = again.told(PATIENCE)
    assert again.returncode == 0, said
    assert shown() == (0, dict.fromkeys(("boost", "vote_weight", "model"), FINISHED))
    assert states.read()["boost"].attempts == 2
