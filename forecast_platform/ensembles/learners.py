"""Base models fitted, applied, and kept as files of formats that run no code."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.ensembles import ending
from forecast_platform.ensembles.arrays import array_bytes, array_from
from forecast_platform.ensembles.catalog import Base
from forecast_platform.ensembles.gpu import CPU
from forecast_platform.ensembles.trees import with_trees, without_trees

Floats = NDArray[np.float64]

_TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)
"""Classes beyond skops' own list that our scikit-learn models hold: arrays of numbers in C or plain attributes."""


_PLATT_FOLDS = 3
_ROWS = "rows.npy"
"""Of nearest neighbours the rows that they are among."""
_LOADING = threading.Lock()
_ADAPTERS = ("sklearn.externals.array_api_compat.torch", "sklearn.externals.array_api_compat.dask")


class LearnerError(ValueError):
    """A base model cannot be fitted, or its files are not what they should be."""


@dataclass
class Learner:
    """A fitted base model over encoded rows.

    present: codes of the classes it was fitted on, of `n_classes` in all; of numbers, `shift`, `scale` and `smear` undo
    what was done to the target.
    """

    base: Base
    n_classes: int
    model: Any
    present: list[int]
    shift: float = 0.0
    scale: float = 1.0
    smear: float = 1.0

    @classmethod
    def fit(cls, base: Base, x: Any, y: NDArray[Any], n_classes: int, seed: int, device: str = CPU) -> Learner:
        """Fit on encoded rows x and class codes or numbers y [n]; one thread, the same bits for the same seed.

        device: cpu, or cuda of a base that can be fitted `on_gpu`; it predicts on the processor.
        """
        if base.learner == "given":
            return cls(base, n_classes, None, [])
        if n_classes:
            present, counts = np.unique(y, return_counts=True)
            if base.learner == "vectors" and counts.min() < _PLATT_FOLDS:
                # Its probabilities are fitted over folds that each hold every class: a rarer one gets none.
                often = present[counts >= _PLATT_FOLDS]
                present = often if len(often) else present[[int(np.argmax(counts))]]
                x, y = x[np.isin(y, present)], y[np.isin(y, present)]
            if len(present) == 1:
                return cls(base, n_classes, None, [int(present[0])])
            model = _fit(base, x, np.searchsorted(present, y), len(present), seed, device)
            return cls(base, n_classes, model, present.tolist())
        target = np.log(y) if base.log_target else y
        shift, scale = float(target.mean()), float(target.std()) or 1.0
        model = _fit(base, x, (target - shift) / scale, 0, seed, device)
        made = cls(base, 0, model, [], shift, scale)
        if base.log_target:
            made.smear = float(y.mean() / made.predict(x).mean())
        return made

    def predict(self, x: Any) -> Floats:
        """Probabilities [n, classes], or numbers [n, 1]."""
        if self.base.learner == "given":
            return np.asarray(x[self.base.name], np.float64).reshape(-1, 1)
        if not self.n_classes:
            found = np.asarray(_predict(self.base, self.model, x, 0), np.float64).reshape(-1, 1)
            found = found * self.scale + self.shift
            return np.exp(found) * self.smear if self.base.log_target else found
        made = np.zeros((len(x), self.n_classes))
        if self.model is None:
            made[:, self.present[0]] = 1.0
            return made
        found = np.asarray(_predict(self.base, self.model, x, len(self.present)), np.float64)
        made[:, self.present] = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-300)
        return made

    @property
    def cpu_elsewhere(self) -> float:
        """Processor seconds that its library took in a process of its own; none for most."""
        return float(getattr(self.model, "cpu_seconds", 0.0))

    @property
    def importance(self) -> NDArray[np.float64] | None:
        """The model's own importance of each encoded column, [columns] summing to one; None where it has none."""
        found = getattr(self.model, "feature_importances_", None)
        if found is None:
            return None
        values = np.asarray(found, np.float64)
        return values / values.sum() if values.sum() > 0 else values

    def files(self) -> dict[str, bytes]:
        """The model as files by name."""
        about = {"base": self.base.name, "n_classes": self.n_classes, "present": self.present}
        about |= {"shift": self.shift, "scale": self.scale, "smear": self.smear}
        found = {"learner.json": json.dumps(about, sort_keys=True).encode()}
        return found if self.model is None else {**found, **_KEPT[_library(self.base)][0](self.model)}

    @classmethod
    def load(cls, base: Base, files: Mapping[str, bytes]) -> Learner:
        """The model of these files. Raises LearnerError: they hold what no model of ours holds."""
        about = json.loads(files["learner.json"])
        if about["base"] != base.name:
            raise LearnerError(f"the files are of {about['base']}, not of {base.name}")
        rest = {name: data for name, data in files.items() if name != "learner.json"}
        classes = len(about["present"])
        model = _KEPT[_library(base)][1](base, rest, classes) if rest else None
        named = {name: about[name] for name in ("shift", "scale", "smear")}
        return cls(base, about["n_classes"], model, about["present"], **named)


