"""The base models by name: their algorithm, library, encoding and parameters; which suit a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from forecast_platform.ensembles.encoding import Encoding

EXTRA, AUTOML = "ensembles", "automl"
MEMBER = "of_"
"""How the names of columns that hold a model's forecasts begin."""


class BaseError(ValueError):
    """A base model that is unknown, not installed, or does not suit the table; the message has the mend."""


@dataclass(frozen=True)
class Base:
    """One base model.

    algorithm: what `top_alg` counts. learner: the class, or of xgboost, lightgbm and catboost the library.
    """

    name: str
    algorithm: str
    learner: str
    encoding: Encoding
    params: dict[str, Any] = field(default_factory=dict)
    for_numbers: dict[str, Any] = field(default_factory=dict)
    """Parameters of a numeric target, in place of `params` where any are named."""
    requires: str = "sklearn"
    log_target: bool = False
    """Fitted on the target's logarithm, with Duan's smearing factor (1983); for positive targets alone."""
    most_rows: int | None = None
    default: bool = True
    family: str = ""
    """classes or numbers where it is of one family only."""
    extra: str = EXTRA
    """The extra that has its library, where the base has not."""
    within: tuple[str, ...] = ()
    """Modules that its library fits with, where these are there."""
    pickled: bool = False
    """Whether its library keeps nothing but pickles: they are opened only where this warehouse has signed them."""
    on_gpu: bool = False
    """Whether it is fitted on a GPU where the workflow asks for one."""

    @property
    def installed(self) -> bool:
        """Whether its library is there."""
        try:
            return find_spec(self.requires) is not None
        except ModuleNotFoundError:  # of the package that it is in
            return False

    @property
    def versions(self) -> dict[str, str]:
        """The packages that its fits follow from, and their versions; with pickles also Python's."""
        found = dict(one for one in map(distribution_of, (self.requires, *self.within)) if one is not None)
        return {**found, "python": f"{sys.version_info[0]}.{sys.version_info[1]}"} if self.pickled else found


_FOREST = {"n_estimators": 150, "min_samples_leaf": 2, "max_features": 0.4}
_TREES = {"n_estimators": 50, "min_samples_leaf": 2, "max_features": 1.0}
# Of classes few trees that learn fast, over few bins: on out-of-fold rows of tables with noise better than many that
# learn slowly, at a third of their cost. Numbers with little noise gain from more and finer ones.
_XGB = {"n_estimators": 220, "learning_rate": 0.07, "max_depth": 6, "subsample": 0.8, "colsample_bytree": 0.6}
_XGB_CLASSES = {**_XGB, "n_estimators": 80, "learning_rate": 0.12, "max_depth": 5, "max_bin": 64}
_XGB_CLASSES |= {"colsample_bytree": 0.5}
_XGB_SMALL = {**_XGB, "n_estimators": 350, "learning_rate": 0.05, "max_depth": 4, "min_child_weight": 5}
_XGB_SMALL_CLASSES = {**_XGB_SMALL, "n_estimators": 120, "learning_rate": 0.1, "max_bin": 64}
_LGB = {"n_estimators": 250, "learning_rate": 0.05, "num_leaves": 31, "subsample": 0.8, "subsample_freq": 1}
_LGB |= {"colsample_bytree": 0.6, "min_child_samples": 20}
_LGB_CLASSES = {**_LGB, "n_estimators": 120, "learning_rate": 0.08, "num_leaves": 20, "max_bin": 63}
_LGB_EXTRA = {**_LGB, "extra_trees": True, "n_estimators": 350, "min_child_samples": 10}
_LGB_EXTRA_CLASSES = {**_LGB_EXTRA, "n_estimators": 150, "learning_rate": 0.1, "num_leaves": 24, "max_bin": 63}
_GBM = {"max_iter": 150, "learning_rate": 0.07, "max_leaf_nodes": 20}
_GBM_CLASSES = {"max_iter": 80, "learning_rate": 0.1, "max_leaf_nodes": 16, "max_bins": 63}
_CAT: dict[str, Any] = {
    "iterations": 300,
    "learning_rate": 0.08,
    "depth": 6,
    "one_hot_max_size": 13,
    "border_count": 128,
}
_CAT_CLASSES = {**_CAT, "iterations": 150, "learning_rate": 0.12, "border_count": 32, "leaf_estimation_iterations": 1}
_CAT_CLASSES |= {"bootstrap_type": "Bernoulli", "subsample": 0.8}
_MLP = {"hidden_layer_sizes": (128, 128), "learning_rate_init": 0.003, "batch_size": 128, "max_iter": 40}
_MLP |= {"early_stopping": True, "n_iter_no_change": 6, "alpha": 1e-3}
_MLP_CLASSES = {**_MLP, "hidden_layer_sizes": (64,), "batch_size": 256, "max_iter": 15, "n_iter_no_change": 3}
_MLP_CLASSES |= {"alpha": 0.1}
# With embeddings of numbers (PBLD), as RealMLP has them beyond its simple variant.
_REALMLP = {"n_epochs": 22, "batch_size": 256, "num_emb_type": "pbld", "plr_sigma": 0.1, "plr_hidden_1": 16}
_REALMLP |= {"plr_hidden_2": 4, "plr_lr_factor": 0.1}
_GLUON: dict[str, Any] = {
    "GBM": [{}, {"extra_trees": True, "ag_args": {"name_suffix": "XT"}}],
    "CAT": {},
    "XGB": {},
    "NN_TORCH": {},
}
"""What AutoGluon fits and weighs, by its own names and with its own defaults: each kind of model that leads on some
tables, not the near repeats of its presets, which take most of their time."""
# Probabilities are combined and scored, not labels alone: no smoothing of labels, and the epoch by their likelihood.
_REALMLP_CLASSES = {"n_epochs": 24, "batch_size": 256, "use_ls": False, "val_metric_name": "cross_entropy"}

