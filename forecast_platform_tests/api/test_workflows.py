"""Workflows over the API: checked with line and column, kept a user, run once, cancelled, shown, exported."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus, build_sensor_context

from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.store import States
from forecast_platform.ensembles.submissions import Submissions
from forecast_platform.graph import requested_runs
from forecast_platform.graph.automation.workflows import NAME
from forecast_platform.graph.workflow_runs import WORKFLOW_TAG
from forecast_platform.host.home import instance_home
from forecast_platform.work.platform import Platform
from forecast_platform.workflow_definitions import build_workflow_definitions
from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.workflows import text_of
from forecast_platform_tests.forked import Program
from forecast_platform_tests.waiting import PATIENCE

TASKS = ({"task": "stack_top_any", "stack": {"top_n": 2}}, {"task": "vote_weight"})
TOKENS = {"ann": "a" * 20, "bob": "b" * 20}


def uploaded(desk: Desk, **more: Any) -> str:
    """The id of a table of 240 rows."""
    data = io.BytesIO()
    classes().to_parquet(data)
    status, found = desk.ask("POST", "/uploads?name=table.parquet", content=data.getvalue(), **more)
    assert status == 201, found
    return str(found["file"])


def text(file: str, *tasks: dict[str, Any], name: str = "small") -> str:
    return text_of(*(tasks or TASKS), source={"path": file}, name=name, bases=["linear"], folds=2)


def kept(desk: Desk, given: str, **more: Any) -> dict[str, Any]:
    status, found = desk.ask("POST", "/workflows", json={"yaml": given}, **more)
    assert status == 201, found
    return dict(found)


def tick(desk: Desk, definitions: Any = None) -> list[Any]:
    """One evaluation of the workflows' sensor; the runs that it asks for."""
    definitions = definitions or build_workflow_definitions(desk.settings)
    context = build_sensor_context(instance=desk.instance, repository_def=definitions.get_repository_def())
    found: Any = definitions.resolve_sensor_def(NAME)(context)
    return list(getattr(found, "run_requests", None) or [])


def run(desk: Desk, request: Any) -> bool:
    """Run what the sensor asked for, to its end."""
    job = build_workflow_definitions(desk.settings).resolve_job_def(request.job_name)
    return bool(job.execute_in_process(instance=desk.instance, tags=request.tags, raise_on_error=False).success)


KILLED = """
import json, os, signal, sys
from dagster import DagsterInstance
from forecast_platform.ensembles import running
from forecast_platform.settings import load
from forecast_platform.workflow_definitions import build_workflow_definitions

running.perform = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
job = build_workflow_definitions(load()).resolve_job_def(sys.argv[1])
job.execute_in_process(instance=DagsterInstance.get(), tags=json.loads(sys.argv[2]))
"""


def run_and_killed(desk: Desk, request: Any) -> None:
    """Run what the sensor asked for, in a process that is killed in its first task."""
    home = {"FORECAST_PLATFORM_WAREHOUSE": str(desk.settings.warehouse), "FORECAST_PLATFORM_SOURCE": "sample"}
    home |= {"DAGSTER_HOME": str(instance_home(desk.settings))}
    process = Program("-c", KILLED, request.job_name, json.dumps(dict(request.tags)), env={**os.environ, **home})
    assert process.wait(PATIENCE) == -signal.SIGKILL, process.told()


def states(found: dict[str, Any]) -> dict[str, str]:
    return {task["task"]: task["state"] for task in found["tasks"]}