def _library(base: Base) -> str:
    return base.learner if base.learner in _KEPT else "sklearn"


_ROUNDS = {"gbm": "max_iter", "xgboost": "n_estimators", "lightgbm": "n_estimators", "catboost": "iterations"}
"""What a boosting library calls its number of trees."""
_ROUNDS_OF, _MOST_ROUNDS = 8_000, 3.0
"""Rows that the trees of the catalog are of; for more rows they are more, by the root of the rows, to so many times."""


def _params(base: Base, n_classes: int, n: int) -> dict[str, Any]:
    found = dict(base.for_numbers if base.for_numbers and not n_classes else base.params)
    if base.learner in _ROUNDS:
        name = _ROUNDS[base.learner]
        found[name] = round(found[name] * min(_MOST_ROUNDS, max(1.0, (n / _ROUNDS_OF) ** 0.5)))
    return found


def _fit(base: Base, x: Any, y: NDArray[Any], n_classes: int, seed: int, device: str) -> Any:
    params = _params(base, n_classes, len(y))
    if base.learner == "xgboost":
        import xgboost

        kind = xgboost.XGBClassifier if n_classes else xgboost.XGBRegressor
        fixed = {"n_jobs": 1, "random_state": seed, "tree_method": "hist", "verbosity": 0}
        model = kind(**params, **fixed, callbacks=ending.xgboost_steps()).fit(x, y)
        return model.set_params(callbacks=None)
    if base.learner == "lightgbm":
        import lightgbm

        kind = lightgbm.LGBMClassifier if n_classes else lightgbm.LGBMRegressor
        fixed = {"n_jobs": 1, "random_state": seed, "deterministic": True, "force_row_wise": True, "verbose": -1}
        return kind(**params, **fixed).fit(x, y, callbacks=[ending.step]).booster_
    if base.learner == "catboost":
        import catboost

        kind = catboost.CatBoostClassifier if n_classes else catboost.CatBoostRegressor
        names = [name for name in x.columns if x[name].dtype == object]
        fixed = {"thread_count": 1, "random_seed": seed, "verbose": False, "allow_writing_files": False}
        callbacks = [ending.CatBoostSteps()] if ending.has_end() else None
        model = kind(**params, **fixed).fit(x, y, cat_features=names, callbacks=callbacks)
        ending.step()
        return model
    if base.learner == "autogluon":
        from forecast_platform.ensembles import gluon

        return gluon.fit(params, x, y, n_classes, seed)
    if base.learner in ("realmlp", "tabnet"):
        from forecast_platform.ensembles import neural

        with ending.layers_ask():
            return neural.fit(base.learner, params, x, y, n_classes, seed, device)
    return ending.fitted_in_steps(_sklearn(base.learner, params, n_classes, seed, len(y)), x, y)


def _predict(base: Base, model: Any, x: Any, n_classes: int) -> Any:
    if base.learner == "lightgbm":
        found = model.predict(x, num_threads=1)
        return np.column_stack([1 - found, found]) if n_classes == 2 else found
    if base.learner == "autogluon":
        return model.predict(x)
    if base.learner in ("realmlp", "tabnet"):
        from forecast_platform.ensembles import neural

        return neural.predict(base.learner, model, x, n_classes)
    return model.predict_proba(x) if n_classes else model.predict(x)


