"""NeuralForecast's models on scaled returns: NHITS, TFT, or any other of the library by name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.models.base import FittedModel
from forecast_platform.models.quiet import quiet
from forecast_platform.models.scaled_returns import LEVELS, STEPS, ScaledReturnsFitted, ScaledReturnsModel
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags

_TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


class NeuralFitted(ScaledReturnsFitted):
    """State: as `ScaledReturnsFitted`; the files are safetensors and JSON, which run no code."""

    @cached_property
    def library(self) -> Any:
        """The library's object, loaded once."""
        from neuralforecast import NeuralForecast

        with quiet(prints=False):
            return NeuralForecast.load(path=str(self.files_folder()), allow_pickle=False)

    def step_quantiles(self, contexts: Floats) -> Floats:
        """See `ScaledReturnsFitted`. Raises ValueError where the library gives another number of levels."""
        with quiet(prints=False):
            made = self.library.predict(df=frame(contexts))
        columns = [name for name in made.columns if name not in ("unique_id", "ds")]
        if len(columns) != len(LEVELS):
            raise ValueError(f"the library gave {', '.join(columns)}: {len(LEVELS)} quantiles are wanted")
        return made[columns].to_numpy(np.float64).reshape(len(contexts), STEPS, len(LEVELS))


class Neural(ScaledReturnsModel):
    """A neural network of the library, trained on all levels at once (multi-quantile loss).

    One thread, fixed seeds and no time limit: the same fit of the same data on one kind of processor. An origin alone
    and among others differ in the last bits of float32.
    """

    name: ClassVar[str] = "neuralforecast"
    description: ClassVar[str] = "A neural network of NeuralForecast (NHITS by default) on scaled returns."
    tags: ClassVar[ModelTags] = ModelTags(
        extra="neural",
        requires=("neuralforecast", "torch"),
        default=False,
        slow_fit=True,
        tolerance=1e-5,
        kept="folder",
    )
    kind: ClassVar[str] = "pytorch"
    hyperparameters: ClassVar[Hyperparameters] = {
        "model": Hyperparameter("NHITS", "The library's model: NHITS, TFT, PatchTST, TiDE or another."),
        "max_steps": Hyperparameter(300, "Training steps.", least=1, most=100_000),
        "input_size": Hyperparameter(64, "Sessions that a forecast sees.", least=10, most=1000),
        "learning_rate": Hyperparameter(0.001, "Of the optimizer.", least=1e-6, most=1.0),
        "batch_size": Hyperparameter(32, "Windows a training step.", least=1, most=10_000),
        "seed": Hyperparameter(1, "Of the initial weights and the batches.", least=0, most=2**31),
    }
    fitted_type: ClassVar[type[FittedModel]] = NeuralFitted

    @property
    def context(self) -> int:
        """See `ScaledReturnsModel`."""
        return int(self.params["input_size"])

    def fit_library(self, r: Floats, folder: Path) -> None:
        """See `ScaledReturnsModel`. Raises ValueError for a model that the library does not have."""
        import neuralforecast.models as library
        import torch
        from neuralforecast import NeuralForecast
        from neuralforecast.losses.pytorch import MQLoss

        kind = getattr(library, self.params["model"], None)
        if not isinstance(kind, type) or self.params["model"].startswith("Auto"):
            raise ValueError(
                f"{self.name}: model = {self.params['model']!r}: NeuralForecast has no such model; it has "
                f"{', '.join(name for name in library.__all__ if not name.startswith('Auto'))}"
            )
        given: dict[str, Any] = {
            "h": STEPS,
            "input_size": self.context,
            "loss": MQLoss(quantiles=list(LEVELS)),
            "max_steps": self.params["max_steps"],
            "learning_rate": self.params["learning_rate"],
            "windows_batch_size": self.params["batch_size"],
            "random_seed": self.params["seed"],
            "scaler_type": "identity",
            **_TRAINER,
        }
        with quiet(prints=False), one_thread():
            torch.manual_seed(self.params["seed"])
            forecaster = NeuralForecast(models=[kind(**given)], freq=1)
            forecaster.fit(df=frame(r[None]))
            forecaster.save(path=str(folder), save_dataset=False, overwrite=True)
        for path in folder.glob("*.safetensors"):
            path.write_bytes(with_sorted_header(path.read_bytes()))


def with_sorted_header(data: bytes) -> bytes:
    """A safetensors file, its header's keys in order: the library writes its metadata in an order that differs between
    two files of the same model, and their hash is the model's identity.

    The format: eight bytes of the header's length (little-endian), the header as JSON padded with spaces, the tensors.
    """
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def frame(series: Floats) -> Any:
    """Series [n, length] as the library's long table, one step a session."""
    import pandas as pd

    n, length = series.shape
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(n), length),
            "ds": np.tile(np.arange(length), n),
            "y": series.ravel().astype(np.float32),
        }
    )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: its sums depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
