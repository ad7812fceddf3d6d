"""The task port: a task of a plain kind gives the same on every compute, and its failure is its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from forecast_platform.compute import engine_for
from forecast_platform.compute.local import LocalCompute
from forecast_platform.work import tasks
from forecast_platform.work.platform import Platform
from forecast_platform.work.tasks import TaskRequest, TaskResult, UnknownKindError, work_of
from forecast_platform_tests.compute.engines import needs_sail
from forecast_platform_tests.compute.plain_kinds import KINDS
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import settings_for

MASTERS = {"local": None, "sail": "sail"}


@pytest.fixture(autouse=True)
def _kinds() -> Iterator[None]:
    known = dict(tasks.PLAIN)
    for kind, target in KINDS.items():
        tasks.register(kind, target)
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
    with pytest.raises(UnknownKindError, match="'dubble' is not registered; known: describe, die, double"):
        TaskRequest.plain("dubble", "x", {})
    with pytest.raises(TypeError):
        TaskRequest.plain("double", "x", {"value": object()})
    with pytest.raises(ValueError, match="'fit' is taken by the platform"):
        tasks.register("fit", "a:b")
    with pytest.raises(ValueError, match="'double' is taken by"):
        tasks.register("double", "a:b")
    assert work_of("double")({"value": 4})["value"] == 8


def test_a_request_goes_through_json_unchanged_and_one_of_version_0_1_is_read() -> None:
    request = TaskRequest.plain("double", "x", {"value": 1})
    assert TaskRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    old = {"action": "fit", "series": "A", "model": "naive", "version": "v1", "dates": ["2018-01-01"]}
    assert TaskRequest.from_dict(old) == TaskRequest("fit", ("A", "naive", "v1"), ("2018-01-01",))