def _sklearn(learner: str, params: dict[str, Any], n_classes: int, seed: int, n: int) -> Any:
    """A scikit-learn estimator."""
    from sklearn import ensemble, linear_model, neighbors, neural_network

    seeded = {**params, "random_state": seed}
    if learner == "linear":
        return linear_model.LogisticRegression(**params) if n_classes else linear_model.Ridge(**params)
    if learner == "neighbours":
        return neighbors.KNeighborsClassifier(**params) if n_classes else neighbors.KNeighborsRegressor(**params)
    if learner == "neural":
        seeded["batch_size"] = min(params["batch_size"], max(16, n // 10))
        return neural_network.MLPClassifier(**seeded) if n_classes else neural_network.MLPRegressor(**seeded)
    if learner == "vectors":
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.svm import SVC, SVR

        if not n_classes:
            return SVR(**params)
        # Platt's sigmoid over folds; SVC's own probabilities are deprecated.
        return CalibratedClassifierCV(SVC(**params), method="sigmoid", cv=_PLATT_FOLDS, ensemble=False)
    kinds = {
        "forest": (ensemble.RandomForestClassifier, ensemble.RandomForestRegressor),
        "extra_trees": (ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor),
        "gbm": (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor),
    }
    return kinds[learner][0 if n_classes else 1](**seeded)


def skops_io() -> Any:
    """The module skops.io, loaded without PyTorch.

    When it (0.16, with scikit-learn 1.9) is loaded it lists scikit-learn's estimators, by a walk over all of its
    packages: also those that adapt it to PyTorch and Dask, which load these where they are installed. That is two
    seconds of every process that keeps a model.
    """
    with _LOADING:
        walked = "skops.io" in sys.modules
        stand_ins = {} if walked else {name: ModuleType(name) for name in _ADAPTERS if name not in sys.modules}
        sys.modules.update(stand_ins)
        try:
            import skops.io
            import skops.io.exceptions
        finally:
            for name in stand_ins:
                del sys.modules[name]
    return skops.io


def _sklearn_files(model: Any) -> dict[str, bytes]:
    bare, trees = without_trees(model)
    found = {"model.skops": b"", **trees}
    if hasattr(bare, "_fit_X"):
        # The rows themselves, of which skops makes several copies.
        bare = copy(bare)
        found[_ROWS], bare._fit_X = array_bytes(bare._fit_X), None
    if hasattr(bare, "_optimizer"):
        # What only going on with fitting needs, and twice as large as the weights.
        bare = copy(bare)
        bare._optimizer = None
    found["model.skops"] = skops_io().dumps(bare)
    return found


def _sklearn_load(base: Base, files: Mapping[str, bytes], _: int) -> Any:
    skops = skops_io()
    data = files["model.skops"]
    try:
        # Audited before anything of it is made.
        model = skops.loads(data, trusted=list(_TRUSTED))
    except skops.exceptions.UntrustedTypesFoundException:
        foreign = sorted(set(skops.get_untrusted_types(data=data)) - set(_TRUSTED))
        raise LearnerError(
            f"the files of {base.name} hold {', '.join(foreign)}, which no model of ours holds"
        ) from None
    if _ROWS in files:
        model._fit_X = array_from(files[_ROWS])
    return with_trees(model, files)


def _written(save: Any, name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="forecast-base-") as folder:
        path = Path(folder) / name
        save(str(path))
        return {one.name: one.read_bytes() for one in sorted(Path(folder).iterdir())}


def _xgboost_load(base: Base, files: Mapping[str, bytes], n_classes: int) -> Any:
    import xgboost

    model = xgboost.XGBClassifier(n_jobs=1) if n_classes else xgboost.XGBRegressor(n_jobs=1)
    model.load_model(bytearray(files["model.ubj"]))
    return model


def _lightgbm_load(base: Base, files: Mapping[str, bytes], _: int) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=files["model.txt"].decode())


def _catboost_load(base: Base, files: Mapping[str, bytes], n_classes: int) -> Any:
    import catboost

    model = catboost.CatBoostClassifier() if n_classes else catboost.CatBoostRegressor()
    return model.load_model(blob=files["model.cbm"])


def _neural_files(model: Any) -> dict[str, bytes]:
    from forecast_platform.ensembles import neural

    return neural.files(model)


def _neural_load(base: Base, files: Mapping[str, bytes], n_classes: int) -> Any:
    from forecast_platform.ensembles import neural

    return neural.load(base.learner, files, n_classes)


def _gluon_load(base: Base, files: Mapping[str, bytes], n_classes: int) -> Any:
    from forecast_platform.ensembles import gluon

    return gluon.Gluon(files, n_classes)


_KEPT: dict[str, tuple[Any, Any]] = {
    "sklearn": (_sklearn_files, _sklearn_load),
    "xgboost": (lambda model: _written(model.save_model, "model.ubj"), _xgboost_load),
    "lightgbm": (lambda model: {"model.txt": model.model_to_string().encode()}, _lightgbm_load),
    "catboost": (lambda model: _written(model.save_model, "model.cbm"), _catboost_load),
    **dict.fromkeys(("realmlp", "tabnet"), (_neural_files, _neural_load)),
    "autogluon": (lambda model: dict(model.files), _gluon_load),
}
"""Of each library: the files of a model, and a model from its files."""
