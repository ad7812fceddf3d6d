"""A step that is cancelled, or whose process is killed, while its remote runs go on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forecast_platform_tests.databricks.pipes_worlds import MESSAGES, World, cluster_before_release, day, keys
from forecast_platform_tests.databricks.test_pipes_faults import ALL, beside, failed, released
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.forked import Program
from forecast_platform_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

STEP = """
import sys
from pathlib import Path
from forecast_platform_tests.databricks.pipes_worlds import World
world = World(Path(sys.argv[1]), None, sys.argv[2])
sys.exit(0 if world.forecast().success else 3)
"""
"""A Dagster process of its own."""


@contextmanager
def process(world: World) -> Iterator[Program]:
    """The same forecast in another Dagster process; ended with the block."""
    running = Program("-c", STEP, str(world.root), world.compute, env={**os.environ})
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def interrupt() -> None:
    """What Ctrl-C does to a shell's run, and the UI's cancel to a run worker."""
    os.kill(os.getpid(), signal.SIGINT)


@cluster_before_release
def test_a_cancelled_step_cancels_its_run_and_materializes_nothing(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=60))

    def cancel() -> None:
        until(lambda: any(run.state.life == "PENDING" for run in workspace.jobs.runs.values()))
        until(world.book)
        interrupt()

    with beside(cancel):
        finished = world.forecast()
    assert finished.status == "CANCELED"
    [run] = workspace.jobs.runs.values()
    assert (run.state.life, run.state.result) == ("TERMINATED", "CANCELED"), "ended before the step did"
    assert "MATERIALIZED" not in world.partitions()
    assert not world.dates()
    assert not world.book()
    world.no_secret_anywhere()


@cluster_before_release
def test_a_cancel_while_a_run_is_submitted_cancels_the_run_that_comes_of_it(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=60))
    workspace.faults.add(Fault("throttle", "*/runs/submit", retry_after=3))

    def cancel() -> None:
        until(lambda: workspace.count("POST", "runs/submit"))
        interrupt()

    with beside(cancel):
        finished = world.forecast()
    assert finished.status == "CANCELED"
    assert [run.state.result for run in workspace.jobs.runs.values()] == ["CANCELED"]
    assert "MATERIALIZED" not in world.partitions()
    assert not world.dates()
    assert not world.book()


@cluster_before_release
def test_a_cancel_between_chunks_keeps_what_is_written_and_a_rerun_records_it(
    world: World, workspace: Workspace
) -> None:
    world.options["concurrent_runs"] = 1
    for seconds in (0, 120):
        workspace.faults.add(RunFault("slow_start", seconds=seconds))
    span = ("2017-12-30", "2018-01-02")

    def cancel() -> None:
        until(lambda: len(workspace.jobs.runs) == 2)
        interrupt()

    with beside(cancel):
        finished = world.forecast(*span)
    assert finished.status == "CANCELED"
    one, two = workspace.jobs.runs.values()
    assert (one.state.result, two.state.result) == ("SUCCESS", "CANCELED")
    written = world.dates()
    assert written in (
        {day("2017-12-30"), day("2017-12-31")},
        {day("2018-01-01"), day("2018-01-02")},
    )
    assert "MATERIALIZED" not in world.partitions()
    again = world.forecast(*span)
    assert again.success
    assert len(workspace.jobs.runs) == 3
    metadata = world.metadata(again.run_id)
    assert (metadata["keys_skipped"], metadata["keys_written"]) == (2, 2)
    assert world.partitions() == {"MATERIALIZED": keys(*span)}


def test_a_run_terminated_in_the_ui_cancels_its_remote_run(world: World, workspace: Workspace, tmp_path: Path) -> None:
    from forecast_platform.host.services import free_port
    from forecast_platform_tests.ui.running import Running

    workspace.faults.add(RunFault("slow_start", seconds=300))
    environment = {
        **os.environ,
        "FORECAST_PLATFORM_CONFIG": str(world.config()),
        "FORECAST_PLATFORM_WAREHOUSE": str(world.root / "warehouse"),
        "FORECAST_PLATFORM_REPORTS_URL": f"http://127.0.0.1:{free_port()}",
        "FORECAST_PLATFORM_AUTOMATION": "false",
    }
    platform = Running.start(tmp_path, environment)
    try:
        backfill_id = platform.launch(["distributions/naive", "point_forecasts/naive"], sorted(keys()))
        [run] = until(lambda: list(workspace.jobs.runs.values()), "remote run")
        until(lambda: all(json.loads(path.read_text())["run_id"] for path in world.book()), "its id kept")
        [started] = platform.backfill(backfill_id).runs
        ended = platform.ask(
            "mutation($id: String!) { terminateRun(runId: $id, terminatePolicy: SAFE_TERMINATE) { __typename } }",
            id=started.id,
        )
        assert ended["__typename"] == "TerminateRunSuccess"
        until(lambda: run.state.result, "end of the remote run")
        until(lambda: platform.backfill(backfill_id).runs[0].status == "CANCELED", "end")
        statuses = platform.statuses("distributions/naive")
    finally:
        platform.stop()
    assert run.state.result == "CANCELED"
    assert not statuses["materialized"] & keys()
    assert not world.dates()
    world.no_secret_anywhere()


@cluster_before_release
def test_a_cancel_that_the_workspace_refuses_says_which_run_may_go_on(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=60))
    world.options["poll_seconds"] = 4
    user = workspace.tokens[workspace.token]

    def cancel() -> None:
        until(lambda: workspace.count("GET", "messages/1.json"))
        del workspace.tokens[workspace.token]
        interrupt()

    with beside(cancel):
        finished = world.forecast()
    assert finished.status == "CANCELED"
    [run] = workspace.jobs.runs.values()
    log = world.log(finished.run_id)
    assert f"run {run.run_id} may still go on" in log
    assert f"databricks cancel {run.run_id}" in log
    assert "MATERIALIZED" not in world.partitions()
    assert not world.dates()
    assert world.book(), "it is found again"
    workspace.tokens[workspace.token] = user
    run.cancelled.set()


@cluster_before_release
def test_a_cancel_during_training_ends_the_fit(world: World, workspace: Workspace) -> None:
    from forecast_platform.work.platform import VERSION_TAG

    workspace.faults.add(RunFault("slow_start", seconds=60))

    def cancel() -> None:
        until(lambda: workspace.jobs.runs)
        interrupt()

    with beside(cancel):
        finished = world.train("2018-01-01", **{VERSION_TAG: "v2"})
    assert finished.status == "CANCELED"
    [run] = workspace.jobs.runs.values()
    assert run.state.result == "CANCELED"
    assert not world.fits("naive", "v2")
    assert not world.partitions("trained_models/naive")


def killed(world: World, *, answered: bool = True) -> Path:
    """What a step leaves in the book that is killed while its run is there, or before the run's id was kept."""
    world.workspace.faults.add(RunFault("slow_start", seconds=120))
    with process(world) as running:
        until(lambda: [path for path in world.book() if json.loads(path.read_text())["run_id"]])
        running.kill()
        running.wait()
    [entry] = world.book()
    if not answered:
        # As it is when the process dies after the call and before its answer was kept.
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "run_id": None}))
    return entry


