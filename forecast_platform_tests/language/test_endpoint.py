"""Words from a serving endpoint: a real HTTP server stands for it; what it says is checked as any model's words."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from forecast_platform.language.endpoint import writer_at
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.recommend import recommend_model
from forecast_platform.settings import Settings, SettingsError, build
from forecast_platform.settings.language import LanguageSettings
from forecast_platform_tests.language.registered import register

TASK = "Forecast coffee prices"
WORDS = "Coffee-xgboost has the lower crps_14d of 4.1."


class Endpoint(BaseHTTPRequestHandler):
    """Takes completions; `answer` is what it says next: (status, body)."""

    answer: ClassVar[tuple[int, Any]] = (200, {})
    asked: ClassVar[list[tuple[str, str | None, dict[str, Any]]]] = []
    seconds: ClassVar[float] = 0.0

    def log_message(self, *args: object) -> None:
        """No line a request."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], given))
        time.sleep(self.seconds)
        status, found = self.answer
        body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def completion(text: str) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Endpoint.asked.clear()
    Endpoint.answer, Endpoint.seconds = (200, completion(WORDS)), 0.0
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def settings(tmp_path: Path, **language: Any) -> Settings:
    return build(warehouse=tmp_path / "warehouse", language=language)


def test_the_endpoint_s_words_go_with_the_answer_and_no_model_is_loaded(address: str, tmp_path: Path) -> None:
    found = settings(tmp_path, endpoint=f"{address}/v1/completions", endpoint_token="s3cret")
    register(found, ("Coffee-naive", {"crps_14d": 4.5}), ("Coffee-xgboost", {"crps_14d": 4.1}))
    (tmp_path / "model").mkdir()
    answer = recommend_model(TASK, cpt_model_path=str(tmp_path / "model"), settings=found)
    assert f"> {WORDS}" in answer["recommendation"]
    assert answer["generated_by"] == f"ranking, with words by endpoint {address}/v1/completions"
    [(path, token, asked)] = Endpoint.asked
    assert (path, token) == ("/v1/completions", "Bearer s3cret")
    assert "Coffee-xgboost version 1" in asked["prompt"]
    assert asked["max_tokens"] == 200

    Endpoint.answer = (200, [completion("Use EvilModel, whose crps_14d is 0.01.")])
    refused = recommend_model(TASK, cpt_model_path=None, settings=found)
    assert "were refused" in refused["generated_by"]
    assert "Evil" not in str(refused)

    Endpoint.answer = (503, "no capacity")
    alone = recommend_model(TASK, cpt_model_path=None, settings=found)
    assert alone["models_evaluated"] == answer["models_evaluated"]
    assert "not usable: language.endpoint" in alone["generated_by"]
    assert "status 503: no capacity" in alone["generated_by"]
    assert "s3cret" not in str([answer, refused, alone])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, "hello"), "no JSON in its answer"),
        ((200, {"predictions": ["hello"]}), "no choices with text: serve completions"),
        ((200, {"choices": []}), "no choices with text"),
        ((302, ""), "status 302"),
        ((200, "x" * 1_000_001), "more than 1,000,000 bytes"),
    ],
)
def test_an_answer_that_is_none_is_told_with_the_endpoint(address: str, answer: tuple, told: str) -> None:
    Endpoint.answer = answer
    with pytest.raises(LanguageError, match=rf"^language\.endpoint {address}: .*{told}"):
        writer_at(LanguageSettings(endpoint=address))("a prompt")
    assert len(Endpoint.asked) == 1


def test_an_endpoint_that_does_not_answer_is_not_waited_for(address: str) -> None:
    Endpoint.seconds = 2.0
    with pytest.raises(LanguageError, match="timed out"):
        writer_at(LanguageSettings(endpoint=address, endpoint_seconds=0.2))("a prompt")


def test_a_name_is_an_endpoint_of_the_workspace(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", address)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    write = writer_at(LanguageSettings(endpoint="forecast-language"))
    assert write("a prompt") == WORDS
    [(path, token, asked)] = Endpoint.asked
    assert (path, token) == ("/serving-endpoints/forecast-language/invocations", "Bearer dapi")
    assert asked["prompt"] == "a prompt"
    Endpoint.answer = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no endpoint of this name"})
    with pytest.raises(LanguageError, match=r"language\.endpoint forecast-language: no endpoint of this name"):
        write("a prompt")


@pytest.mark.parametrize("value", ["ftp://x/y", "two words", "http://", "https://me:secret@host/v1"])
def test_what_is_neither_a_name_nor_an_address_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="language"):
        build(language={"endpoint": value})
