"""The variables of a remote task: from its parameters, where its cluster has none of ours."""

from __future__ import annotations

import os

import pytest

from forecast_platform.clients.databricks.variables import parameters_of, provide
from forecast_platform.host.redaction import SECRETS
from forecast_platform.settings.databricks import DatabricksOptions


def test_what_the_settings_say_is_what_the_task_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_KEY", "a value of the cluster's own")
    monkeypatch.setenv("PLACE", "here")
    monkeypatch.setenv("LEVEL", "")
    monkeypatch.delenv("LEVEL")
    monkeypatch.setenv(SECRETS, "OTHER")
    options = DatabricksOptions(secrets={"FEED_KEY": "keys/feed"}, environment={"PLACE": "there", "LEVEL": "2, 3"})
    provide(parameters_of(options))
    assert os.environ["FEED_KEY"] == "a value of the cluster's own", "kept, and no secret is asked for"
    assert (os.environ["PLACE"], os.environ["LEVEL"]) == ("here", "2, 3")
    assert os.environ[SECRETS] == "FEED_KEY,OTHER"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"secrets": "A=keys/a, hunter2"}, "secrets, item 2: NAME=scope/key"),
        ({"secrets": "A=hunter2"}, "secrets, item 1: NAME=scope/key"),
        ({"environment": "A=hunter2"}, 'variables as JSON, such as {"NAME": "text"}'),
        ({"environment": '["hunter2"]'}, "variables as JSON"),
        ({"environment": '{"hunter2": 2}'}, "variables as JSON"),
    ],
)
def test_a_parameter_that_is_no_such_thing_is_named_and_not_shown(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r"secrets|environment") as caught:
        provide(given)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["A=keys/a,B=keys/b", "A=keys/a B=keys/b", " A=keys/a,\n B=keys/b, "])
def test_secrets_are_set_apart_by_commas_or_spaces(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for name in "AB":
        monkeypatch.setenv(name, "there")
    monkeypatch.setenv(SECRETS, "")
    provide({"secrets": text})
    assert os.environ[SECRETS] == "A,B"


def test_nothing_asked_for_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRETS, raising=False)
    before = dict(os.environ)
    provide({"secrets": "", "environment": ""})
    assert dict(os.environ) == before
