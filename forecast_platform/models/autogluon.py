"""AutoGluon's global models on scaled returns, fitted once and asked for all origins in one call."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from forecast_platform.forecasting.history import Floats
from forecast_platform.models.base import FittedModel
from forecast_platform.models.scaled_returns import LEVELS, STEPS, ScaledReturnsFitted, ScaledReturnsModel
from forecast_platform.models.tags import Hyperparameter, Hyperparameters, ModelTags

TREES = ("RecursiveTabular", "DirectTabular")
NETWORKS = ("PatchTST", "TiDE", "TemporalFusionTransformer", "DLinear", "SimpleFeedForward")
"""The global models, without and with torch. Not DeepAR: its paths depend on what else is in the batch. The local ones
(ETS, ARIMA, Theta ...) keep nothing of a fit and fit again for each origin: they are statsforecast's, by its name."""

_EPOCH = "1970-01-01"


class AutoGluonFitted(ScaledReturnsFitted):
    """State: as `ScaledReturnsFitted`; the files are the library's folder, pickles among them."""

    @cached_property
    def library(self) -> Any:
        """The library's object, loaded once."""
        from autogluon.timeseries import TimeSeriesPredictor

        os.environ["HF_HUB_OFFLINE"] = "1"
        return TimeSeriesPredictor.load(str(self.files_folder()), require_version_match=True)

    def step_quantiles(self, contexts: Floats) -> Floats:
        """See `ScaledReturnsFitted`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = self.library.predict(frame(contexts, "origin"), use_cache=False, random_seed=1)
        if self.state["mean_alone"]:
            return made["mean"].to_numpy(np.float64).reshape(len(contexts), STEPS, 1) + self.state["spread"]
        found = made[[str(level) for level in LEVELS]].to_numpy(np.float64)
        return found.reshape(len(contexts), STEPS, len(LEVELS))


class AutoGluon(ScaledReturnsModel):
    """One global model of AutoGluon, without its time limit and ensemble: what it gives must not depend on how busy the
    machine was when it was fitted.

    Sessions have no frequency that AutoGluon knows: it is shown an index of days, one a session, and none of its
    features of dates and seasons.
    """

    name: ClassVar[str] = "autogluon"
    description: ClassVar[str] = "A global model of AutoGluon (recursive boosted trees by default) on scaled returns."
    tags: ClassVar[ModelTags] = ModelTags(
        extra="automl",
        requires=("autogluon.timeseries",),
        prepares=("autogluon.timeseries.models", "autogluon.tabular.models", "mlforecast", "lightgbm", "torch"),
        default=False,
        slow_fit=True,
        tolerance=1e-5,
        kept="pickle",
    )
    kind: ClassVar[str] = "python"
    hyperparameters: ClassVar[Hyperparameters] = {
        "model": Hyperparameter("RecursiveTabular", "Which model.", choices=(*TREES, *NETWORKS)),
        "rounds": Hyperparameter(100, "Boosting rounds of the tree models.", least=1, most=10_000),
        "epochs": Hyperparameter(20, "Epochs of the networks.", least=1, most=10_000),
        "context": Hyperparameter(64, "Sessions that a forecast sees.", least=10, most=1000),
        "seed": Hyperparameter(1, "Of everything drawn in a fit.", least=0, most=2**31),
    }
    fitted_type: ClassVar[type[FittedModel]] = AutoGluonFitted

    def __init__(self, params: Mapping[str, Any] | None = None, of: Sequence[str] = ()) -> None:
        """See `Model`."""
        super().__init__(params, of)
        if self.params["model"] in NETWORKS:
            # Without it the library says that no model was fitted, and not why.
            vars(self)["tags"] = replace(self.tags, requires=(*self.tags.requires, "torch"))

    @property
    def context(self) -> int:
        """See `ScaledReturnsModel`."""
        return int(self.params["context"])

    @property
    def mean_alone(self) -> bool:
        """See `ScaledReturnsModel`: the recursive model's quantiles are its mean with a normal distribution that
        widens as the root of the step, whatever the target; a day's move is no wider for being further ahead."""
        return bool(self.params["model"] == "RecursiveTabular")

    def fit_library(self, r: Floats, folder: Path) -> None:
        """See `ScaledReturnsModel`."""
        from autogluon.timeseries import TimeSeriesPredictor

        # Nothing is to be asked of a hub of models: these need none.
        os.environ["HF_HUB_OFFLINE"] = "1"
        logging.getLogger("autogluon").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictor = TimeSeriesPredictor(
                prediction_length=STEPS,
                freq="D",
                target="target",
                quantile_levels=list(LEVELS),
                path=str(folder),
                verbosity=0,
                log_to_file=False,
                cache_predictions=False,
            )
            predictor.fit(
                frame(r[None], "training"),
                hyperparameters={self.params["model"]: self._library_parameters()},
                time_limit=None,
                enable_ensemble=False,
                skip_model_selection=True,
                random_seed=self.params["seed"],
            )

    def _library_parameters(self) -> dict[str, Any]:
        if self.params["model"] in TREES:
            lags = [lag for lag in (1, 2, 3, 4, 5, 10, 21, 42) if lag < self.context - STEPS]
            model = {"num_boost_round": self.params["rounds"], "num_threads": 1, "seed": self.params["seed"]}
            return {"lags": lags, "date_features": [], "differences": [], "model_hyperparameters": model}
        return {
            "max_epochs": self.params["epochs"],
            "context_length": self.context,
            "trainer_kwargs": {"accelerator": "cpu", "devices": 1},
        }


def frame(series: Floats, what: str) -> Any:
    """Series [n, length] as the library's table, a day a session.

    The items are called by `what` they are: the library knows those of its training again by their names, and treats
    them otherwise.
    """
    import pandas as pd
    from autogluon.timeseries import TimeSeriesDataFrame

    n, length = series.shape
    rows = pd.DataFrame(
        {
            # As text in one width: the library sorts items.
            "item_id": np.repeat([f"{what}{row:07d}" for row in range(n)], length),
            "timestamp": np.tile(pd.date_range(_EPOCH, periods=length, freq="D"), n),
            "target": series.ravel(),
        }
    )
    return TimeSeriesDataFrame.from_data_frame(rows)
