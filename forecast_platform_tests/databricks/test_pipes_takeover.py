"""Steps that take over what another has left, or share it, at each point where a process may stop."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from dagster import DagsterInstance, asset, build_asset_context, materialize
from dagster_pipes import encode_param

from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.clients.databricks.deploy import deployment
from forecast_platform.clients.databricks.submit import launch, wheel_task
from forecast_platform.compute.databricks.fleet import Fleet, WorkedTask
from forecast_platform.compute.databricks.pipes import PipesRun
from forecast_platform.compute.databricks.run_ledger import LedgerEntry, RunLedger
from forecast_platform.graph.pipes_step import DagsterStep
from forecast_platform.host import process_identity
from forecast_platform.work.tasks import CONTEXT, TaskRequest, context_of, context_path
from forecast_platform_tests.databricks.pipes_worlds import FIRST, LAST, MESSAGES, World
from forecast_platform_tests.databricks.test_pipes_faults import beside
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.databricks_workspace.faults import ApiError
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import days

pytestmark = pytest.mark.slow

WANTED = TaskRequest.of_dates("chunk", "Alpha", "naive", "v1.0", tuple(days(FIRST, LAST)))


@dataclass
class Left:
    """An entry that a killed step has left, and its run, which goes on for a minute."""

    book: RunLedger
    entry: LedgerEntry
    run_id: int
    taken: PipesRun
    """The run in the step that takes it over."""


@pytest.fixture
def left(world: World, workspace: Workspace) -> Left:
    connection = Connection(world.settings.databricks)
    book = RunLedger(world.root / "runs")
    made, _ = book.claim(connection.host, MESSAGES, WANTED, {})
    context = encode_param({"path": context_path(made.folder), "of another": "version of Pipes"})
    workspace.faults.add(RunFault("slow_start", seconds=60))
    deployed = deployment(connection)
    task = wheel_task(connection.options, deployed, "chunk", {CONTEXT: context}, serverless=True)
    run_id = launch(connection, deployed, "left", [task], made.token, serverless=True)
    orphan = replace(made, owner=made.owner.replace(f":{os.getpid()}:", ":4194305:"), run_id=run_id, asked=1)
    book.keep(orphan)
    return Left(book, orphan, run_id, PipesRun(connection, deployed, book, orphan, DagsterStep(build_asset_context())))


def test_a_run_whose_taking_over_was_interrupted_is_cancelled(workspace: Workspace, left: Left) -> None:
    left.book.adopt(left.entry)  # and no further
    left.taken.ask_to_cancel()
    left.taken.wait_for_end()
    assert workspace.jobs.runs[left.run_id].state.result == "CANCELED"
    assert not list(left.book.folder.glob("*.json"))


def test_a_run_whose_id_was_not_kept_is_found_and_cancelled(workspace: Workspace, left: Left) -> None:
    left.book.keep(replace(left.entry, run_id=None))
    left.taken.entry = replace(left.entry, run_id=None)
    assert left.taken.adopt()
    left.taken.ask_to_cancel()
    [kept] = left.book.folder.glob("*.json")
    assert json.loads(kept.read_text())["run_id"] == left.run_id, "not looked for again by whoever comes next"
    left.taken.wait_for_end()
    assert workspace.jobs.runs[left.run_id].state.result == "CANCELED"
    assert not list(left.book.folder.glob("*.json"))


def test_a_run_that_is_not_found_stays_known(workspace: Workspace, left: Left) -> None:
    workspace.jobs.runs.clear()
    left.book.keep(replace(left.entry, run_id=None))
    left.taken.entry = replace(left.entry, run_id=None)
    assert left.taken.adopt()
    left.taken.ask_to_cancel()
    left.taken.wait_for_end()
    assert list(left.book.folder.glob("*.json")), "it may still be on its way"


def test_a_job_of_somebody_else_is_not_taken_for_a_run_of_ours() -> None:
    ours = encode_param({"path": "/Volumes/a/b/c/context.json"})
    assert context_of({CONTEXT: ours}) == "/Volumes/a/b/c/context.json"
    for theirs in ("", "plain", encode_param(["path"]), encode_param({"other": 1}), ours[:20]):
        assert context_of({CONTEXT: theirs}) is None
    assert context_of({}) is None


@dataclass
class Steps:
    """What the steps of one platform share; each of `runs` is slow to start."""

    connection: Connection
    book: RunLedger
    workspace: Workspace

    def fleet(self, step: Any) -> Fleet:
        """A step's runs, whose keys no table ever holds."""
        deployed = deployment(self.connection)
        return Fleet(self.connection, deployed, self.book, DagsterStep(step), lambda days: {}, serverless=True)

    def run(self, entry: LedgerEntry, step: Any, *, new: bool = False) -> PipesRun:
        return PipesRun(self.connection, deployment(self.connection), self.book, entry, DagsterStep(step), new=new)

    def sharing(self, step: Any) -> tuple[PipesRun, PipesRun]:
        """The run of a new entry in the step that made it, and in another that is about to submit it as well."""
        entry, new = self.book.claim(self.connection.host, MESSAGES, WANTED, {})
        mine, other = self.run(entry, step, new=new), self.run(entry, step)
        assert other.adopt()
        assert not other.over()
        return mine, other

    @property
    def entries(self) -> list[LedgerEntry]:
        return list(self.book._entries())

    @property
    def kept(self) -> list[int | None]:
        """The run ids of the book."""
        return [entry.run_id for entry in self.entries]

    @property
    def runs(self) -> list[Any]:
        return list(self.workspace.jobs.runs.values())

    @property
    def folders(self) -> list[str]:
        """Folders of messages."""
        return [path.name for path in self.workspace.local(MESSAGES).iterdir()]


