"""The components that a YAML file names: `type: forecast_platform.components.Pretraining`. Loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Pretraining": "forecast_platform.graph.components.pretraining",
}

__all__ = ["Pretraining"]  # noqa: F822 - by __getattr__


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
