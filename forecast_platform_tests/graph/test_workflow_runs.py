"""Whether a run of a workflow's tasks is over: as its processes are, where they can be looked for; else by Dagster."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job

from forecast_platform.graph.workflow_runs import PROCESS_TAG, is_over, mark_process
from forecast_platform.host import process_identity


@job
def nothing() -> None:
    pass


def run_with(instance: DagsterInstance, status: DagsterRunStatus, place: str = "", process: str = "") -> str:
    """The id of a run that is marked so; unmarked without a process."""
    run = instance.create_run_for_job(nothing, status=status)
    if process:
        number = process.split(":")[1]
        instance.add_run_tags(run.run_id, {f"{PROCESS_TAG}/{number}": f"{run.run_id} {place} {process}"})
    return run.run_id


def over(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return is_over(run)


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELED])
def test_a_process_that_can_be_looked_for_says_it_alone(status: DagsterRunStatus) -> None:
    with DagsterInstance.ephemeral() as instance:
        run_id = run_with(instance, status)
        mark_process(instance, run_id)
        assert not over(instance, run_id), "it goes on, whatever an operator has marked its run as"
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        run_id = run_with(instance, status, process_identity.namespace(), process_identity.of(child.pid))
        assert not over(instance, run_id)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert over(instance, run_id), "nobody has asked how it ended yet"
        child.wait()
        assert over(instance, run_id)


def test_while_one_of_its_processes_goes_on_a_run_does() -> None:
    """As a step a process: the multiprocess executor's, in a project of one's own."""
    with DagsterInstance.ephemeral() as instance:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        run_id = run_with(
            instance, DagsterRunStatus.STARTED, process_identity.namespace(), process_identity.of(child.pid)
        )
        gone = process_identity.nobody()
        mark = f"{run_id} {process_identity.namespace()} {gone}"
        instance.add_run_tags(run_id, {f"{PROCESS_TAG}/{gone.split(':')[1]}": mark})
        assert not over(instance, run_id), "the one that began last has ended"
        child.kill()
        child.wait()
        assert over(instance, run_id)


def test_a_run_that_has_told_its_end_is_over_though_its_process_does_something_else() -> None:
    with DagsterInstance.ephemeral() as instance:
        for status in (DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS):
            run_id = run_with(instance, status)
            mark_process(instance, run_id)
            assert over(instance, run_id)


@pytest.mark.parametrize(
    ("place", "host"),
    [(process_identity.namespace(), "elsewhere"), ("pid:[1]", process_identity.nobody().split(":")[0])],
)
def test_of_another_machine_or_container_dagster_s_word_counts(place: str, host: str) -> None:
    _, pid, start = process_identity.nobody().split(":")
    with DagsterInstance.ephemeral() as instance:
        for status, ended in ((DagsterRunStatus.STARTED, False), (DagsterRunStatus.FAILURE, True)):
            assert over(instance, run_with(instance, status, place, f"{host}:{pid}:{start}")) is ended
            assert over(instance, run_with(instance, status)) is ended, "of an earlier version"


def test_a_run_that_is_tried_again_has_its_tags_from_one_whose_process_is_gone() -> None:
    with DagsterInstance.ephemeral() as instance:
        first = run_with(instance, DagsterRunStatus.FAILURE, process_identity.namespace(), process_identity.nobody())
        tags = instance.get_run_by_id(first).tags  # type: ignore[union-attr]
        again = instance.create_run_for_job(nothing, status=DagsterRunStatus.STARTED, tags=dict(tags))
        assert over(instance, first)
        assert not over(instance, again.run_id)
