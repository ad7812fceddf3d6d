"""Neural networks for tables: RealMLP (Holzmüller et al. 2024) of pytabkit, and TabNet (Arik and Pfister 2021).

Fitted on the processor, or on a GPU where there is one, they are kept for the processor and predict on it: what a GPU
has fitted loads where there is none. RealMLP is kept as TorchScript. TabNet is kept as the library's own archive: its
parameters as JSON, and its weights as `torch.save` writes them, which is a pickle inside. The library opens that by
`torch.load` with torch's default, which since torch 2.6 is `weights_only`: tensors are read, anything else is refused.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles.gpu import CPU, one_network, repeating
from forecast_platform.models.quiet import quiet

_CHECKED = 0.12
"""Share of the rows on which the best epoch is found."""


def fit(
    learner: str, params: dict[str, Any], x: Any, y: NDArray[Any], n_classes: int, seed: int, device: str = CPU
) -> Any:
    """A network fitted on encoded rows, a frame of n, and their targets y [n], with one thread or on a GPU.

    device: cpu or cuda. Raises FitEndedError, and GpuError where a GPU fails.
    """
    x = _filled(x)
    make = _fit_realmlp if learner == "realmlp" else _fit_tabnet
    with one_network(), nullcontext() if device == CPU else repeating(learner):
        return make(params, x, y, n_classes, seed, device)


def predict(learner: str, model: Any, x: Any, n_classes: int) -> NDArray[np.float64]:
    """Probabilities [n, classes], or numbers [n]."""
    x = _filled(x)
    if learner == "tabnet":
        found = model.predict_proba(x) if n_classes else model.predict(x)[:, 0]
        return np.asarray(found, np.float64)
    import torch

    with torch.no_grad():
        parts = [model(torch.from_numpy(x[start : start + 4096])) for start in range(0, len(x), 4096)]
    scores = torch.cat(parts).double().numpy() if parts else np.zeros((0, max(n_classes, 1)))
    if not n_classes:
        return scores[:, 0]
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True)) if len(scores) else scores
    return shifted / shifted.sum(axis=1, keepdims=True)


def files(model: Any) -> dict[str, bytes]:
    """The network as files."""
    import torch

    if isinstance(model, torch.jit.ScriptModule):
        sink = io.BytesIO()
        torch.jit.save(model, sink)
        return {"model.torchscript": sink.getvalue()}
    with tempfile.TemporaryDirectory(prefix="forecast-base-") as folder, quiet(prints=False):
        path = Path(model.save_model(str(Path(folder) / "model")))
        return {"model.zip": path.read_bytes()}


def load(learner: str, kept: Mapping[str, bytes], n_classes: int) -> Any:
    """The network of these files."""
    if learner == "realmlp":
        import torch

        return torch.jit.load(io.BytesIO(kept["model.torchscript"]), map_location="cpu").eval()
    from pytorch_tabnet.tab_model import TabNetClassifier, TabNetRegressor

    model = TabNetClassifier(device_name="cpu") if n_classes else TabNetRegressor(device_name="cpu")
    with quiet(prints=False):
        model.load_model(io.BytesIO(kept["model.zip"]))
    return model


def _filled(x: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.nan_to_num(np.asarray(x, np.float32)))


def _fit_realmlp(
    params: dict[str, Any], x: NDArray[np.float32], y: NDArray[Any], n_classes: int, seed: int, device: str
) -> Any:
    import torch
    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

    kind = RealMLP_TD_S_Classifier if n_classes else RealMLP_TD_S_Regressor
    fixed = {"device": device, "random_state": seed, "n_threads": 1, "n_cv": 1, "n_refit": 0, "verbosity": 0}
    with quiet(prints=False):
        fitted = kind(**params, **fixed, val_fraction=_CHECKED).fit(x, y if n_classes else y.astype(np.float32))
        # Traced on the processor: a trace keeps the device that it was made on.
        network = _network(fitted).to(CPU)
        sample = torch.from_numpy(x[: min(len(x), 16)])
        return torch.jit.trace(network, sample, check_trace=False).eval()


def _network(fitted: Any) -> Any:
    """The fitted network as one module of rows: pytabkit's own preprocessing layers, then the network."""
    import torch

    found = _interface(fitted.alg_interface_)
    if found is None:
        raise RuntimeError("this pytabkit keeps its network elsewhere: install pytabkit 1.7")
    module = found.model

    class Rows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.static, self.network = module.creator.static_model, module.model

        def forward(self, x: Any) -> Any:
            batch = {"x_cont": x, "x_cat": torch.zeros((x.shape[0], 0), dtype=torch.long)}
            ready = {name: values[None] for name, values in self.static.forward_tensors(batch).items()}
            return self.network(ready)["x_cont"][0]

    module.model.eval()
    return Rows().eval()


def _interface(one: Any, depth: int = 0) -> Any:
    """pytabkit's interface of a single network, inside those of splits and calibration."""
    if type(one).__name__ == "NNAlgInterface":
        return one
    for value in vars(one).values() if depth < 7 and hasattr(one, "__dict__") else ():
        for inner in value if isinstance(value, list) else [value]:
            name = type(inner).__name__
            if ("Interface" in name or "Wrapper" in name) and (found := _interface(inner, depth + 1)) is not None:
                return found
    return None


def _fit_tabnet(
    params: dict[str, Any], x: NDArray[np.float32], y: NDArray[Any], n_classes: int, seed: int, device: str
) -> Any:
    from pytorch_tabnet.tab_model import TabNetClassifier, TabNetRegressor

    order = np.random.default_rng(seed).permutation(len(y))
    held, rest = np.split(order, [max(8, round(_CHECKED * len(y)))])
    if n_classes and len(np.unique(y[rest])) < n_classes:
        rest = order
    kind = TabNetClassifier if n_classes else TabNetRegressor
    target = y if n_classes else y.reshape(-1, 1)
    size = int(min(1024, max(32, len(rest) // 8)))
    with quiet(prints=False):
        model = kind(seed=seed, verbose=0, device_name=device, n_d=16, n_a=16)
        known = held[np.isin(y[held], y[rest])] if n_classes else held
        model.fit(
            x[rest], target[rest], eval_set=[(x[known], target[known])], patience=12, batch_size=size,
            virtual_batch_size=min(128, size), drop_last=True, **params,
        )  # fmt: skip
    # Some of its tensors are no parameters, and would stay on the GPU: what is read from its files is whole.
    return model if device == CPU else load("tabnet", files(model), n_classes)
