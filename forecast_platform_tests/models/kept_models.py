"""Tiny models of a plugin: kept in files without code, kept as a pickle, and one whose fit takes too long."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from forecast_platform.forecasting.history import History
from forecast_platform.models.base import FittedModel, TrainingWindow
from forecast_platform.models.naive import Naive, NaiveFitted
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags
from forecast_platform.plugins.registry import Registry


class ArrayFitted(NaiveFitted):
    """Its JSON has the scale, a file the changes."""

    def to_json(self) -> str:
        return json.dumps({"scale": self.state["scale"]})

    def save(self, folder: Path) -> None:
        (folder / "parts").mkdir()
        np.save(folder / "parts" / "changes.npy", self.state["changes"], allow_pickle=False)


class PickledFitted(ArrayFitted):
    def save(self, folder: Path) -> None:
        (folder / "model.pkl").write_bytes(pickle.dumps({"changes": self.state["changes"]}, protocol=4))


class InFiles(Naive):
    name: ClassVar[str] = "in_files"
    tags: ClassVar[ModelTags] = ModelTags(kept="folder")
    fitted_type: ClassVar[type[FittedModel]] = ArrayFitted

    def fit(self, history: History, window: TrainingWindow) -> NaiveFitted:
        fitted = super().fit(history, window)
        return self.fitted_type(window, fitted.state)  # type: ignore[return-value]

    def load_folder(self, text: str, folder: Path, window: TrainingWindow) -> FittedModel:
        changes = np.load(folder / "parts" / "changes.npy", allow_pickle=False)
        return ArrayFitted(window, {**json.loads(text), "changes": changes})


class Pickled(InFiles):
    name: ClassVar[str] = "pickled"
    tags: ClassVar[ModelTags] = ModelTags(kept="pickle")
    fitted_type: ClassVar[type[FittedModel]] = PickledFitted

    def load_folder(self, text: str, folder: Path, window: TrainingWindow) -> FittedModel:
        loads = pickle.loads((folder / "model.pkl").read_bytes())
        return PickledFitted(window, {**json.loads(text), **loads})


class Endless(Naive):
    name: ClassVar[str] = "endless"
    tags: ClassVar[ModelTags] = ModelTags(time_limit=5.0)
    hyperparameters: ClassVar[Hyperparameters] = {"seconds": Hyperparameter(600.0, "How long a fit takes.", least=0.0)}

    def fit(self, history: History, window: TrainingWindow) -> NaiveFitted:
        time.sleep(self.params["seconds"])
        return super().fit(history, window)


def register(registry: Registry) -> None:
    registry.model(InFiles)
    registry.model(Pickled)
    registry.model(Endless)
