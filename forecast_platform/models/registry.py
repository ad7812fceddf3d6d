"""The models by name. Modules are imported on first use, so definitions load without any model library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from forecast_platform.models.base import Model
from forecast_platform.models.tags import ModelSpec, canonical


@dataclass(frozen=True)
class Entry:
    """Where a model lives, and what the asset graph shows of it without importing its library."""

    module: str
    cls: str
    description: str
    kind: str
    default: bool = True
    """As the tag: forecast with where the settings name no models."""


class MissingExtraError(ImportError):
    """A model's library is not installed; the message names the command that installs it."""


_ENTRIES: dict[str, Entry] = {}
_FAMILIES: dict[str, Entry] = {}
"""Types that are a library's models by name, `statsforecast:MSTL`: their class has `variant(name)`."""


def register(name: str, module: str, cls: str, description: str, kind: str, *, default: bool = True) -> None:
    """Add a model. Raises ValueError for a name that is taken: two models must not share one."""
    if name in _ENTRIES:
        raise ValueError(f"model {name!r} is registered twice: {_ENTRIES[name].module} and {module}")
    _ENTRIES[name] = Entry(module, cls, description, kind, default)


def register_family(name: str, module: str, cls: str, description: str, kind: str) -> None:
    """Add a library whose models are types by `name:Model`; they are named in the settings, and never on by default."""
    _FAMILIES[name] = Entry(module, cls, description, kind, default=False)


def families() -> list[str]:
    """The libraries whose models are types by name."""
    return list(_FAMILIES)


def is_type(name: str) -> bool:
    """Whether a model of this type can be made: a registered one, or one of a family. Raises ValueError for a family's
    name with what is none of its models."""
    family, colon, variant = name.partition(":")
    if colon and family in _FAMILIES:
        return _class_of(_FAMILIES[family].module, _FAMILIES[family].cls, name) is not None
    return name in _ENTRIES


def names() -> list[str]:
    """Every registered model's name, in registration order."""
    return list(_ENTRIES)


def default_names() -> list[str]:
    """Those that the settings have where they name none."""
    return [name for name, found in _ENTRIES.items() if found.default]


def entry(name: str) -> Entry:
    """What is registered under `name`; ValueError with the known names otherwise."""
    family, colon, _ = name.partition(":")
    if colon and family in _FAMILIES:
        return _FAMILIES[family]
    if name not in _ENTRIES:
        raise ValueError(f"model {name!r} is not registered; known models: {', '.join(_ENTRIES)}")
    return _ENTRIES[name]


def model_class(name: str) -> type[Model]:
    """The class registered under `name`. Its module is imported, which needs none of the model's library."""
    found = entry(name)
    return _class_of(found.module, found.cls, name)


def get(name: str) -> Model:
    """The model registered under `name` as it is without settings, its module imported on the first call."""
    return model_of(spec(name))


def spec(
    name: str, type_name: str | None = None, params: Mapping[str, Any] | None = None, of: Sequence[str] = ()
) -> ModelSpec:
    """What makes the model of a registered type that goes by `name`. Raises ValueError for an unknown type."""
    found = entry(type_name or name)
    return ModelSpec(name, type_name or name, found.module, found.cls, canonical(params or {}), tuple(of))


@cache
def model_of(wanted: ModelSpec) -> Model:
    """The model that a spec describes; made once. Raises ValueError where its hyperparameters are not allowed."""
    model_type = _class_of(wanted.module, wanted.cls, wanted.type)
    return model_type(json.loads(wanted.params), wanted.of)


def missing(model: Model | type[Model], name: str) -> str | None:
    """Why a model cannot be used here, with the mend; None where its library is there."""
    tags = model.tags
    absent = [module for module in tags.requires if not _is_there(module)]
    if not absent:
        return None
    mend = f"'forecast-platform[{tags.extra}]'" if tags.extra else " ".join(absent)
    return f"model {name!r} needs {', '.join(absent)}: install it with `python -m pip install {mend}`"


def demand(wanted: ModelSpec) -> Model:
    """The model, to be used now. Raises MissingExtraError where its library is not installed."""
    model = model_of(wanted)
    if reason := missing(model, wanted.name):
        raise MissingExtraError(reason)
    return model


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


@cache
def _class_of(module: str, cls: str, name: str) -> type[Model]:
    found = import_module(module)
    for part in cls.split("."):
        found = getattr(found, part)
    family, colon, variant = name.partition(":")
    model_type: type[Model] = found.variant(variant) if colon and family in _FAMILIES else found  # type: ignore
    if model_type.name != name:
        raise ValueError(f"{module}.{cls}.name is {model_type.name!r}, but it is registered as {name!r}")
    return model_type


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
register(
    "range_walk",
    f"{_HERE}.range_walk",
    "RangeWalk",
    "A random walk whose volatility follows the days' ranges, at a fitted speed.",
    "python",
    default=False,
)
register(
    "season_walk",
    f"{_HERE}.season_walk",
    "SeasonWalk",
    "A random walk whose volatility has a season of the year.",
    "python",
    default=False,
)
register(
    "combine",
    f"{_HERE}.combine",
    "Combine",
    "A pool of other models' paths.",
    "python",
    default=False,
)
register_family(
    "statsforecast",
    f"{_HERE}.statsforecast_zoo",
    "StatsForecast",
    "A model of statsforecast by name, fitted once a window and carried on.",
    "statsforecast",
)
register(
    "prophet",
    f"{_HERE}.prophet",
    "Prophet",
    "Prophet's trend and yearly season, anchored at the last close.",
    "python",
    default=False,
)
register(
    "neuralforecast",
    f"{_HERE}.neural",
    "Neural",
    "A neural network of NeuralForecast (NHITS by default) on scaled returns.",
    "pytorch",
    default=False,
)
register(
    "autogluon",
    f"{_HERE}.autogluon",
    "AutoGluon",
    "A global model of AutoGluon (recursive boosted trees by default) on scaled returns.",
    "python",
    default=False,
)
