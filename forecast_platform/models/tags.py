"""What a model declares of itself and its hyperparameters: for the registry, the computes and the contract suite."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kept = Literal["json", "folder", "pickle"]
"""How a fitted model is kept: JSON alone; JSON and files in formats that run no code; a library's pickles."""


@dataclass(frozen=True)
class ModelTags:
    """What a model is, as scikit-learn's estimator tags say it of an estimator."""

    extra: str | None = None
    """The optional extra of this package that its library comes with; None where the base install has it."""
    requires: tuple[str, ...] = ()
    """Modules that must be there to fit and simulate, such as prophet: what a missing extra is seen by."""
    prepares: tuple[str, ...] = ()
    """Modules that opening and simulating imports beyond those: a process that opens pickles has them before."""
    needs_gpu: bool = False
    scope: Literal["series", "panel"] = "series"
    """Fitted on one series, or on many at once: the daily graph fits one, a panel is a training job's."""
    tolerance: float = 0.0
    """Largest relative difference between two computations of the same paths; 0 is the same bits."""
    gives: Literal["paths", "quantiles"] = "paths"
    """Joint paths; or paths drawn from quantiles, where fewer paths need not be the first of more."""
    default: bool = True
    """Forecast with where the settings name no models."""
    slow_fit: bool = False
    """One fit takes over a second: such fits run in processes of their own, `workers` at a time."""
    time_limit: float | None = None
    """Seconds after which a fit is ended and its window fails; None where it ends by itself."""
    combines: bool = False
    """Made of other models' forecasts (`of` in the settings), which it reads beside the history."""
    kept: Kept = "json"


@dataclass(frozen=True)
class Hyperparameter:
    """One number, truth value or choice that the settings may set. An integer is taken where a float is wanted."""

    default: Any
    description: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None

    def checked(self, name: str, value: Any) -> Any:
        """`value` as the model reads it. Raises ValueError: the hyperparameter, the value and what is allowed."""
        wanted = type(self.default)
        if wanted is float and type(value) is int:
            value = float(value)
        if self.choices:
            if value not in self.choices or type(value) is not type(self.choices[0]):
                raise ValueError(f"{name} = {value!r}: one of {', '.join(map(repr, self.choices))}")
            return value
        if type(value) is not wanted:
            raise ValueError(f"{name} = {value!r}: {_A[wanted]} such as {self.default!r}")
        low, high = self.least, self.most
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            span = (
                f"at least {low:g}"
                if high is None
                else f"{low:g} to {high:g}"
                if low is not None
                else f"up to {high:g}"
            )
            raise ValueError(f"{name} = {value!r}: {span}")
        return value


_A = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

Hyperparameters = Mapping[str, Hyperparameter]


def checked_params(model: str, declared: Hyperparameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every declared hyperparameter's value: the given one or the default.

    Raises ValueError: an unknown one with the nearest that is declared, a wrong value with what is allowed.
    """
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(str(name), declared, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = f"it takes {', '.join(declared)}" if declared else "it takes none"
            raise ValueError(f"{model} has no hyperparameter {name!r}: {known}{hint}")
    return {name: one.checked(f"{model}: {name}", given.get(name, one.default)) for name, one in declared.items()}


@dataclass(frozen=True)
class ModelSpec:
    """A model by the name that its asset and rows have: which class, with which hyperparameters, over which members.

    Complete in itself, so that a worker elsewhere makes the same model from it.
    """

    name: str
    type: str
    module: str
    cls: str
    params: str = "{}"
    """The hyperparameters that were set, as canonical JSON."""
    of: tuple[str, ...] = field(default=())
    """Names of the models whose forecasts it reads."""

    @property
    def identity(self) -> str:
        """What of the settings makes its forecasts what they are; empty where nothing was set."""
        if self.params == "{}" and not self.of and self.type == self.name:
            return ""
        return json.dumps({"type": self.type, "params": json.loads(self.params), "of": list(self.of)}, sort_keys=True)

    def to_json(self) -> str:
        """As text, for a worker elsewhere."""
        return json.dumps(vars(self) | {"of": list(self.of)})

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The spec that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "of": tuple(values["of"])})

    def plain(self) -> Any:
        """As the settings take it: the name alone where that says all."""
        if not self.identity:
            return self.name
        said: dict[str, Any] = {"name": self.name, "type": self.type, "params": json.loads(self.params)}
        return {**said, "of": list(self.of)} if self.of else said


def canonical(params: Mapping[str, Any]) -> str:
    """Hyperparameters as JSON, the same text for the same values. Raises ValueError for a number that is none."""
    for name, value in params.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} = {value!r}: a finite number")
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"), allow_nan=False)