BASES: dict[str, Base] = {
    one.name: one
    for one in (
        Base("linear", "linear", "linear", "dense", {"C": 0.3, "max_iter": 300}, {"alpha": 1.0}),
        Base("neighbours", "neighbours", "neighbours", "dense",
             {"n_neighbors": 8, "weights": "distance", "algorithm": "brute"}, most_rows=12_000),
        Base("vectors", "vectors", "vectors", "dense", {"C": 5.0}, {"C": 5.0, "epsilon": 0.03}, most_rows=3_000),
        Base("neural", "neural", "neural", "dense", _MLP_CLASSES, _MLP),
        Base("neural_log", "neural", "neural", "dense", _MLP, log_target=True, family="numbers"),
        Base("forest", "forest", "forest", "tree", {**_FOREST, "min_samples_leaf": 3}, _FOREST, default=False),
        Base("extra_trees", "extra_trees", "extra_trees", "tree",
             {"n_estimators": 50, "min_samples_leaf": 8, "max_features": "sqrt"}, _TREES),
        Base("extra_trees_log", "extra_trees", "extra_trees", "tree", _TREES, log_target=True, family="numbers",
             default=False),
        Base("gbm", "gbm", "gbm", "tree", _GBM_CLASSES, _GBM),
        Base("gbm_log", "gbm", "gbm", "tree",
             {"max_iter": 250, "learning_rate": 0.07, "max_leaf_nodes": 31}, log_target=True, family="numbers"),
        Base("xgboost", "xgboost", "xgboost", "tree", _XGB_CLASSES, _XGB, requires="xgboost"),
        Base("xgboost_small", "xgboost", "xgboost", "tree", _XGB_SMALL_CLASSES, _XGB_SMALL, requires="xgboost"),
        Base("xgboost_log", "xgboost", "xgboost", "tree", _XGB, requires="xgboost", log_target=True, family="numbers"),
        Base("lightgbm", "lightgbm", "lightgbm", "tree", _LGB_CLASSES, _LGB, requires="lightgbm"),
        Base("lightgbm_extra", "lightgbm", "lightgbm", "tree", _LGB_EXTRA_CLASSES, _LGB_EXTRA, requires="lightgbm"),
        Base("lightgbm_log", "lightgbm", "lightgbm", "tree", {**_LGB, "n_estimators": 400}, requires="lightgbm",
             log_target=True, family="numbers"),
        Base("catboost", "catboost", "catboost", "native", _CAT_CLASSES, _CAT, requires="catboost"),
        Base("catboost_log", "catboost", "catboost", "native", {**_CAT, "iterations": 700, "learning_rate": 0.06},
             requires="catboost", log_target=True, family="numbers"),
        Base("realmlp", "realmlp", "realmlp", "dense", _REALMLP_CLASSES, _REALMLP, requires="pytabkit",
             most_rows=5_000, on_gpu=True),
        Base("realmlp_log", "realmlp", "realmlp", "dense", _REALMLP, requires="pytabkit", log_target=True,
             family="numbers", most_rows=20_000, on_gpu=True),
        Base("tabnet", "tabnet", "tabnet", "dense", {"max_epochs": 60}, requires="pytorch_tabnet", default=False,
             on_gpu=True),
        Base("autogluon", "autogluon", "autogluon", "native", {"hyperparameters": _GLUON}, requires="autogluon.tabular",
             default=False, extra=AUTOML, within=("lightgbm", "catboost", "xgboost", "torch", "sklearn"), pickled=True),
    )
}  # fmt: skip
"""The base models that a workflow may name in `bases`."""

