"""The parameters of a run on a cluster: its errors, and the settings that they name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from forecast_platform.settings import PREFIX, Settings, build


class TaskFailedError(RuntimeError):
    """Some keys were not made; those that were are in the tables."""


class ParameterError(ValueError):
    """A parameter is wrong; nothing was done."""


def settings_for(given: Mapping[str, str]) -> Settings:
    """The settings of this run: the file that `config` names, else the cluster's environment."""
    values: dict[str, Any] = {}
    if "config" in given:
        # The environment names the file, so that workers and later code in this process find the same settings.
        os.environ[f"{PREFIX}CONFIG"] = given["config"]
    if "compute" in given:
        values["compute"] = given["compute"]
    return build(**values)
