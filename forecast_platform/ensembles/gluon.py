"""AutoGluon Tabular as a base model: several models that it weighs, fitted and asked in a process of its own.

The library keeps nothing but pickles. They are opened in that process alone, which has none of this one's environment
and no other model's files (`models/prepared.py`); rows go over as Parquet, and probabilities or numbers come back as an
array without objects.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles import ending
from forecast_platform.models.folder_files import read_files, write_files
from forecast_platform.models.prepared import EndedError, work

MODULES = (__name__, "autogluon.tabular", "autogluon.tabular.models", "lightgbm", "catboost", "xgboost", "torch")
_SECONDS = 24 * 3600.0
"""Longest request where the task has no end."""
_TARGET = "\x00target"
"""No column of a table has this name."""

Floats = NDArray[np.float64]


class GluonError(RuntimeError):
    """AutoGluon's process ended without what it was asked for; the message is the last of what it said."""


@dataclass
class Gluon:
    """A fitted predictor: the files of its folder by relative path, pickles among them.

    cpu_seconds: processor time that its process has taken for it so far.
    """

    files: Mapping[str, bytes]
    n_classes: int
    cpu_seconds: float = field(default=0.0, compare=False)

    def predict(self, x: Any) -> Floats:
        """Probabilities [n, classes], or numbers [n]. Raises GluonError, FitEndedError."""
        with tempfile.TemporaryDirectory(prefix="forecast-gluon-") as made:
            folder = Path(made)
            write_files(self.files, folder / "model")
            self.cpu_seconds += _asked(folder, {"n_classes": self.n_classes}, x)
            found = np.load(folder / "predicted.npy", allow_pickle=False)
        wanted = (len(x), self.n_classes) if self.n_classes else (len(x),)
        if found.dtype != np.float64 or found.shape != wanted:
            raise GluonError(f"autogluon: its process gave {found.dtype} {found.shape}, not float64 {wanted}")
        return np.asarray(found)


def fit(params: Mapping[str, Any], x: Any, y: NDArray[Any], n_classes: int, seed: int) -> Gluon:
    """A predictor fitted on a frame of numbers and texts, and class codes or numbers y [n].

    With one thread, and without the library's time limit: what it gives must not depend on how busy the machine was.
    Raises GluonError; FitEndedError where the time of the task is over.
    """
    with tempfile.TemporaryDirectory(prefix="forecast-gluon-") as made:
        folder = Path(made)
        np.save(folder / "target.npy", y, allow_pickle=False)
        spent = _asked(folder, {"n_classes": n_classes, "seed": seed, **params}, x)
        return Gluon(read_files(folder / "model"), n_classes, spent)


def _asked(folder: Path, request: Mapping[str, Any], x: Any) -> float:
    """Have a request worked on; returns its processor seconds."""
    x.to_parquet(folder / "rows.parquet", index=False)
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    left = ending.seconds_left()
    try:
        work(MODULES, folder, _SECONDS if left is None else max(left, 0.01))
    except subprocess.TimeoutExpired:
        if left is None:
            raise GluonError(f"autogluon: over {_SECONDS / 3600:g} hours") from None
        raise ending.FitEndedError from None
    except EndedError as error:
        raise GluonError(f"autogluon: {error}") from None
    return float(json.loads((folder / "spent.json").read_text(encoding="utf-8")))


def main(folder: Path) -> None:
    """The process: fit where there is a target, else predict."""
    import pandas as pd

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    rows = pd.read_parquet(folder / "rows.parquet")
    if (folder / "target.npy").is_file():
        _fit(folder, request, rows.assign(**{_TARGET: np.load(folder / "target.npy", allow_pickle=False)}))
    else:
        _predict(folder, request["n_classes"], rows)
    (folder / "spent.json").write_text(json.dumps(time.process_time()), encoding="utf-8")


def _fit(folder: Path, request: Mapping[str, Any], rows: Any) -> None:
    from autogluon.tabular import TabularPredictor

    classes = request["n_classes"]
    predictor = TabularPredictor(
        _TARGET,
        problem_type="regression" if not classes else "binary" if classes == 2 else "multiclass",
        eval_metric="log_loss" if classes else "root_mean_squared_error",
        path=str(folder / "model"),
        verbosity=0,
        learner_kwargs={"random_state": request["seed"]},
    )
    predictor.fit(
        rows, hyperparameters=request["hyperparameters"], num_cpus=1, num_gpus=0, time_limit=None, calibrate=False
    )
    predictor.delete_models(models_to_keep="best", dry_run=False)
    predictor.save_space()


def _predict(folder: Path, n_classes: int, rows: Any) -> None:
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor.load(str(folder / "model"), verbosity=0)
    if not len(rows):
        found = np.zeros((0, n_classes) if n_classes else 0)
    elif n_classes:
        # It leaves out classes of few rows.
        found = predictor.predict_proba(rows).reindex(columns=range(n_classes), fill_value=0.0).to_numpy(np.float64)
    else:
        found = predictor.predict(rows).to_numpy(np.float64)
    if not math.isfinite(float(found.sum())):
        raise ValueError("it predicts values that are not finite")
    np.save(folder / "predicted.npy", np.ascontiguousarray(found), allow_pickle=False)
