"""The front end's own requests and polling, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.api import answers
from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.training_jobs.tables import weekly

JOB = {
    *("job_id", "status", "progress", "current_step", "run_id", "created_at", "submitted_at", "completed_at"),
    *("results", "error"),
}
SENT = {
    "data": weekly(1, 40),
    "time_col": "week",
    "target_col": "sales",
    "id_col": None,
    "covariates": [],
    "horizon": 4,
    "frequency": "weekly",
    "training_mode": "statsforecast",
    "models": [
        "prophet",
        "arima",
        "exponential_smoothing",
        "sarimax",
        "xgboost",
        "statsforecast",
        "chronos",
        "ensemble",
    ],
    "seasonality_mode": "multiplicative",
    "time_limit": 600,
    "presets": "fast_training",
    "confidence_level": 0.95,
}
"""As it leaves the front end: all eight models in every mode, and a field that only it knows."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.over(tmp_path)


@pytest.mark.slow
def test_a_job_from_its_creation_to_its_results_as_the_front_end_goes_through_it(desk: Desk) -> None:
    desk.beat()
    status, found = desk.ask("GET", "/jobs/delegation-status")
    contract = {"enabled", "cluster_id", "message", "training_modes"}
    # `places` is the workbench's, beyond the contract.
    assert (status, found["enabled"], set(found)) == (200, True, contract | {"places"})
    status, found = desk.ask("GET", "/jobs/training-modes")
    assert status == 200
    assert [mode["value"] for mode in found["modes"]] == found_modes(desk)
    assert {"value", "name", "description", "speed", "recommended"} <= set(found["modes"][0])
    assert sum(mode["recommended"] for mode in found["modes"]) == 1

    status, job = desk.ask("POST", "/jobs", json={"config": SENT})
    assert 200 <= status < 300
    assert set(job) >= JOB
    assert (job["status"], job["progress"], job["results"], job["error"]) == ("pending", 0, None, None)
    path = f"/jobs/{job['job_id']}"
    assert desk.ask("GET", f"{path}/results")[0] == 400

    status, job = desk.ask("POST", f"{path}/submit")  # no body, no content type
    assert (status, job["status"], job["current_step"]) == (200, "submitting", "queued, place 1")
    assert job["submitted_at"] >= job["created_at"]
    assert desk.ask("POST", f"{path}/submit")[0] == 400, "it is no longer pending"
    assert desk.ask("DELETE", path)[0] == 400, "it waits to be run"

    [request] = desk.tick()
    assert desk.ask("GET", path)[1]["status"] == "submitting"
    assert desk.run(request)
    status, job = desk.ask("GET", path)
    assert (status, job["status"], job["progress"]) == (200, "completed", 100)
    assert job["results"]["mlflow_run_id"] == job["mlflow_run_id"]
    assert job["run_id"]
    assert job["completed_at"]

    status, found = desk.ask("GET", f"{path}/results")
    assert status == 200
    assert {"job_id", "status", "mlflow_run_id", "results", "completed_at"} <= set(found)
    for part in ("best_model", "mape", "leaderboard", "forecast"):
        assert found[part] == found["results"][part]
    assert isinstance(found["mape"], float)
    assert {"model", "score_val", "fit_time_marginal"} <= set(found["leaderboard"][0])
    assert len(found["forecast"]) == 4
    assert found["best_model"] == found["leaderboard"][0]["model"]

    status, listed = desk.ask("GET", "/jobs?limit=50")
    assert (status, listed["total"], set(listed["jobs"][0])) == (200, 1, set(job))
    assert desk.ask("GET", "/jobs?status=running")[1] == {"jobs": [], "total": 0}
    assert desk.ask("GET", "/jobs?status=unknown") == (
        400,
        {
            "detail": "status: 'unknown' is none of pending, submitting, running, cancelling, cancelled, "
            "completed, failed"
        },
    )
    for limit in ("0", "101", "many"):
        status, fault = desk.ask("GET", f"/jobs?limit={limit}")
        assert status == 400
        assert fault["detail"].startswith(f"limit: '{limit}'")

    reply = desk.client.get(f"/api/v2{path}/events")
    [event] = [line for line in reply.text.splitlines() if line.startswith("data: ")]
    assert json.loads(event.removeprefix("data: ")) == job
    csv = desk.client.get(f"/api/v2{path}/files/forecast.csv").text
    assert csv.startswith("series,date,model,forecast,median,lower_80")
    assert desk.ask("GET", f"{path}/files/panel.npz")[0] == 404
    assert desk.ask("GET", f"{path}/files/..%2F..%2Fjobs.db")[0] == 404

    folder = desk.jobs.store.job_folder(job["job_id"])
    assert folder.is_dir()
    status, found = desk.ask("DELETE", path)
    assert (status, set(found)) == (200, {"message"})
    assert desk.ask("GET", path)[0] == 404
    assert not folder.exists()
    assert not desk.instance.has_dynamic_partition("training_jobs", job["job_id"])
    assert desk.instance.get_runs() == []


def found_modes(desk: Desk) -> list[str]:
    return list(desk.ask("GET", "/jobs/delegation-status")[1]["training_modes"])