def test_a_text_is_checked_with_the_place_of_each_fault_and_its_mend(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path)
    bad = text("x", {"task": "stack_top_any", "stack": {"top": 2}}).replace("bases:\n  - linear\n", "")
    status, found = desk.ask("POST", "/workflows/check", json={"yaml": bad})
    assert (status, found["valid"]) == (200, False)
    [problem] = found["problems"]
    line = bad.splitlines()[problem["line"] - 1]
    assert line[problem["column"] - 1 :].startswith("top:")
    assert "did you mean 'top_n'?" in problem["text"]
    status, refused = desk.ask("POST", "/workflows", json={"yaml": bad})
    assert (status, refused["problems"]) == (400, found["problems"])
    assert refused["detail"].startswith(f"line {problem['line']}, column {problem['column']}: obsrv.job[0].stack.top")
    listed = text("x").replace("bases:", "metric: {classification: [accuracy auc]}\n    bases:")
    found = desk.ask("POST", "/workflows/check", json={"yaml": listed})[1]
    assert "[accuracy, auc]" in found["fixed"]
    status, found = desk.ask("POST", "/workflows/check", json={"yaml": text("x")})
    assert found["valid"]
    assert [(one["task"], one["level"]) for one in found["tasks"]] == [("stack_top_any", 0), ("vote_weight", 1)]
    assert "top_n: 2" in found["completed"]
    assert desk.ask("GET", "/workflows")[1] == {"workflows": [], "total": 0}, "nothing is kept"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"yaml": 3}, "yaml: 3: "),
        ({"text": "x"}, "yaml: "),
        ({"yaml": "\ud800"}, "line 1, column 1: the text is not Unicode"),
        ({"yaml": "x" * 200_001}, "line 1, column 1: 200,001 characters"),
        ({"yaml": text("/etc/passwd")}, "line 5, column 13: obsrv.context.source.path: there is no upload"),
        ({"yaml": text_of(*TASKS, source={"path": None, "catalog": "../a", "schema": "b", "table": "c"})}, "line 7"),
        (
            {
                "yaml": text_of(
                    *TASKS,
                    source={
                        "path": None,
                        "catalog": "ensembles",
                        "schema": "files",
                        "table": "oof_predictions_theirs_boost",
                    },
                )
            },
            "line 5, column 7: obsrv.context.source: ensembles.files.oof_predictions_theirs_boost may be another",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name_and_nothing_is_kept(
    tmp_path: Path, body: dict[str, Any], message: str
) -> None:
    desk = Desk.over(tmp_path)
    headers = {"Content-Type": "application/json"}
    status, found = desk.ask("POST", "/workflows", content=json.dumps(body).encode(), headers=headers)
    assert (status, found["detail"][: len(message)]) == (400, message)
    assert desk.ask("GET", "/workflows")[1]["total"] == 0


def test_users_see_their_own_and_a_name_belongs_to_one(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, training_jobs={"tokens": TOKENS})
    ann, bob = ({"headers": {"Authorization": f"Bearer {TOKENS[name]}"}} for name in ("ann", "bob"))
    assert desk.ask("GET", "/workflows")[0] == 401
    file = uploaded(desk, **ann)
    one = kept(desk, text(file), **ann)["workflow_id"]
    for method, path in (
        ("GET", ""), ("GET", "/yaml"), ("POST", "/submit"), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/results"),
        ("GET", "/report"), ("GET", "/export"), ("GET", "/events"),
    ):  # fmt: skip
        assert desk.ask(method, f"/workflows/{one}{path}", **bob)[0] == 404, path
    assert desk.ask("GET", "/workflows", **bob)[1]["total"] == 0
    status, found = desk.ask("POST", "/workflows", json={"yaml": text(file)}, **bob)
    assert (status, "there is no upload" in found["detail"]) == (400, True), "it is ann's"
    status, found = desk.ask("POST", "/workflows", json={"yaml": text(uploaded(desk, **bob))}, **bob)
    assert (status, found["detail"]) == (409, "context.name 'small' is taken: rename the workflow")
    folder = desk.settings.warehouse / "_workflows"
    folder.mkdir()
    (folder / "operators.yaml").write_text("obsrv: {}")
    assert desk.ask("POST", "/workflows", json={"yaml": text(file, name="operators")}, **ann)[0] == 409


def test_jobs_and_workflows_share_the_limits(tmp_path: Path) -> None:
    from forecast_platform_tests.training_jobs.tables import asked

    desk = Desk.over(tmp_path, training_jobs={"jobs_a_user": 2, "drafts_a_user": 3})
    desk.beat()
    file = uploaded(desk)
    ids = [kept(desk, text(file, name=f"w{k}"))["workflow_id"] for k in range(2)]
    job_id = desk.create(asked())
    assert desk.ask("POST", "/workflows", json={"yaml": text(file, name="w3")})[0] == 429, "three drafts"
    assert desk.ask("POST", f"/workflows/{ids[0]}/submit")[0] == 200
    assert desk.ask("POST", f"/jobs/{job_id}/submit")[0] == 200
    status, found = desk.ask("POST", f"/workflows/{ids[1]}/submit")
    assert (status, "2 jobs queued or running" in found["detail"]) == (429, True)
    assert desk.ask("POST", f"/workflows/{ids[0]}/cancel")[1]["status"] == "cancelled"
    assert desk.ask("POST", f"/workflows/{ids[1]}/submit")[1]["current_step"] == "queued, place 1"


def test_one_that_was_submitted_after_its_location_was_loaded_waits_until_that_is_loaded_anew(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path)
    desk.beat()
    before = build_workflow_definitions(desk.settings)
    one = kept(desk, text(uploaded(desk)))["workflow_id"]
    assert tick(desk) == [], "it is not submitted"
    desk.ask("POST", f"/workflows/{one}/submit")
    assert tick(desk, before) == []
    after = build_workflow_definitions(desk.settings)
    [request] = tick(desk, after)
    assert (request.run_key, request.job_name) == (f"{one}:1", "ensemble_small")
    assert request.tags[WORKFLOW_TAG] == one
    [again] = tick(desk, after)
    assert again.run_key == request.run_key, "the same key is run once"


@pytest.mark.parametrize(("wish", "status"), [(False, "failed"), (True, "cancelled")])
def test_one_whose_run_dagster_has_no_record_of_does_not_run_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: bool, status: str
) -> None:
    """As in a backup: the store of what was asked for is copied after Dagster's records."""
    desk = Desk.over(tmp_path)
    desk.beat()
    one = kept(desk, text(uploaded(desk)))["workflow_id"]
    desk.ask("POST", f"/workflows/{one}/submit")
    tick(desk)
    store = Submissions(desk.settings)
    assert store.running(store.get(one), "a run of a later time")
    if wish:
        assert desk.ask("POST", f"/workflows/{one}/cancel")[1]["status"] == "cancelling"
    assert tick(desk) == []
    assert store.get(one).status in ("running", "cancelling"), "it may still come to be"
    monkeypatch.setattr(requested_runs, "_LOST_SECONDS", -1)
    assert tick(desk) == []
    found = desk.ask("GET", f"/workflows/{one}")[1]
    assert (found["status"], "ask for it again" in found["error"]) == (status, True)
    assert desk.ask("POST", f"/workflows/{one}/submit")[1]["attempt"] == 2
    [again] = tick(desk)
    assert again.run_key == f"{one}:2"


