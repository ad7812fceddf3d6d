"""Plain kinds of tasks that do what tests need."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecast_platform.work.tasks import register


def double(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"value": 2 * payload["value"], "process": os.getpid(), "pair": (1, 2)}


def refuse(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ValueError(f"{payload['value']} is refused")


def die(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_for_a_file(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say in one file that it is at work, and wait for another."""
    Path(payload["begun"]).write_text(str(os.getpid()))
    while not Path(payload["go_on"]).exists():
        time.sleep(0.01)
    return {}


def no_json(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"value": float("nan")}


def register_all() -> None:
    """Know them in this process; another one does so when it imports this module."""
    for work in (double, refuse, die, wait_for_a_file, no_json):
        register(work.__name__, work)


register_all()