@pytest.fixture
def steps(world: World, workspace: Workspace) -> Steps:
    world.options["poll_seconds"] = 0.05
    workspace.faults.add(RunFault("slow_start", seconds=60, times=9))
    connection = Connection(world.settings.databricks, pause=0.01)
    workspace.local(MESSAGES).mkdir(parents=True, exist_ok=True)
    return Steps(connection, RunLedger(world.root / "runs"), workspace)


def in_step(work: Callable[[Any], None]) -> str:
    """Do something in a Dagster step; returns what the run's events say."""

    failed: list[AssertionError] = []

    @asset
    def thing(context):  # type: ignore[no-untyped-def]
        try:
            work(context)
        except AssertionError as error:
            failed.append(error)

    instance = DagsterInstance.ephemeral()
    with suppress(KeyboardInterrupt):
        materialize([thing], raise_on_error=False, instance=instance)
    if failed:
        raise failed[0]
    [run] = instance.get_runs()
    return "\n".join(f"{entry.user_message} {entry.dagster_event}" for entry in instance.all_logs(run.run_id))


def drained(fleet: Fleet, *requests: TaskRequest) -> list[WorkedTask]:
    return list(fleet.work(requests))


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_the_submitting_thread_starts_leaves_no_run_that_nobody_knows(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name != "submit":
            start(thread)
            return
        if begun:
            start(thread)
            until(lambda: steps.runs)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    in_step(lambda step: drained(steps.fleet(step), WANTED))
    monkeypatch.undo()
    assert [run.state.result for run in steps.runs] == ["CANCELED"] * begun
    assert not steps.kept
    assert not steps.folders


def test_a_step_that_gives_up_leaves_an_entry_that_another_has_submitted(steps: Steps) -> None:
    def work(step: Any) -> None:
        mine, other = steps.sharing(step)
        assert other.start(serverless=True)
        mine.ask_to_cancel()
        mine.wait_for_end()
        assert steps.kept == [other.run_id]
        assert not steps.book.claim(steps.connection.host, MESSAGES, WANTED, {})[1]

    in_step(work)
    assert len(steps.runs) == 1
    assert len(steps.folders) == 1


def test_a_step_does_not_submit_an_entry_that_another_has_given_up(steps: Steps) -> None:
    seen = []

    def work(step: Any) -> None:
        mine, other = steps.sharing(step)
        assert mine.give_up()
        seen.append(other.start(serverless=True))

    in_step(work)
    assert seen == [False]
    assert not steps.runs


def test_a_refusal_after_a_submission_that_may_have_been_carried_out_forgets_nothing(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, calls = steps.workspace.jobs.start, []

    def start(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            begin(*given)
            raise ApiError(504, "DEADLINE_EXCEEDED", "late")
        raise ApiError(403, "PERMISSION_DENIED", "Invalid access token.")

    monkeypatch.setattr(steps.workspace.jobs, "start", start)
    in_step(lambda step: drained(steps.fleet(step), WANTED))
    assert len(calls) == 2
    assert steps.kept == [None]
    monkeypatch.undo()

    def again(step: Any) -> None:
        fleet = steps.fleet(step)
        for _ in fleet.work([WANTED]):
            pass

    def cancel() -> None:
        until(lambda: [entry.owner for entry in steps.entries] == [process_identity.this_process()])
        os.kill(os.getpid(), signal.SIGINT)

    with beside(cancel):
        in_step(again)
    assert [run.state.result for run in steps.runs] == ["CANCELED"]
    assert not steps.kept


def test_a_submission_that_is_plainly_refused_leaves_nothing(steps: Steps) -> None:
    steps.workspace.faults.add(Fault("error", "*/runs/submit", status=400, code="INVALID_PARAMETER_VALUE"))
    seen: list[WorkedTask] = []
    in_step(lambda step: seen.extend(drained(steps.fleet(step), WANTED)))
    [job] = seen
    [reason] = set(job.result.failed.values())
    assert "INVALID_PARAMETER_VALUE" in reason
    assert "may go on" not in reason
    assert not steps.kept
    assert not steps.folders
    assert not steps.runs


def test_a_submission_whose_answer_is_lost_is_said_to_go_on_maybe(steps: Steps) -> None:
    steps.workspace.faults.add(Fault("error", "*/runs/submit", status=504, code="DEADLINE_EXCEEDED", times=5))
    seen: list[WorkedTask] = []
    in_step(lambda step: seen.extend(drained(steps.fleet(step), WANTED)))
    [job] = seen
    [reason] = set(job.result.failed.values())
    assert "a run of this may go on: run this again to attach to it" in reason
    assert steps.kept == [None]


def test_a_run_that_its_step_no_longer_watches_is_cancelled_by_the_one_that_attached_to_it(steps: Steps) -> None:
    def work(step: Any) -> None:
        entry, new = steps.book.claim(steps.connection.host, MESSAGES, WANTED, {})
        mine = steps.run(entry, step, new=new)
        assert mine.start(serverless=True)
        mine.leave()
        entry, new = steps.book.claim(steps.connection.host, MESSAGES, WANTED, {})
        assert not new
        other = steps.run(entry, step)
        assert other.adopt()
        assert other.start(serverless=True)
        other.ask_to_cancel()
        other.wait_for_end()

    in_step(work)
    assert [run.state.result for run in steps.runs] == ["CANCELED"]
    assert not steps.kept
    assert not steps.folders


def test_a_run_of_another_host_that_is_over_is_forgotten_with_its_messages(steps: Steps) -> None:
    entry, _ = steps.book.claim(steps.connection.host, MESSAGES, WANTED, {})
    elsewhere = replace(entry, owner="another-machine:1:1", run_id=4711, asked=1)
    steps.book.keep(elsewhere)
    steps.workspace.local(f"{entry.folder}/messages").mkdir(parents=True)
    steps.workspace.faults.clear()
    in_step(lambda step: drained(steps.fleet(step), WANTED))
    assert not steps.kept
    assert not steps.folders


def test_a_book_that_cannot_be_written_leaves_no_run_going(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, calls = RunLedger.submitted, []

    def full(book: RunLedger, entry: LedgerEntry, run_id: int) -> None:
        calls.append(run_id)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        keep(book, entry, run_id)

    monkeypatch.setattr(RunLedger, "submitted", full)
    told = in_step(
        lambda step: drained(steps.fleet(step), WANTED, replace(WANTED, subject=("Alpha", "random_walk", "v1.0")))
    )
    assert "No space left on device" in told
    assert [run.state.result for run in steps.runs] == ["CANCELED", "CANCELED"]


def test_a_cancel_that_the_workspace_fails_to_take_is_asked_for_again(steps: Steps) -> None:
    def cancel() -> None:
        until(lambda: len(steps.runs) == 2 and None not in steps.kept)
        steps.workspace.faults.add(Fault("error", "*/runs/cancel", times=7, status=500, code="INTERNAL_ERROR"))
        os.kill(os.getpid(), signal.SIGINT)

    with beside(cancel):
        in_step(
            lambda step: drained(steps.fleet(step), WANTED, replace(WANTED, subject=("Alpha", "random_walk", "v1.0")))
        )
    assert [run.state.result for run in steps.runs] == ["CANCELED", "CANCELED"]
    assert not steps.kept


def test_messages_that_cannot_be_read_do_not_end_the_watch(world: World, workspace: Workspace) -> None:
    workspace.faults.add(
        Fault("error", "*/messages/*", "GET", times=99, status=403, code="PERMISSION_DENIED", message="READ VOLUME")
    )
    finished = world.forecast()
    assert finished.success, finished.messages
    log = world.log(finished.run_id)
    assert log.count("READ VOLUME") == 1
    assert "its own page" in log
    assert world.dates() == set(WANTED.dates)