BOOSTS: dict[str, tuple[str, ...]] = {
    "gbm": ("gbm",),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "automl": ("gbm", "xgboost", "lightgbm", "catboost", "autogluon"),
    "tf": ("realmlp", "neural"),
    "dl": ("realmlp", "neural"),
    "pytorch": ("realmlp",),
    "tabnet": ("tabnet",),
}
"""What each `boost.method` fits: the first that is installed; of automl all that are, of which the best is taken. tf
and dl are neural networks, whatever library has one."""


def boosted(method: str) -> list[Base]:
    """The base models of a boost method. Raises BaseError: none of its libraries is installed."""
    found = [BASES[name] for name in BOOSTS[method] if BASES[name].installed]
    if found:
        return found if method == "automl" else found[:1]
    needed = BASES[BOOSTS[method][0]]
    raise BaseError(f"boost.method {method} needs {needed.requires}: {_install(needed)}, or choose another method")


def base_named(name: str) -> Base:
    """The base model of this name; of a column of forecasts the model that gives them as they are. Raises KeyError."""
    if name.startswith(MEMBER):
        return Base(name, name.removeprefix(MEMBER), "given", "given", requires="numpy", default=False)
    return BASES[name]


def suited(names: Sequence[str], n_rows: int, *, classes: bool, positive: bool) -> list[Base]:
    """The base models of these names, or the default ones that are installed and suit the table.

    positive: whether a numeric target is above zero and spreads over magnitudes. Raises BaseError.
    """
    for name in names:
        if name not in BASES:
            raise BaseError(f"there is no base model {name!r}; there are {', '.join(BASES)}")
        one = BASES[name]
        if not one.installed:
            raise BaseError(f"base model {name} needs {one.requires}: {_install(one)}, or leave it out")
        if one.family and one.family != ("classes" if classes else "numbers"):
            raise BaseError(f"base model {name} is of {one.family}, the target is not: leave it out")
        if one.log_target and not positive:
            raise BaseError(f"base model {name} needs a target above zero: leave it out")
    if names:
        return [BASES[name] for name in dict.fromkeys(names)]
    found = [one for one in BASES.values() if one.default and one.installed]
    found = [one for one in found if not one.family or one.family == ("classes" if classes else "numbers")]
    found = [one for one in found if one.most_rows is None or n_rows <= one.most_rows]
    found = [one for one in found if positive or not one.log_target]
    # Where RealMLP is fitted, scikit-learn's network costs more than it adds.
    return [one for one in found if one.learner != "neural" or all(other.learner != "realmlp" for other in found)]


_DISTRIBUTIONS = {
    "sklearn": ("scikit-learn",),
    "xgboost": ("xgboost-cpu", "xgboost"),
    "pytorch_tabnet": ("pytorch-tabnet",),
}
"""Of a module the names under which its package may be installed, where they are not the module's."""


@cache
def distribution_of(module: str) -> tuple[str, str] | None:
    """The package of a base model's module and its version; None where none is installed."""
    from importlib.metadata import PackageNotFoundError, version

    for name in _DISTRIBUTIONS.get(module, (module,)):
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return None


def libraries() -> dict[str, str]:
    """The packages of the base models that are installed, and their versions: what a workflow's results follow from."""
    found = {distribution_of(one.requires) for one in BASES.values() if one.installed}
    return dict(sorted(one for one in found if one is not None))


def _install(base: Base) -> str:
    return f"`pip install 'forecast-platform[{base.extra}]'`"