@pytest.mark.slow
def test_a_workflow_from_its_text_to_its_model(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, workers=1)
    assert desk.ask("POST", "/workflows/nonsense/submit")[0] == 404
    given = text(uploaded(desk))
    found = kept(desk, given)
    path = f"/workflows/{found['workflow_id']}"
    assert found["status"] == "pending"
    assert found["workflow_id"].startswith("wf_20")
    assert desk.ask("POST", f"{path}/submit")[0] == 503, "no daemon would run it"
    desk.beat()
    assert desk.ask("POST", f"{path}/submit")[1]["status"] == "submitting"
    assert desk.ask("POST", f"{path}/submit")[0] == 400
    assert desk.ask("DELETE", path)[0] == 400
    assert desk.ask("GET", f"{path}/results")[0] == 400
    [request] = tick(desk)
    assert run(desk, request)
    found = desk.ask("GET", path)[1]
    assert (found["status"], found["progress"]) == ("completed", 100)
    assert set(states(found).values()) == {"finished"}
    assert all(task["started_at"] <= task["finished_at"] for task in found["tasks"])
    reply = desk.client.get(f"/api/v2{path}/events")
    [event] = [line for line in reply.text.splitlines() if line.startswith("data: ")]
    assert json.loads(event.removeprefix("data: ")) == found
    assert desk.client.get(f"/api/v2{path}/yaml").text == given
    results = desk.ask("GET", f"{path}/results")[1]
    assert set(results["tasks"]) == {"stack_top_any", "vote_weight"}
    assert results["result"]["scores"]["accuracy"] > 0.5
    Path(results["result"]["report"]).unlink()  # as in a warehouse that was restored
    assert "<html" in desk.client.get(f"/api/v2{path}/report").text
    model = zipfile.ZipFile(io.BytesIO(desk.client.get(f"/api/v2{path}/export").content))
    assert "MLmodel" in model.namelist()

    # Again: nothing is computed anew; with another text under its name, only what is new.
    assert desk.ask("POST", f"{path}/submit")[1]["attempt"] == 2
    [request] = tick(desk)
    assert run(desk, request)
    more = {"task": "boost", "boost": {"method": "gbm"}}
    upload = given.partition("path: ")[2].splitlines()[0]
    assert kept(desk, text(upload, *TASKS, more))["workflow_id"] == found["workflow_id"]
    assert tick(desk) == []
    assert set(states(desk.ask("GET", path)[1]).values()) == {"waiting"}, "the newer text has not run"
    desk.ask("POST", f"{path}/submit")
    [request] = tick(desk)
    assert run(desk, request)
    assert set(states(desk.ask("GET", path)[1])) == {"stack_top_any", "vote_weight", "boost", "model"}

    assert desk.ask("DELETE", path)[0] == 200
    assert desk.ask("GET", path)[0] == 404
    assert [one for one in (desk.settings.warehouse / "_workflows").rglob("*") if one.is_file()] == []
    assert desk.instance.get_runs() == []


