"""The public names of the Dagster components, for `defs.yaml` and `dg scaffold`; each loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Ensemble": "forecast_platform.graph.components.ensemble",
    "Pretraining": "forecast_platform.graph.components.pretraining",
}

__all__ = ["Ensemble", "Pretraining"]  # noqa: F822 - by __getattr__


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"{__name__} has no component {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(_WHERE)
