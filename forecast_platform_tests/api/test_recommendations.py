"""/api/v2/recommendations: the ranking over HTTP, its faults as one text, and who may ask."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from forecast_platform.language.schemas import RECOMMENDATION
from forecast_platform.settings import build
from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.language.registered import register

TASK = "Forecast coffee prices two weeks ahead"
TOKENS = {"ann": "a" * 20}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk.over(tmp_path_factory.mktemp("desk"))
    register(
        desk.settings,
        ("Coffee-naive", {"crps_14d": 4.5, "mape": 6.0}),
        ("Coffee-xgboost", {"crps_14d": 4.1, "mape": 9.0}, "champion"),
    )
    return desk


def test_a_task_is_answered_by_the_ranking_in_the_file_s_form(desk: Desk) -> None:
    status, answer = desk.ask("POST", "/recommendations", json={"task": TASK, "criteria": "mape < 7, lowest crps_14d"})
    assert status == 200
    jsonschema.validate(answer, RECOMMENDATION)
    assert [one["name"] for one in answer["models_evaluated"]] == ["Coffee-naive", "Coffee-xgboost"]
    assert answer["acceptable"] is True
    by_mapping = desk.ask("POST", "/recommendations", json={"task": TASK, "criteria": {"max_mape": 7}})[1]
    assert by_mapping["models_evaluated"] == answer["models_evaluated"]
    asked = {"task": TASK, "model_names": ["Coffee-xgboost"], "criteria": "mape < 7"}
    status, found = desk.ask("GET", "/recommendations", params=asked)
    assert (status, found["acceptable"]) == (200, False)
    assert [one["stage"] for one in found["models_evaluated"]] == ["champion"]


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"task": ""}, 400, "task: '': String should have at least 1 character"),
        ({"task": "   "}, 400, "task: 0 characters: say in a sentence what the model is for"),
        ({}, 400, "task: {}: Field required"),
        ({"task": TASK, "criteria": "mape best"}, 400, "criteria: 'mape best': write a bound such as `mape < 5`"),
        ({"task": TASK, "criteria": {"mape": "5"}}, 400, "criteria."),
        ({"task": TASK, "cpt_model": "/etc"}, 400, "cpt_model: '/etc': Extra inputs are not permitted"),
        ({"task": TASK, "model_names": ["Cocoa"]}, 404, "No models found in registry of the names Cocoa: train one"),
    ],
)
def test_what_is_wrong_is_one_text_that_names_the_field(desk: Desk, asked: dict, status: int, told: str) -> None:
    found = desk.ask("POST", "/recommendations", json=asked)
    assert found[0] == status
    assert found[1]["detail"].startswith(told)


def test_it_is_behind_the_same_guard_as_the_jobs(desk: Desk, tmp_path: Path) -> None:
    assert desk.ask("POST", "/recommendations", content=b"task=x")[0] == 415
    foreign = desk.ask("POST", "/recommendations", json={"task": TASK}, headers={"Origin": "https://evil.example"})
    assert foreign[0] == 403
    locked = Desk.over(tmp_path, training_jobs={"tokens": TOKENS})
    assert locked.ask("POST", "/recommendations", json={"task": TASK})[0] == 401


def test_a_registry_that_does_not_answer_is_503(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    settings = build(warehouse=tmp_path / "warehouse", mlflow_tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    status, found = Desk(settings).ask("POST", "/recommendations", json={"task": TASK})
    assert status == 503
    assert found["detail"].startswith("the model registry does not answer")


def test_a_trained_model_s_folder_is_the_setting_s_and_its_faults_leave_the_ranking(desk: Desk, tmp_path: Path) -> None:
    settings = desk.settings.model_copy(
        update={"language": desk.settings.language.model_copy(update={"model": tmp_path / "lost"})}
    )
    status, found = Desk(settings).ask("POST", "/recommendations", json={"task": TASK})
    assert status == 200
    assert "not usable" in found["generated_by"]
    assert found["models_evaluated"][0]["name"] == "Coffee-xgboost"


def test_the_openapi_document_explains_it(desk: Desk) -> None:
    document = desk.client.get("/openapi.json").json()
    routes = document["paths"]["/api/v2/recommendations"]
    assert set(routes) == {"post", "get"}
    body = routes["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][body]["examples"][0]["task"].startswith("Forecast coffee")
    assert {"400", "401", "404", "503"} <= set(routes["post"]["responses"])
