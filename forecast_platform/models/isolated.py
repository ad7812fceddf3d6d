"""Models whose library can load nothing but pickle, simulated in a process of their own.

What goes over: one JSON file and arrays without objects (`.npy`), in a folder of its own; back comes one array, checked
for type and shape. The process has none of this one's environment but where Python finds its modules, and no other
model's files (`prepared.py`). That keeps secrets and this process' memory from what a pickle may do; it is no sandbox:
the process has the account's rights, so a pickle is opened only where this warehouse's own signed manifest names its
hash (`work/signing.py`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Dates, History, RollSchedule
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Paths, TrainingWindow
from forecast_platform.models.prepared import EndedError, work
from forecast_platform.models.tags import ModelSpec

SECONDS = 3600.0
"""Longest simulation where the model's tag `time_limit` says nothing."""


class IsolatedError(RuntimeError):
    """The process ended without paths; the message is the last of what it said."""


@dataclass(frozen=True)
class IsolatedFitted(FittedModel):
    """Stands for a fitted model that lives only in another process, while that simulates."""

    spec: ModelSpec
    text: str
    folder: Path

    def simulate(self, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks) -> Paths:
        """See `FittedModel.simulate`. Raises IsolatedError; TimeoutExpired after the model's time limit."""
        wanted = (len(origins), n_paths, horizon)
        with tempfile.TemporaryDirectory(prefix="forecast-isolated-") as made:
            exchange = Path(made)
            request = {
                "spec": self.spec.to_json(),
                "text": self.text,
                "folder": str(self.folder),
                "window": [str(self.window.start), str(self.window.end)],
                "horizon": horizon,
                "n_paths": n_paths,
                "shocks": [shocks.seed, shocks.n_slots],
                "history": _write(exchange, "history", {item.name: getattr(history, item.name) for item in _FIELDS}),
            }
            np.save(exchange / "origins.npy", np.asarray(origins, "datetime64[D]"), allow_pickle=False)
            (exchange / "request.json").write_text(json.dumps(request), encoding="utf-8")
            tags = registry.model_of(self.spec).tags
            try:
                modules = (__name__, self.spec.module, *tags.requires, *tags.prepares)
                work(modules, exchange, tags.time_limit or SECONDS)
            except EndedError as error:
                raise IsolatedError(f"{self.spec.name}: {error}") from None
            axes = json.loads((exchange / "axes.json").read_text(encoding="utf-8"))
            stored = np.load(exchange / "paths.npy", allow_pickle=False)
        if sorted(axes) != list(range(stored.ndim)):
            raise IsolatedError(f"{self.spec.name}: its process gave axes {axes} of an array of {stored.ndim}")
        paths: Paths = stored.transpose(np.argsort(axes))
        if paths.dtype != np.float32 or paths.shape != wanted:
            raise IsolatedError(f"{self.spec.name}: its process gave {paths.dtype} {paths.shape}, not float32 {wanted}")
        return paths

    def training_metrics(self) -> dict[str, float]:
        """None: they were taken when it was fitted."""
        return {}

    def to_json(self) -> str:
        """The text beside its files."""
        return self.text


_FIELDS = [item for item in fields(History) if item.init]


def _write(exchange: Path, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as they are, arrays as files of their own; raises TypeError for anything else."""
    said: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            file = f"{name}.{len(list(exchange.iterdir()))}.npy"
            np.save(exchange / file, value, allow_pickle=False)
            said[key] = {"array": file}
        elif isinstance(value, Mapping):
            said[key] = {"mapping": _write(exchange, name, value)}
        elif isinstance(value, RollSchedule):
            said[key] = {"schedule": _write(exchange, name, vars(value))}
        elif value is None or isinstance(value, str | int | float | bool):
            said[key] = {"value": value}
        else:
            raise TypeError(f"{name}.{key} is a {type(value).__name__}: arrays, mappings and plain values go over")
    return said


def _read(exchange: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in said.items():
        if "array" in item:
            found[key] = np.load(exchange / item["array"], allow_pickle=False)
        elif "schedule" in item:
            found[key] = RollSchedule(**_read(exchange, item["schedule"]))
        else:
            found[key] = _read(exchange, item["mapping"]) if "mapping" in item else item["value"]
    return found


def main(exchange: Path) -> None:
    """The process: load the model from its folder, simulate, leave the paths."""
    request = json.loads((exchange / "request.json").read_text(encoding="utf-8"))
    spec = ModelSpec.from_json(request["spec"])
    start, end = (np.datetime64(day, "D") for day in request["window"])
    fitted = registry.demand(spec).load_folder(request["text"], Path(request["folder"]), TrainingWindow(start, end))
    history = History(**_read(exchange, request["history"]))
    origins = np.load(exchange / "origins.npy", allow_pickle=False)
    paths = fitted.simulate(history, origins, request["horizon"], request["n_paths"], Shocks(*request["shocks"]))
    # As they lie in memory: to write them in another order takes longer than many a model's forecasts.
    axes = sorted(range(paths.ndim), key=lambda axis: -paths.strides[axis])
    (exchange / "axes.json").write_text(json.dumps(axes), encoding="utf-8")
    # Whole for whoever waits, but not synced: who waits ends with the machine, and does the work again.
    temporary = exchange / "paths.tmp"
    with temporary.open("wb") as sink:
        np.save(sink, paths.transpose(axes), allow_pickle=False)
    temporary.replace(exchange / "paths.npy")