@pytest.mark.parametrize("answered", [True, False])
@cluster_before_release
def test_a_killed_step_leaves_a_run_that_the_next_step_attaches_to(
    world: World, workspace: Workspace, answered: bool
) -> None:
    killed(world, answered=answered)
    with released(world):
        finished = world.forecast()
    assert finished.success, finished.messages
    assert len(workspace.jobs.runs) == 1
    assert world.dates() == ALL
    assert world.partitions() == {"MATERIALIZED": keys()}
    log = world.log(finished.run_id)
    assert "attached to it" in log
    assert "3 written, 0 failed" in log, "the messages are read on"
    assert not world.book()
    world.no_secret_anywhere()


@pytest.mark.parametrize("answered", [True, False])
@cluster_before_release
def test_a_killed_step_whose_run_ended_meanwhile_is_recorded_without_another(
    world: World, workspace: Workspace, answered: bool
) -> None:
    killed(world, answered=answered)
    [run] = workspace.jobs.runs.values()
    assert world.forecast("2018-02-05", "2018-02-05").success
    assert not run.state.result
    assert len(world.book()) == 1, "a run that goes on stays known"
    run.hurry.set()
    until(lambda: run.state.result)
    finished = world.forecast()
    assert finished.success
    assert world.metadata(finished.run_id)["keys_skipped"] == 3
    assert world.forecast("2018-02-06", "2018-02-06").success
    assert len(workspace.jobs.runs) == 3
    assert not world.book(), "what the killed step left is removed by the next that works"
    assert not list(workspace.local(MESSAGES).iterdir())


