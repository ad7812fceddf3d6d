"""The plain task `describe`: what the place is like where a compute's work is done."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from forecast_platform import __version__

LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "xgboost-cpu", "statsforecast")


def describe(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Versions of Python, this package and the libraries that a fit may use, the machine and its cores.

    payload: `libraries`, names of distributions to look for instead. A distribution that is not there is null.
    """
    return {
        "forecast_platform": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "libraries": {name: _version(name) for name in payload.get("libraries", LIBRARIES)},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
