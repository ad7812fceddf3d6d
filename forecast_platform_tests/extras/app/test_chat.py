"""The chat page over a real API and registry: a task, then its criteria; the same answer as the API's."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.extra
pytest.importorskip("streamlit")

from forecast_platform.app.client import Api  # noqa: E402
from forecast_platform.app.command import API_VARIABLE  # noqa: E402
from forecast_platform_tests.api.desk import Desk  # noqa: E402
from forecast_platform_tests.extras.app.test_workbench import desk, opened, shown, texts  # noqa: E402, F401
from forecast_platform_tests.language.registered import register  # noqa: E402


def said(app) -> list[str]:
    """What stands in the conversation, in its order."""
    return [str(one.value) for message in app.chat_message for one in message.markdown]


def test_a_task_is_answered_and_the_next_message_says_what_it_has_to_keep_to(desk: Desk) -> None:  # noqa: F811
    register(
        desk.settings,
        ("Coffee-naive", {"crps_14d": 4.5, "mape": 6.0}),
        ("Coffee-xgboost", {"crps_14d": 4.1, "mape": 9.0}),
    )
    app = opened()
    shown(app.button(key="page_recommendation").click().run())
    assert app.query_params["page"] in ("recommendation", ["recommendation"])
    shown(app.chat_input(key="said").set_value("Forecast coffee prices two weeks ahead").run())
    assert "Use **Coffee-xgboost** version 1" in said(app)[-1]
    table = app.dataframe[0].value
    assert table["model"].tolist() == ["Coffee-xgboost", "Coffee-naive"]
    assert table["crps_14d"].tolist() == [4.1, 4.5]

    shown(app.chat_input(key="said").set_value("mape < 7").run())
    assert "Use **Coffee-naive** version 1" in said(app)[-1]
    assert "mape < 7: kept (6)" in said(app)[-1]
    assert "Forecast coffee prices two weeks ahead" in said(app)[-1]
    told = Api(os.environ[API_VARIABLE]).recommend("Forecast coffee prices two weeks ahead", "mape < 7")
    assert said(app)[-1] == told["recommendation"]
    assert "ranking (no language model)" in texts(app)

    shown(app.chat_input(key="said").set_value("mape > best").run())
    assert "criteria: 'mape > best': write a bound" in texts(app)
    shown(app.button(key="page_jobs").click().run())
    assert not app.chat_message


def test_an_empty_registry_says_what_to_do(desk: Desk) -> None:  # noqa: F811
    app = shown(opened(page="recommendation").chat_input(key="said").set_value("Forecast sugar").run())
    assert "No models found in registry: train one first" in texts(app)