@cluster_before_release
def test_what_a_step_left_whose_run_is_found_nowhere_is_forgotten_after_a_day(
    world: World, workspace: Workspace
) -> None:
    entry = killed(world, answered=False)
    for run in workspace.jobs.runs.values():
        run.cancelled.set()
    until(lambda: all(run.state.result for run in workspace.jobs.runs.values()))
    workspace.jobs.runs.clear()
    assert world.forecast("2018-02-05", "2018-02-05").success
    assert world.book() == [entry], "its submission may still be on its way"
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "taken": time.time() - 90_000}))
    assert world.forecast("2018-02-06", "2018-02-06").success
    assert not world.book()
    assert not list(workspace.local(MESSAGES).iterdir())


@cluster_before_release
def test_an_attached_step_that_is_cancelled_cancels_the_orphan(world: World, workspace: Workspace) -> None:
    entry = killed(world)
    [run] = workspace.jobs.runs.values()
    orphaned = json.loads(entry.read_text())["owner"]

    def cancel() -> None:
        until(lambda: json.loads(entry.read_text())["owner"] != orphaned)
        interrupt()

    with beside(cancel):
        finished = world.forecast()
    assert finished.status == "CANCELED"
    assert run.state.result == "CANCELED"
    assert len(workspace.jobs.runs) == 1
    assert "MATERIALIZED" not in world.partitions()
    assert not world.dates()
    assert not world.book()


@cluster_before_release
def test_two_steps_that_want_the_same_dates_share_one_run(world: World, workspace: Workspace) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=120))
    with process(world) as running:
        until(lambda: workspace.jobs.runs)
        with released(world):
            finished = world.forecast()
        assert running.wait(PATIENCE) == 0
    assert finished.success, finished.messages
    assert "attached to it" in world.log(finished.run_id)
    assert len(workspace.jobs.runs) == 1
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert world.dates() == ALL


@cluster_before_release
def test_a_run_that_may_have_been_left_is_kept_known_when_the_submission_is_refused(
    world: World, workspace: Workspace
) -> None:
    killed(world, answered=False)
    runs = dict(workspace.jobs.runs)
    # Its run is not found, as if it were still on its way; and then the submission that would have given it is refused.
    workspace.jobs.runs.clear()
    workspace.faults.add(Fault("error", "*/runs/submit", status=400, code="INVALID_PARAMETER_VALUE"))
    failed(world, "INVALID_PARAMETER_VALUE")
    assert len(world.book()) == 1
    workspace.jobs.runs.update(runs)
    for run in runs.values():
        run.hurry.set()
    # Were it about to end, the step could look for it too early to forget it, and too late to need it.
    until(lambda: all(run.state.result for run in runs.values()))
    finished = world.forecast()
    assert finished.success, finished.messages
    assert len(workspace.jobs.runs) == 1
    assert world.dates() == ALL
    assert world.forecast("2018-02-06", "2018-02-06").success
    assert not world.book(), "the next step that starts a run removes what is over"