@pytest.mark.parametrize(
    "act", [("GET", ""), ("POST", "/submit"), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/results")]
)
@pytest.mark.parametrize("job_id", ["7d5a1c52-8a0b-4d3c-9a57-0e5f3f6f2f10", "nonsense"])
def test_an_unknown_job_is_not_found_and_the_detail_is_one_text(desk: Desk, act: tuple[str, str], job_id: str) -> None:
    status, fault = desk.ask(act[0], f"/jobs/{job_id}{act[1]}")
    assert (status, fault) == (400 if act[0] == "POST" else 404, {"detail": f"no job {job_id!r}"})


WRONG: dict[str, tuple[Any, str]] = {
    "field": ({"config": {**SENT, "horizon": "many"}}, "horizon: 'many': Input should be a valid integer"),
    "missing": ({"config": {"data": SENT["data"], "time_col": "week"}}, "target_col: is missing"),
    "no config": ({}, "config: is missing"),
    "data": ({"config": {**SENT, "data": []}}, "data: there are no rows"),
    "column": ({"config": {**SENT, "target_col": "price"}}, "target_col: no row has a column 'price'"),
    "frequency": ({"config": {**SENT, "frequency": "daily"}}, "frequency: series 'sales' has 40 of the 274 rows"),
    "model": ({"config": {**SENT, "models": ["AutoEts"]}}, "models: 'AutoEts' is no model of mode statsforecast"),
    "time": ({"config": {**SENT, "time_limit": 4000}}, "time_limit: 4000 s; at most 3600 s here"),
    "upload": ({"config": {**SENT, "data": None, "file": "x"}}, "file: no upload 'x'"),
    "table": ({"config": {**SENT, "data": None, "table": "a.b.c"}}, "table: a.b.c: the warehouse has no such table"),
    "a huge number": (
        {"config": {**SENT, "data": [*weekly(1, 39), {"week": "2023-10-02", "sales": 10**400}]}},
        "target_col: row 40, column 'sales': infinite",
    ),
    "half a character": (
        {"config": {**SENT, "data": [{**row, "store": "\ud800"} for row in weekly(1, 40)], "id_col": "store"}},
        "the body holds half a character ('\\ud800')",
    ),
    "half a character for a file": (
        {"config": {**SENT, "data": None, "file": "\ud800"}},
        "the body holds half a character ('\\ud800')",
    ),
    "table's name": ({"config": {**SENT, "data": None, "table": "../x"}}, "table: '../x' is no name of a table"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_400_names_the_field_and_leaves_nothing_behind(desk: Desk, name: str) -> None:
    body, message = WRONG[name]
    # Not by `json=`, which cannot encode halves of characters.
    status, fault = desk.ask("POST", "/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert status == 400
    assert fault["detail"].startswith(message)
    assert not list(desk.jobs.store.folder.glob("jobs/*"))
    assert desk.ask("GET", "/jobs")[1]["total"] == 0


def test_a_body_that_is_nested_beyond_what_can_be_read_is_400(desk: Desk) -> None:
    body = '{"config": ' + "[" * 100_000 + "]" * 100_000 + "}"
    status, fault = desk.ask("POST", "/jobs", content=body, headers={"Content-Type": "application/json"})
    assert (status, fault) == (400, {"detail": "the body is nested too deep: rows are one value a cell"})


def test_a_limit_that_is_reached_says_when_to_try_again(desk: Desk) -> None:
    desk.beat()
    ids = [desk.create(SENT) for _ in range(4)]
    for job_id in ids[:3]:
        assert desk.ask("POST", f"/jobs/{job_id}/submit")[0] == 200
    reply = desk.client.post(f"/api/v2/jobs/{ids[3]}/submit")
    assert (reply.status_code, int(reply.headers["retry-after"]) > 0) == (429, True)
    assert "you have 3 jobs queued or running" in reply.json()["detail"]
    assert desk.ask("POST", f"/jobs/{ids[0]}/cancel")[1]["status"] == "cancelled"
    assert desk.ask("POST", f"/jobs/{ids[3]}/submit")[0] == 200


def test_without_a_daemon_a_submit_is_503_and_the_job_stays_pending(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path)
    job_id = desk.create(SENT)
    status, fault = desk.ask("POST", f"/jobs/{job_id}/submit")
    assert (status, fault["detail"][:27]) == (503, "Dagster's daemon does not r")
    assert desk.ask("GET", f"/jobs/{job_id}")[1]["status"] == "pending"


def test_an_empty_status_in_a_list_s_address_is_none(desk: Desk) -> None:
    desk.create(SENT)
    assert desk.ask("GET", "/jobs?status=&limit=50")[1]["total"] == 1
    assert desk.ask("GET", "/workflows?status=&limit=50") == (200, {"workflows": [], "total": 0})


def test_where_jobs_are_switched_off_they_are_503(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, training_jobs={"enabled": False})
    assert desk.ask("POST", "/jobs", json={"config": SENT})[0] == 503
    assert desk.ask("GET", "/jobs/delegation-status")[1]["enabled"] is False


def test_the_openapi_document_names_every_route_with_an_example(desk: Desk) -> None:
    found = desk.client.get("/openapi.json").json()
    jobs = [path for path in found["paths"] if path.startswith(("/api/v2/jobs", "/api/v2/uploads"))]
    assert len(jobs) == 12
    body = found["paths"]["/api/v2/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"]["config"]["training_mode"] == "statsforecast"
    assert "401" in found["paths"]["/api/v2/jobs/{job_id}"]["get"]["responses"]
    shapes = set()
    for path in jobs:
        for one in found["paths"][path].values():
            for status, reply in one["responses"].items():
                if "application/json" in reply["content"]:
                    shapes.add((status[0], reply["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]))
    assert len(shapes) == 11
    for status, name in shapes - {("4", "Fault"), ("5", "Fault")}:
        [example] = found["components"]["schemas"][name]["examples"]
        shape = getattr(answers, name)
        assert status == "2"
        assert set(example) == set(shape.model_fields), name
        shape.model_validate(example)
