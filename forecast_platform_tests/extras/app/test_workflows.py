"""The page of workflows over a real API: faults at their place, the DAG, run, watch, results, export; reloads."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.extra
pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest  # noqa: E402

from forecast_platform.app import workflows  # noqa: E402
from forecast_platform.app.workflow_client import WorkflowApi  # noqa: E402
from forecast_platform_tests.api.desk import Desk  # noqa: E402
from forecast_platform_tests.api.test_workflows import run, run_and_killed, text, tick, uploaded  # noqa: E402
from forecast_platform_tests.extras.app.test_workbench import desk, opened, shown, texts  # noqa: E402, F401


def page(**query: str) -> AppTest:
    return opened(page=workflows.NAME, **query)


def dags(app: AppTest) -> list[str]:
    return [str(one.proto.spec) for one in app.get("graphviz_chart")]


def value(app: AppTest, name: str) -> str:
    found = app.query_params[name]
    return found if isinstance(found, str) else found[0]


def test_faults_stand_at_their_place_and_are_mended(desk: Desk) -> None:  # noqa: F811
    app = page()
    given = text("x").replace("bases:", "metric: {classification: [accuracy auc]}\n    bases:")
    shown(app.text_area(key="yaml").set_value(given).run())
    line, number = next((one, k) for k, one in enumerate(given.splitlines(), 1) if "accuracy auc" in one)
    column = line.index("accuracy") + 1
    assert f"line {number}, column {column}" in texts(app)
    marked, caret = app.code[0].value.splitlines()
    assert marked == f"{number}: {line}"
    assert marked[caret.index("^") :].startswith("accuracy auc")
    assert not dags(app)
    shown(app.button(key="fix").click().run())
    assert "[accuracy, auc]" in app.text_area(key="yaml").value
    again = page(yaml=value(app, "yaml"))
    assert again.text_area(key="yaml").value == app.text_area(key="yaml").value, "a reload shows the same"
    assert "2 tasks, nothing wrong" in texts(again)


def test_a_workflow_from_its_text_to_its_results(desk: Desk) -> None:  # noqa: F811
    file = uploaded(desk)
    app = page(yaml=workflows.packed(text(file)))
    [dag] = dags(app)
    assert '"stack_top_any" -> "vote_weight"' in dag
    assert "source" in app.code[0].value, "with every default"
    shown(app.button(key="run").click().run())
    one = value(app, "workflow")
    waiting = page(workflow=one)
    assert waiting.button(key="cancel_workflow")
    assert set(waiting.dataframe[0].value["state"]) == {"waiting"}
    [request] = tick(desk)
    assert run(desk, request)
    done = page(workflow=one)
    assert "deployed: " in texts(done)
    assert set(done.dataframe[0].value["state"]) == {"finished"}
    assert "#9ad29a" in dags(done)[0]
    assert {"stack_top_any", "vote_weight"} == set(done.dataframe[1].value["task"])
    assert [str(button.key) for button in done.sidebar.button if "wf_" in str(button.key)] == [f"workflow_{one}"]
    shown(done.button(key="change").click().run())
    assert done.text_area(key="yaml").value == text(file)
    shown(page(workflow=one).button(key="delete_workflow").click().run())
    assert desk.ask("GET", "/workflows")[1]["total"] == 0


def test_a_task_whose_process_was_killed_is_shown_as_interrupted(desk: Desk) -> None:  # noqa: F811
    app = page(yaml=workflows.packed(text(uploaded(desk))))
    shown(app.button(key="run").click().run())
    [request] = tick(desk)
    run_and_killed(desk, request)
    watched = page(workflow=value(app, "workflow"))
    assert set(watched.dataframe[0].value["state"]) == {"interrupted", "waiting"}
    assert "#f3cf8e" in dags(watched)[0]


def test_one_that_waits_is_cancelled_and_what_the_api_refuses_is_said(desk: Desk) -> None:  # noqa: F811
    app = page(yaml=workflows.packed(text("nothing")))
    shown(app.button(key="run").click().run())
    assert "there is no upload 'nothing'" in texts(app)
    app = page(yaml=workflows.packed(text(uploaded(desk))))
    shown(app.button(key="run").click().run())
    one = value(app, "workflow")
    shown(page(workflow=one).button(key="cancel_workflow").click().run())
    assert desk.ask("GET", f"/workflows/{one}")[1]["status"] == "cancelled"
    shown(page(workflow=one).button(key="again").click().run())
    assert desk.ask("GET", f"/workflows/{one}")[1]["status"] == "submitting"


def test_a_cancel_that_comes_too_late_is_told_on_the_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    app = page(yaml=workflows.packed(text(uploaded(desk))))
    shown(app.button(key="run").click().run())
    watched = page(workflow=value(app, "workflow"))
    real = WorkflowApi.act

    def late(api: WorkflowApi, workflow_id: str, what: str) -> None:
        real(api, workflow_id, what)  # as another tab does it, between what this one has drawn and its click
        real(api, workflow_id, what)

    monkeypatch.setattr(WorkflowApi, "act", late)
    shown(watched.button(key="cancel_workflow").click().run())
    assert "is cancelled" in texts(watched)


def test_a_text_that_is_too_long_for_the_address_leaves_no_older_one_there(desk: Desk) -> None:  # noqa: F811
    app = page()
    shown(app.text_area(key="yaml").set_value(text("x")).run())
    assert "yaml" in app.query_params
    notes = "".join(f"# {random.Random(line).getrandbits(200)}\n" for line in range(200))
    shown(app.text_area(key="yaml").set_value(text("x") + notes).run())
    assert "yaml" not in app.query_params
    assert "Too long for the address" in texts(app)


def test_an_address_that_holds_no_text_shows_the_example(desk: Desk) -> None:  # noqa: F811
    assert "my_first_workflow" in page(yaml="no such thing").text_area(key="yaml").value
