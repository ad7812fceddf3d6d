"""The models by name. Modules are imported on first use, so definitions load without any model library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from forecast_platform.models.base import Model


@dataclass(frozen=True)
class Entry:
    """Where a model lives, and what the asset graph shows of it without importing its library."""

    module: str
    cls: str
    description: str
    kind: str


_ENTRIES: dict[str, Entry] = {}


def register(name: str, module: str, cls: str, description: str, kind: str) -> None:
    """Add a model. A later registration of the same name is an error: two models must not share a name."""
    if name in _ENTRIES:
        raise ValueError(f"model {name!r} is registered twice: {_ENTRIES[name].module} and {module}")
    _ENTRIES[name] = Entry(module, cls, description, kind)


def names() -> list[str]:
    """Every registered model's name, in registration order."""
    return list(_ENTRIES)


def entry(name: str) -> Entry:
    """What is registered under `name`; ValueError with the known names otherwise."""
    if name not in _ENTRIES:
        raise ValueError(f"model {name!r} is not registered; known models: {', '.join(_ENTRIES)}")
    return _ENTRIES[name]


@cache
def get(name: str) -> Model:
    """The model registered under `name`, its module imported on the first call."""
    found = entry(name)
    model: Model = getattr(import_module(found.module), found.cls)()
    if model.name != name:
        raise ValueError(f"{found.module}.{found.cls}.name is {model.name!r}, but it is registered as {name!r}")
    return model


_HERE = "forecast_platform.models"
register("naive", f"{_HERE}.naive", "Naive", "The last close, with a bootstrap of past trading-day changes.", "python")
register(
    "random_walk",
    f"{_HERE}.random_walk",
    "RandomWalk",
    "A random walk whose volatility follows the recent past (filtered historical simulation).",
    "python",
)
register(
    "xgboost",
    f"{_HERE}.gradient_boosting",
    "GradientBoosting",
    "Boosted trees on lags, rolling statistics, calendar and covariates; paths simulated recursively.",
    "xgboost",
)
register(
    "sarimax_auto_weather",
    f"{_HERE}.sarimax",
    "SarimaxAutoWeather",
    "ARIMA errors around weather covariates, orders found by pmdarima.",
    "pmdarima",
)
register("auto_arima", f"{_HERE}.auto_arima", "AutoArima", "ARIMA with statsforecast's order search.", "statsforecast")
register("auto_ets", f"{_HERE}.auto_ets", "AutoEts", "Exponential smoothing with automatic form.", "statsforecast")
register("auto_theta", f"{_HERE}.auto_theta", "AutoTheta", "The theta method with automatic form.", "statsforecast")