@pytest.mark.slow
def test_a_task_whose_process_was_killed_is_interrupted_before_anybody_has_closed_its_run(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, workers=1)
    desk.beat()
    one = kept(desk, text(uploaded(desk), TASKS[1]))["workflow_id"]
    desk.ask("POST", f"/workflows/{one}/submit")
    [request] = tick(desk)
    run_and_killed(desk, request)
    [left] = desk.instance.get_runs()
    assert left.status == DagsterRunStatus.STARTED
    found = desk.ask("GET", f"/workflows/{one}")[1]
    assert (found["status"], found["current_step"]) == ("running", "vote_weight (interrupted)")
    assert states(found) == {"vote_weight": "interrupted", "model": "waiting"}
    assert found["tasks"][0]["error"].startswith("interrupted: its process ended")
    desk.instance.report_run_failed(left, "as `up` does it")
    assert run(desk, request), "as Dagster tries it again"
    found = desk.ask("GET", f"/workflows/{one}")[1]
    assert (found["status"], set(states(found).values())) == ("completed", {"finished"})


@pytest.mark.slow
def test_in_a_copy_of_the_warehouse_a_completed_workflow_is_completed_without_the_first(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    desk = Desk.over(tmp_path / "first", workers=1)
    desk.beat()
    one = kept(desk, text(uploaded(desk), TASKS[1]))["workflow_id"]
    desk.ask("POST", f"/workflows/{one}/submit")
    [request] = tick(desk)
    assert run(desk, request)
    assert desk.ask("GET", f"/workflows/{one}")[1]["status"] == "completed"
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    shutil.rmtree(tmp_path / "first" / "warehouse" / "_workflows")
    copy = Desk.over(tmp_path / "second", workers=1)
    status, found = copy.ask("GET", f"/workflows/{one}/results")
    assert status == 200, found
    assert found["result"]["report"].startswith(str(tmp_path / "second"))
    copy.beat()
    copy.ask("POST", f"/workflows/{one}/submit")
    [request] = tick(copy)
    assert run(copy, request)
    workflow = read_workflow((copy.settings.warehouse / "_workflows" / "small.yaml").read_text())
    tasks = States(Platform.from_settings(copy.settings).warehouse, workflow.context).read()
    assert {name: task.attempts for name, task in tasks.items()} == {"vote_weight": 1, "model": 1}, "nothing again"


@pytest.mark.slow
def test_a_failure_names_its_task_and_a_wish_to_cancel_ends_a_run_that_begins(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, workers=1)
    desk.beat()
    bad = {"task": "stack_top_any", "stack": {"meta": "ridge"}}
    one = kept(desk, text(uploaded(desk), bad))["workflow_id"]
    desk.ask("POST", f"/workflows/{one}/submit")
    [request] = tick(desk)
    assert not run(desk, request)
    found = desk.ask("GET", f"/workflows/{one}")[1]
    assert found["status"] == "failed"
    assert "stack_top_any: " in found["error"]
    assert "ridge is of numbers" in found["error"]
    assert states(found) == {"stack_top_any": "failed", "model": "waiting"}
    with contextlib.closing(sqlite3.connect(Submissions(desk.settings).path)) as store:
        # As after a clock that was set back when it had been submitted.
        store.execute("UPDATE workflows SET submitted_at = '2999-01-01T00:00:00.000+00:00'")
        store.commit()
    assert "ridge is of numbers" in desk.ask("GET", f"/workflows/{one}")[1]["error"]
    desk.ask("POST", f"/workflows/{one}/submit")
    [request] = tick(desk)
    assert request.run_key == f"{one}:2"
    assert desk.ask("POST", f"/workflows/{one}/cancel")[1]["status"] == "cancelling"
    assert not run(desk, request)
    assert desk.ask("GET", f"/workflows/{one}")[1]["status"] == "cancelled"
    newest = desk.instance.get_runs(limit=1)[0]
    assert newest.status == DagsterRunStatus.CANCELED
