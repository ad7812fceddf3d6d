"""A language model behind a serving endpoint, asked over HTTP: nothing is loaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from forecast_platform.language.errors import LanguageError
from forecast_platform.settings.language import LanguageSettings

NEW_TOKENS = 200
TEMPERATURE = 0.7
_LARGEST = 1_000_000
"""Bytes of an answer at most: a completion of NEW_TOKENS is a few thousand."""


def writer_at(settings: LanguageSettings) -> Callable[[str], str]:
    """What writes after a prompt at `settings.endpoint`: an address, or an endpoint's name in the workspace.

    The writer raises LanguageError where the endpoint does not answer in time, refuses, or answers with no text.
    """
    endpoint = settings.endpoint
    if endpoint is None:
        raise LanguageError("language.endpoint: not set: name a serving endpoint, or its address")
    ask = _address if "://" in endpoint else _workspace

    def write(prompt: str) -> str:
        return _text(ask(settings, prompt), endpoint)

    return write


def _address(settings: LanguageSettings, prompt: str) -> Any:
    import requests

    token = settings.endpoint_token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    asked = {"prompt": prompt, "max_tokens": NEW_TOKENS, "temperature": TEMPERATURE}
    try:
        # A redirect could carry the prompt, and a token, to somebody else.
        with requests.post(
            str(settings.endpoint),
            json=asked,
            headers=headers,
            timeout=settings.endpoint_seconds,
            allow_redirects=False,
            stream=True,
        ) as reply:
            body = reply.raw.read(_LARGEST + 1, decode_content=True)
            if reply.status_code != 200:
                said = body[:200].decode("utf-8", "replace")
                raise LanguageError(f"language.endpoint {settings.endpoint}: status {reply.status_code}: {said}")
    except requests.RequestException as error:
        raise LanguageError(f"language.endpoint {settings.endpoint}: {error}") from error
    if len(body) > _LARGEST:
        raise LanguageError(f"language.endpoint {settings.endpoint}: more than {_LARGEST:,} bytes in an answer")
    import json

    try:
        return json.loads(body)
    except ValueError as error:
        raise LanguageError(f"language.endpoint {settings.endpoint}: no JSON in its answer ({error})") from error


def _workspace(settings: LanguageSettings, prompt: str) -> Any:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config
    from databricks.sdk.errors import DatabricksError

    seconds = int(settings.endpoint_seconds) or 1
    try:
        client = WorkspaceClient(config=Config(http_timeout_seconds=seconds, retry_timeout_seconds=seconds))
        answer = client.serving_endpoints.query(
            str(settings.endpoint), prompt=prompt, max_tokens=NEW_TOKENS, temperature=TEMPERATURE
        )
    except (DatabricksError, ValueError, TimeoutError, OSError) as error:
        raise LanguageError(f"language.endpoint {settings.endpoint}: {str(error).splitlines()[0]}") from error
    return answer.as_dict()


def _text(answer: Any, endpoint: str) -> str:
    """The completion's text; MLflow's server puts a completion into a list of one."""
    found = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    choices = found.get("choices") if isinstance(found, Mapping) else None
    text = choices[0].get("text") if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else None
    if not isinstance(text, str):
        raise LanguageError(f"language.endpoint {endpoint}: its answer has no choices with text: serve completions")
    return text
