"""Remote runs that take their time, are disturbed, or end from outside: what a step waits for, and what it says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform_tests.databricks.pipes_worlds import World, cluster_before_release, day, keys
from forecast_platform_tests.databricks.test_pipes_faults import ALL, beside, failed, released
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.waiting import until


@pytest.mark.slow
@cluster_before_release
def test_disturbances_are_waited_out_and_nothing_is_submitted_twice(
    world: World, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.faults.add(Fault("drop_after", "*/runs/submit"))
    workspace.faults.add(Fault("throttle", "*/runs/get", times=2, retry_after=0.1))
    workspace.faults.add(Fault("error", "*/runs/get", status=500, code="INTERNAL_ERROR", times=1, after=3))
    workspace.faults.add(Fault("error", "*/runs/get", status=502, code="BAD_GATEWAY", times=1, after=5))
    workspace.faults.add(Fault("drop", "/api/2.0/fs/*", times=1))
    workspace.faults.add(Fault("throttle", "/api/2.0/fs/*", times=2, after=3, retry_after=0.1))
    twin = world.twin(tmp_path / "twin")
    finished = world.forecast()
    assert finished.success, finished.messages
    assert len(workspace.jobs.runs) == 1
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert world.dates() == ALL
    assert twin.forecast().success
    assert (world.paths() == twin.paths()).all()
    assert not world.book()


@pytest.mark.slow
@cluster_before_release
def test_a_run_that_queues_for_long_is_said_to_with_why(world: World, workspace: Workspace) -> None:
    world.options["pending_warning_seconds"] = 0.2
    workspace.faults.add(RunFault("queued", seconds=1.5))
    finished = world.forecast()
    assert finished.success, finished.messages
    assert "chunk: QUEUED for" in world.log(finished.run_id)
    assert "maximum concurrent runs of 1" in world.log(finished.run_id)
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert world.dates() == ALL


@pytest.mark.slow
@cluster_before_release
def test_a_run_whose_cluster_starts_slowly_is_said_to_be_pending_with_why(world: World, workspace: Workspace) -> None:
    world.options["pending_warning_seconds"] = 0.2
    workspace.faults.add(RunFault("slow_start", seconds=120))
    seen: list[tuple[str, set[dt.date], str]] = []

    def look() -> None:
        until(lambda: workspace.jobs.runs)
        [run] = workspace.jobs.runs.values()
        [going] = world.launcher.instance.get_runs()
        until(lambda: "chunk: PENDING for" in world.log(going.run_id))
        seen.append((run.state.life, world.dates(), world.log(going.run_id)))
        run.hurry.set()

    with beside(look):
        finished = world.forecast()
    [(life, dates, log)] = seen
    assert (life, dates) == ("PENDING", set()), "said while it waits"
    serverless = world.compute == "databricks_serverless"
    assert ("Waiting for serverless compute" if serverless else "acquiring more instances") in log
    assert finished.success, finished.messages
    assert len(workspace.jobs.runs) == 1
    assert world.log(finished.run_id).count("chunk: PENDING for") == 1, "and said once"
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert world.dates() == ALL
    assert not world.book()


@pytest.mark.slow
@cluster_before_release
def test_a_run_that_somebody_else_cancels_fails_and_is_not_submitted_again(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=120))

    def cancel() -> None:
        until(lambda: any(run.state.life == "PENDING" for run in workspace.jobs.runs.values()))
        [run_id] = workspace.jobs.runs
        workspace.client().jobs.cancel_run(run_id)

    with beside(cancel):
        text = failed(world, "CANCELED", "to mend: it was cancelled: submit it again", f"{workspace.host}/jobs/")
    [run] = workspace.jobs.runs.values()
    assert f"Databricks run {run.run_id}" in text
    assert (run.state.life, run.state.result) == ("TERMINATED", "CANCELED")
    assert not world.book()


@pytest.mark.slow
@cluster_before_release
def test_a_run_that_takes_longer_than_allowed_fails_and_is_not_submitted_again(
    world: World, workspace: Workspace
) -> None:
    world.options["timeout_seconds"] = 600
    # The settings allow no limit that a test would wait for.
    workspace.faults.add(RunFault("timeout", seconds=0.2))
    text = failed(world, "TIMEDOUT", "raise databricks.timeout_seconds", f"{workspace.host}/jobs/")
    [run] = workspace.jobs.runs.values()
    assert f"Databricks run {run.run_id}" in text
    assert (run.state.life, run.state.result) == ("TERMINATED", "TIMEDOUT")
    assert run.tasks[0].spec["timeout_seconds"] == 600, "what the mend names is the run's limit"
    assert not world.book()


@pytest.mark.slow
def test_what_tells_why_a_run_failed_may_itself_be_refused(world: World, workspace: Workspace) -> None:
    world.compute = "databricks_classic"
    workspace.faults.add(RunFault("task"))
    for path in ("*/runs/get-output", "*/clusters/get", "*/runs/list"):
        workspace.faults.add(Fault("error", path, times=99, status=403, code="PERMISSION_DENIED", message="not yours"))
    text = failed(world, "Workload failed", "reading the output of task chunk", f"{workspace.host}/jobs/")
    assert "may still go on" not in text


@pytest.mark.slow
@cluster_before_release
def test_a_token_that_expires_fails_the_step_and_a_rerun_finds_the_run(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=120))
    user = workspace.tokens[workspace.token]

    def expire() -> None:
        until(lambda: any(run.state.life == "PENDING" for run in workspace.jobs.runs.values()))
        del workspace.tokens[workspace.token]

    with beside(expire):
        failed(
            world,
            "the token is wrong or has expired",
            "may still go on",
            "end it with `forecast-platform databricks cancel",
        )
    workspace.tokens[workspace.token] = user
    with released(world):
        finished = world.forecast()
    assert finished.success, finished.messages
    assert len(workspace.jobs.runs) == 1, "attached, not started again"
    assert "attached to it" in world.log(finished.run_id)
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert world.dates() == ALL
    assert not world.book()


@pytest.mark.slow
@cluster_before_release
def test_an_outage_is_waited_for_as_long_as_the_settings_say(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=120))
    world.options["outage_seconds"] = 0
    away = Fault("error", "*/runs/get", status=500, code="INTERNAL_ERROR", times=5, after=2)
    workspace.faults.add(away)
    failed(world, "after 5 tries", "may still go on")
    workspace.faults.clear()
    with released(world):
        assert world.forecast().success
    assert len(workspace.jobs.runs) == 1
    world.options["outage_seconds"] = 60
    workspace.faults.add(Fault("error", "*/runs/get", status=500, code="INTERNAL_ERROR", times=5, after=2))
    later = world.forecast("2018-02-05", "2018-02-05")
    assert later.success, later.messages
    assert "tried again" in world.log(later.run_id)
    assert world.partitions() == {"MATERIALIZED": keys() | keys("2018-02-05", "2018-02-05")}
    assert world.dates() == {*ALL, day("2018-02-05")}


@pytest.mark.slow
@cluster_before_release
def test_a_run_that_the_workspace_forgot_fails_and_a_rerun_starts_one(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=30))
    workspace.faults.add(RunFault("forgotten", seconds=0.5))
    failed(world, "does not exist")
    for run in workspace.jobs.runs.values():
        run.cancelled.set()
    workspace.faults.clear()
    assert world.forecast().success
    assert len(workspace.jobs.runs) == 2
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert world.dates() == ALL
