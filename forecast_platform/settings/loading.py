"""The settings of a process: from the environment and the YAML file, with errors that name what is wrong."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pydantic_settings
from pydantic import ValidationError

from forecast_platform.settings.parts import (
    SettingsError,
    did_you_mean,
    refuse_unknown_variables,
)
from forecast_platform.settings.root import PREFIX, Settings
from forecast_platform.settings.training_jobs import ENVIRONMENT
from forecast_platform.settings.yaml_file import read_yaml

SECRETS = (
    *("webhook_url", "slack_webhook_url", "email.password", "artifact_key", "web_token", "language.endpoint_token"),
    *("training_jobs.tokens", "training_jobs.webhook_url", "training_jobs.webhook_secret"),
)
"""Settings whose values are never repeated, nor what is within them."""


def describe(error: ValidationError) -> str:
    """One line a wrong setting: its name, its value, what is allowed."""
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if name in ENVIRONMENT and name not in Settings.model_fields and item["type"] != "extra_forbidden":
            name = f"training_jobs.{name}"  # made by default, of nothing but those variables
        # What was given as a secret, or with one beside it, is not repeated.
        secret = any(name == one or name.startswith(f"{one}.") for one in SECRETS)
        hidden = secret or isinstance(item.get("input"), dict)
        value = "..." if hidden else item.get("input")
        allowed = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            known = (
                did_you_mean(name, Settings.model_fields) if len(item["loc"]) == 1 else ", see docs/configuration.md"
            )
            lines.append(f"{name}: no such setting{known}")
            continue
        if not name:
            lines.append(allowed)
            continue
        lines.append(f"{name} ({_variable(name, item.get('input'))}) = {value!r}: {allowed}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def _variable(name: str, given: Any) -> str:
    """The variable that a setting is given by: one of the deployments' own where that holds the value."""
    first, _, field = name.partition(".")
    other = ENVIRONMENT.get(field, "") if first == "training_jobs" else ""
    return other if other and os.environ.get(other) == given else f"{PREFIX}{first.upper()}"


@cache
def load() -> Settings:
    """The settings of this process, read once. Raises SettingsError."""
    return build()


def build(**values: Any) -> Settings:
    """Settings from `values`, the environment and the YAML file. Raises SettingsError."""
    try:
        refuse_unknown_variables(Settings.model_fields, PREFIX)
        path = values.get("config") or os.environ.get(f"{PREFIX}CONFIG")
        if path:
            read_yaml(Path(path), f"{PREFIX}CONFIG")
        return Settings(**values)
    except pydantic_settings.SettingsError as error:
        name = re.findall(r'field "(\w+)"', str(error))[:1]
        variable = f"{PREFIX}{name[0].upper()}" if name else PREFIX
        holds = any(secret.startswith(f"{name[0]}.") for secret in SECRETS) if name else True
        given = "..." if holds else repr(os.environ.get(variable))
        raise SettingsError(f"{variable} = {given}: JSON is needed, such as a list or a mapping") from None
    except ValidationError as error:
        # Alone: its own text shows what was given, cut, so that a secret in it could not be told any more.
        raise SettingsError(describe(error)) from None
