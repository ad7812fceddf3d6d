"""Secrets in texts: every form that they are written in, the streams, the errors, the tables."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from forecast_platform.host.redaction import (
    HIDDEN,
    SECRETS,
    Hide,
    HidingStream,
    SecretShownError,
    hidden,
    hidden_in,
    hide,
)
from forecast_platform.settings import SettingsError, build
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform.work.platform import Platform
from forecast_platform.work.store import failures
from forecast_platform_tests.worlds import settings_for

VALUES = [
    "plain-word",
    "it's-a-word",
    "Pa55 \"and\" \\ 'both'",
    "päss/wörd?&",
    "-----BEGIN KEY-----\nAB=\n-----END KEY-----\n",
]


@pytest.fixture(params=VALUES)
def secret(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(SECRETS, "FEED_KEY,NOT_SET")
    monkeypatch.setenv("FEED_KEY", request.param)
    return str(request.param)


def test_every_form_of_a_value_is_taken_out(secret: str) -> None:
    once = json.dumps(secret)
    for shown in (
        secret,
        once[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(once)[3:-3],
        repr(secret)[1:-1],
        repr(f"both ' and \" around {secret}!").rpartition("around ")[2][:-2],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
    ):
        assert hide(f"before {shown} after") == f"before {HIDDEN} after"
    told = hide(json.dumps({"text": f"it is {secret}!"}))
    assert json.loads(told) == {"text": f"it is {HIDDEN}!"}, "still JSON"


def test_the_longest_goes_first_and_short_values_are_parts_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS, "A,B,C")
    monkeypatch.setenv("A", "word")
    monkeypatch.setenv("B", "word-and-more")
    monkeypatch.setenv("C", "abc")
    assert Hide()("word-and-more, word, abc") == f"{HIDDEN}, {HIDDEN}, abc"
    monkeypatch.delenv(SECRETS)
    assert hide("word") == "word"


def test_what_says_the_kind_of_a_value_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS, "A")
    monkeypatch.setenv("A", "Event")
    told = {
        "__class__": "Event",
        "of": ["an Event", 1, None],
        "step_key": "Event",
        "asset": {"__class__": "AssetKey", "path": ["Event"]},
    }
    assert hidden_in(told, hide) == {**told, "of": [f"an {HIDDEN}", 1, None]}


def test_a_line_s_end_that_a_shell_has_added_hides_no_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS, "A")
    monkeypatch.setenv("A", "Pa55word\n")
    assert hide("bad: Pa55word!") == f"bad: {HIDDEN}!"


@pytest.mark.parametrize("other", [{}, {"start_date": "2020-01-01", "end_date": "2019-07-01"}])
def test_a_long_value_that_a_settings_error_would_cut_is_hidden_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, str]
) -> None:
    long = "Pa55" + "-and-more" * 12 + "-Pa66"
    name = "FORECAST_PLATFORM_MLFLOW_TRACKING_URI" if other else "FORECAST_PLATFORM_TIMEZONE"
    monkeypatch.setenv(SECRETS, name)
    monkeypatch.setenv(name, long)
    with pytest.raises(RuntimeError) as caught, hidden():
        wrap(tmp_path, other)
    trace = "".join(traceback.format_exception(caught.value))
    assert "Pa55" not in trace
    assert "Pa66" not in trace
    assert ("end_date" if other else "timezone") in trace


def wrap(folder: Path, values: dict[str, str]) -> None:
    """As the code that loads the definitions does: an error around the settings' error."""
    try:
        build(warehouse=folder, **values)
    except SettingsError as error:
        raise RuntimeError("the definitions do not load") from error


def test_logs_of_handlers_that_were_there_before_do_not_show_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SECRETS, "A")
    monkeypatch.setenv("A", "Pa55word")
    log = logging.getLogger("of-the-runtime")
    handler = logging.StreamHandler()
    log.addHandler(handler)
    before = handler.stream
    try:
        with hidden():
            log.error("bad: Pa55word")
        assert handler.stream is before
    finally:
        log.removeHandler(handler)
    assert f"bad: {HIDDEN}" in capsys.readouterr().err


def test_an_exit_s_text_is_hidden_and_its_code_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS, "A")
    monkeypatch.setenv("A", "Pa55word")
    with pytest.raises(SystemExit, match=r"bad \*\*\*"), hidden():
        sys.exit("bad Pa55word")
    with pytest.raises(SystemExit) as stopped, hidden():
        sys.exit(3)
    assert stopped.value.code == 3


@hidden()
def show(secret: str) -> None:
    """Code that shows what it knows everywhere."""
    sys.stdout.writelines([f"out {secret}\n", "more\n"])
    sys.stderr.write(f"err {secret}\n")
    assert isinstance(sys.stdout, HidingStream)
    assert sys.stdout.encoding
    raise ValueError(f"refused: {secret}")


def test_nothing_printed_or_raised_shows_it(secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SecretShownError) as caught:
        show(secret)
    assert str(caught.value).startswith(f"ValueError: refused: {HIDDEN}\n")
    assert "test_redaction.py" in str(caught.value), "the traceback is told"
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert capsys.readouterr() == (f"out {HIDDEN}\nmore\n", f"err {HIDDEN}\n")
    with pytest.raises(ValueError, match="no such word"):
        show("no such word")


def test_the_reason_of_a_missing_forecast_is_stored_without_it(small: Path, secret: str) -> None:
    platform = Platform.from_settings(settings_for(small))
    day = dt.date(2018, 2, 1)
    failures(platform, "Alpha", "naive", "v1.0", {day: f"the feed said: {secret}"})
    rows = platform.warehouse.read(FORECAST_METADATA, ["error"], {"forecast_date": [day]})
    assert rows["error"].to_pylist() == [f"the feed said: {HIDDEN}"]
