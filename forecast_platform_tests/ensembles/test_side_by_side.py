"""One workflow by several runs at once: each task and the model are made by one of them, and found by the others."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import Timeout

from forecast_platform.ensembles import finishing, running
from forecast_platform.ensembles.store import FINISHED, FileStore
from forecast_platform_tests.ensembles.test_run import Run, run_of, world
from forecast_platform_tests.waiting import PATIENCE

TASKS = ({"task": "vote_mix"}, {"task": "stack_top_any", "stack": {"top_n": 1}, "depends_on": ["vote_mix"]})


def test_a_run_that_meets_another_at_a_task_waits_and_finds_it_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world(tmp_path)
    first, second = (run_of(tmp_path, settings, *TASKS, bases=["linear"], folds=2) for _ in range(2))
    begun, go_on, real = threading.Event(), threading.Event(), running.perform

    def holding(*arguments):
        begun.set()
        assert go_on.wait(PATIENCE)
        return real(*arguments)

    monkeypatch.setattr(running, "perform", holding)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.perform, "vote_mix")
        assert begun.wait(PATIENCE)
        other = pool.submit(second.perform, "vote_mix")
        threading.Timer(0.3, go_on.set).start()
        assert [one.result().fresh, other.result().fresh] == [True, False]
    assert first.states.read()["vote_mix"].attempts == 1


def test_two_runs_of_one_workflow_at_once_both_end_with_its_model(tmp_path: Path) -> None:
    settings = world(tmp_path)
    runs = [run_of(tmp_path, settings, *TASKS, bases=["linear"], folds=2) for _ in range(2)]
    together = threading.Barrier(2)

    def whole(run: Run) -> tuple[list[bool], finishing.Result]:
        together.wait(PATIENCE)
        return [run.perform(name).fresh for name in run.plan.order], finishing.finish(run)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(whole, runs))
    assert [sorted(pair) for pair in zip(*(fresh for fresh, _ in found), strict=True)] == [[False, True]] * 2
    assert sorted(result.fresh for _, result in found) == [False, True]
    assert found[0][1].mlflow_run_id == found[1][1].mlflow_run_id
    assert {(one.state, one.attempts) for one in runs[0].states.read().values()} == {(FINISHED, 1)}


def test_a_service_that_has_temporary_files_of_its_own_and_a_shell_exclude_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the units in deploy/systemd, by PrivateTmp."""
    settings, locks = world(tmp_path), []
    for place in ("of the service", "of the shell"):
        (tmp_path / place).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / place))
        locks.append(FileStore(settings, "small").lock("tasks/a"))
    with locks[0], pytest.raises(Timeout):
        locks[1].acquire(timeout=0)
    with locks[1]:
        pass
    assert FileStore(settings, "small").get("tasks/a") is None


def test_locks_of_one_user_of_the_machine_are_not_in_another_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = world(tmp_path).model_copy(update={"tables": "unity_catalog"})  # whose volume has no locks
    for user in (1000, 1001):
        monkeypatch.setattr("os.getuid", lambda user=user: user)
        with FileStore(settings, "small").lock("a"):
            pass
    folders = [path for path in tmp_path.iterdir() if "locks" in path.name]
    assert len(folders) == 2, "what one user has made in /tmp, another may not write to"


def test_the_model_step_says_what_it_does(tmp_path: Path) -> None:
    run = run_of(tmp_path, world(tmp_path), TASKS[0], bases=["linear"], folds=2)
    run.perform("vote_mix")
    told: list[tuple[int, int, str]] = []
    finishing.finish(run, lambda *one: told.append(one))
    assert [done for done, _, _ in told] == [0, 1, 2, 3]
    assert [what for _, _, what in told][:3] == ["the model", "the report", "MLflow's record"]
