"""The predictor of a job: the best model with the data that it was trained on, in open formats.

The statistical models hold nothing that a fit on the same data does not give again: they are fitted when they predict.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.host.files import write_whole
from forecast_platform.training_jobs.backtest import Trained, ask_of, whole
from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.modes.base import Method, SeasonalNaive
from forecast_platform.training_jobs.modes.choose import methods_of
from forecast_platform.training_jobs.panel import Panel, build
from forecast_platform.training_jobs.reading import Limits, from_arrow
from forecast_platform.training_jobs.results import forecast_rows

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "predictor"
_ABOUT = "predictor.json"
_PANEL = "panel.npz"


def save(folder: Path, config: JobConfig, best: str) -> None:
    """Write the job folder's predictor/: which model, its config, and the panel."""
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    write_whole(target / _ABOUT, json.dumps({"model": best, "config": json.loads(config.stored())}, indent=1), 0o644)
    shutil.copyfile(folder / _PANEL, target / _PANEL)


class JobPredictor:
    """A job's best model behind MLflow's `predict`."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        self.model = str(about["model"])
        self.config = JobConfig.from_stored(json.dumps(about["config"]))
        self.panel = Panel.open(folder / _PANEL)
        self._folder = folder

    def predict(self, model_input: Any = None, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The forecast, one row a series and step: series, date, model, forecast, median, lower_*, upper_*.

        model_input: None or an empty frame for what the job itself forecast; else a table with the columns of the job's
        config, whose series are forecast from their own ends. Raises JobError for such a table that does not fit, and
        ValueError where a series cannot be forecast.
        """
        import pandas as pd
        import pyarrow as pa

        panel = self.panel
        if model_input is not None and len(model_input):
            columns = from_arrow(pa.Table.from_pandas(pd.DataFrame(model_input)), self.config, Limits())
            panel = build(columns, self.config, Limits())
        predicted = self._method().predict(whole(panel), ask_of(panel, self.config), lambda done: None)
        if predicted.failed:
            row, why = next(iter(predicted.failed.items()))
            raise ValueError(f"{self.model} could not forecast series {panel.ids[row]!r}: {why}")
        return pd.DataFrame(forecast_rows(panel, self.config, Trained(self.model, forecast=predicted)))

    def _method(self) -> Method:
        bases = (SeasonalNaive(), SeasonalNaive("Naive", 1))
        return next(one for one in (*bases, *methods_of(self.config)[0]) if one.name == self.model)
