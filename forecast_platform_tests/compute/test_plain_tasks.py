"""The task port: a task of a plain kind gives the same on every compute, and its failure is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from forecast_platform.compute import engine_for
from forecast_platform.compute.local import LocalCompute
from forecast_platform.work import tasks
from forecast_platform.work.platform import Platform
from forecast_platform.work.tasks import TaskRequest, TaskResult, UnknownKindError, work_of
from forecast_platform_tests.compute.engines import needs_sail
from forecast_platform_tests.compute.plain_kinds import double, register_all
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import settings_for

MASTERS = {"local": None, "sail": "sail"}


@pytest.fixture(autouse=True)
def _kinds() -> Iterator[None]:
    known = dict(tasks.PLAIN)
    register_all()
    yield
    tasks.PLAIN.clear()
    tasks.PLAIN.update(known)


@pytest.fixture(
    params=[
        "local",
        pytest.param("sail", marks=needs_sail),
    ]
)
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Platform:
    (tmp_path / "landing" / "market").mkdir(parents=True)
    (tmp_path / "landing" / "market" / "alpha.csv").write_text("date,close\n2018-01-02,1\n")
    master = MASTERS[request.param]
    spark = {} if master is None else {"compute": "spark", "spark": {"master": master, "cores": 2}}
    return Platform.from_settings(settings_for(tmp_path, workers=2, **spark))


def performed(platform: Platform, *requests: TaskRequest) -> dict[str, TaskResult]:
    results = list(engine_for(platform.settings).perform(platform, requests))
    assert len(results) == len(requests)
    return {result.request.keys[0]: result for result in results}


@pytest.mark.slow
def test_a_task_gives_its_value_and_a_refused_one_its_reason_and_neither_touches_the_other(platform: Platform) -> None:
    asked = [TaskRequest.plain("double", f"task {value}", {"value": value}) for value in range(3)]
    found = performed(platform, *asked, TaskRequest.plain("refuse", "bad", {"value": "gold"}))
    assert [found[f"task {value}"].value["value"] for value in range(3)] == [0, 2, 4]
    assert all(found[one.keys[0]].written == set(one.keys) for one in asked)
    assert found["task 0"].value["pair"] == [1, 2], "a value is JSON wherever it was made"
    assert found["bad"].failed == {"bad": "ValueError: gold is refused"}
    assert (found["bad"].written, found["bad"].value) == (set(), None)


def test_a_value_that_is_no_json_fails_its_task(platform: Platform) -> None:
    [result] = performed(platform, TaskRequest.plain("no_json", "bad", {})).values()
    assert "not JSON compliant" in result.failed["bad"]


def test_describe_says_where_the_work_is_done(platform: Platform) -> None:
    [result] = performed(platform, TaskRequest.plain("describe", "here", {"libraries": ["numpy", "no-such"]})).values()
    assert result.value["cores"] == os.cpu_count()
    assert result.value["libraries"]["no-such"] is None
    assert result.value["libraries"]["numpy"] is not None


def local(tmp_path: Path) -> Platform:
    (tmp_path / "landing" / "market").mkdir(parents=True)
    (tmp_path / "landing" / "market" / "alpha.csv").write_text("date,close\n2018-01-02,1\n")
    return Platform.from_settings(settings_for(tmp_path))


def test_here_a_task_has_a_process_of_its_own_whose_death_fails_that_task_alone(tmp_path: Path) -> None:
    asked = [TaskRequest.plain("die", "killed", {}), TaskRequest.plain("double", "other", {"value": 1})]
    found = {one.request.keys[0]: one for one in LocalCompute(1).perform(local(tmp_path), asked)}
    assert "signal 9" in found["killed"].failed["killed"]
    assert found["other"].value["value"] == 2
    assert found["other"].value["process"] != os.getpid()


def test_closing_ends_what_goes_on(tmp_path: Path) -> None:
    begun, never = tmp_path / "begun", tmp_path / "never"
    asked = [
        TaskRequest.plain("double", "first", {"value": 1}),
        TaskRequest.plain("wait_for_a_file", "waits", {"begun": str(begun), "go_on": str(never)}),
    ]
    with closing(LocalCompute(2).perform(local(tmp_path), asked)) as results:
        assert next(results).request.keys == ("first",)
        until(lambda: begun.exists() and begun.read_text())
        process = psutil.Process(int(begun.read_text()))
    assert not process.is_running()


def test_a_request_says_what_is_wrong_before_anything_is_done() -> None:
    with pytest.raises(UnknownKindError, match=r"'dubble' is not registered; known: .*describe, die, double"):
        TaskRequest.plain("dubble", "x", {})
    with pytest.raises(TypeError):
        TaskRequest.plain("double", "x", {"value": object()})
    with pytest.raises(ValueError, match="'fit' is taken by the platform"):
        tasks.register("fit", double)
    with pytest.raises(ValueError, match=r"'describe' is taken by forecast_platform\.work\.describe:describe"):
        tasks.register("describe", double)
    for work in (
        lambda payload: payload,
        {}.get,
        partial(double),
        "forecast_platform_tests.compute.plain_kinds:double",
    ):
        with pytest.raises(ValueError, match="another process cannot import"):
            tasks.register("nowhere", work)
    assert work_of("double")({"value": 4})["value"] == 8


def test_a_process_that_does_not_know_a_kind_finds_it_by_its_target_and_nothing_else() -> None:
    request, target = TaskRequest.plain("double", "x", {"value": 4}), tasks.target_of("double")
    assert target == "forecast_platform_tests.compute.plain_kinds:double"
    code = (
        "import json, sys; from forecast_platform.work import tasks; assert 'double' not in tasks.PLAIN; "
        "request = tasks.TaskRequest.from_dict(json.loads(sys.argv[1])); done = tasks.perform(request, sys.argv[2]); "
        "print(json.dumps([done.value, done.failed]))"
    )

    def elsewhere(target: str) -> tuple[dict[str, Any] | None, dict[str, str]]:
        arguments = [sys.executable, "-c", code, json.dumps(request.to_dict()), target]
        value, failed = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
        return value, failed

    assert elsewhere(target)[0]["value"] == 8
    for other in ("os:system", "json:loads"):
        value, failed = elsewhere(other)
        assert value is None
        assert f"'double' is not registered, nor by {other}" in failed["x"]
    value, failed = elsewhere("forecast_platform_tests.compute.plain_kinds:die")
    assert value is None
    assert "'double' is forecast_platform_tests.compute.plain_kinds:double here, not" in failed["x"]


def test_a_run_on_a_cluster_knows_the_kinds_of_the_packages_above_the_task_port() -> None:
    code = (
        "from forecast_platform.work import tasks; before = set(tasks.PLAIN); "
        "from forecast_platform.remote import task; "
        "print(sorted(before), sorted(set(tasks.PLAIN) - before), task.is_kind('ensemble_task'), task.is_kind('train'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "['describe'] ['ensemble_task'] True False"


def test_a_request_goes_through_json_unchanged_and_one_of_version_0_1_is_read() -> None:
    request = TaskRequest.plain("double", "x", {"value": 1})
    assert TaskRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    old = {"action": "fit", "series": "A", "model": "naive", "version": "v1", "dates": ["2018-01-01"]}
    assert TaskRequest.from_dict(old) == TaskRequest("fit", ("A", "naive", "v1"), ("2018-01-01",))
