"""Mode mmf: Databricks' Many Model Forecasting, as it is installed on a cluster. Nothing of it is here.

It gives points alone, appends to the tables that it is told, takes what is missing as 0 and clips at 0, and only logs
what failed. So each call here writes to a table of its own, is read by its run's id, and every series that went in and
did not come out is a failure that is named. Models that it keeps as pickles are never opened.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.training_jobs.config import JobConfig, JobError
from forecast_platform.training_jobs.modes.base import Ask, Cut, Method, Predicted, Tick, naive

PRESETS = {
    "fast_training": ("StatsForecastAutoEts",),
    "medium_quality": ("StatsForecastAutoEts", "StatsForecastDot"),
    "high_quality": ("StatsForecastAutoEts", "StatsForecastDot", "StatsForecastAutoArima"),
    "best_quality": ("StatsForecastAutoEts", "StatsForecastDot", "StatsForecastAutoArima", "StatsForecastAutoCes"),
}
NOTE = "MMF gives points alone: the intervals around them are as wide as seasonal naive's"
_FREQUENCIES = {("seconds", 3600): "H", ("seconds", 86_400): "D", ("seconds", 7 * 86_400): "W", ("months", 1): "M"}


class Runner:
    """One call of MMF a cut, for all of a job's models."""

    def __init__(self, spark: Any, run_forecast: Callable[..., Any], models: Sequence[str], schema: str) -> None:
        self._spark, self._run_forecast, self._models, self._schema = spark, run_forecast, list(models), schema
        self._kept: dict[int, tuple[Cut, dict[str, dict[str, list[float]]], float]] = {}
        """By the identity of a cut, which is kept with it."""

    def forecasts(self, cut: Cut, ask: Ask) -> tuple[Mapping[str, Mapping[str, list[float]]], float]:
        """By model and series, the points; and the seconds that the call took.

        Raises JobError for a frequency that the mode does not take, and where the call fails.
        """
        if id(cut) not in self._kept:
            began = time.perf_counter()
            found = self._called(cut, ask)
            self._kept[id(cut)] = (cut, found, time.perf_counter() - began)
        return self._kept[id(cut)][1:]

    def _called(self, cut: Cut, ask: Ask) -> dict[str, dict[str, list[float]]]:
        import pandas as pd

        frequency = cut.panel.frequency
        named = _FREQUENCIES.get((frequency.unit, frequency.step))
        if named is None:
            raise JobError(f"mode mmf takes hours, days, weeks and months, not {frequency}", "frequency")
        parts = [
            pd.DataFrame({"series": _key(row), "ds": cut.panel.stamps(k)[: cut.ends[row]], "y": cut.values(row)})
            for row, k in enumerate(cut.series)
        ]
        run_id = str(uuid.uuid4())
        output = f"{self._schema}.training_job_{run_id.replace('-', '')}"
        try:
            self._run_forecast(
                spark=self._spark,
                train_data=self._spark.createDataFrame(pd.concat(parts, ignore_index=True)),
                group_id="series",
                date_col="ds",
                target="y",
                freq=named,
                prediction_length=ask.horizon,
                backtest_length=ask.horizon,
                stride=ask.horizon,
                scoring_output=output,
                active_models=self._models,
                run_id=run_id,
            )
            rows = self._spark.sql(
                f"SELECT series, model, target FROM {output} WHERE run_id = '{run_id}'"  # noqa: S608 - our own names
            ).collect()
        finally:
            self._spark.sql(f"DROP TABLE IF EXISTS {output}")
        found: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            found.setdefault(str(row["model"]), {})[str(row["series"])] = [float(value) for value in row["target"]]
        return found


class ManyModel:
    """One of MMF's models."""

    def __init__(self, name: str, runner: Runner) -> None:
        self.name, self._runner = name, runner
        self.cost = 0.1

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        """The points that MMF gives, with seasonal naive's spread around them."""
        given, seconds = self._runner.forecasts(cut, ask)
        found = Predicted.empty(len(cut.series), ask)
        points = given.get(self.name, {})
        for row in range(len(cut.series)):
            values = cut.values(row)
            ours = points.get(_key(row))
            if ours is None or len(ours) != ask.horizon or not np.isfinite(ours).all():
                found.failed[row] = "MMF gave no forecast for it and only logs why: see the cluster's log"
            elif (values < 0).any():
                found.failed[row] = "it has negative values, and MMF clips its forecasts at 0"
            else:
                base, quantiles = naive(values, ask.season, ask)
                found.points[row] = ours
                found.quantiles[row] = quantiles + (found.points[row] - base)[:, None]
        found.fit_seconds = seconds
        tick(len(cut.series))
        return found

    def save(self, folder: Path) -> bool:
        """What MMF keeps are pickles, which are not opened."""
        return False


def methods(config: JobConfig) -> tuple[list[Method], list[str]]:
    """The models of MMF in this cluster's session. Raises JobError where there is no such cluster."""
    try:
        from mmf_sa import run_forecast
        from pyspark.sql import SparkSession
    except ImportError:
        raise JobError(
            "mode mmf runs on a Databricks cluster that has Many Model Forecasting (mmf_sa): use notebooks/train_mmf",
            "training_mode",
        ) from None
    session = SparkSession.getActiveSession()
    if session is None:
        raise JobError("mode mmf needs the cluster's Spark session: use notebooks/train_mmf", "training_mode")
    schema = ".".join(config.table.split(".")[:2]) if config.table else "default"
    return with_runner(config, session, run_forecast, schema)


def with_runner(
    config: JobConfig, spark: Any, run_forecast: Callable[..., Any], schema: str
) -> tuple[list[Method], list[str]]:
    """The config's models over this session and this function of MMF's."""
    names = list(dict.fromkeys(config.chosen_models or PRESETS[config.presets]))
    runner = Runner(spark, run_forecast, names, schema)
    return [ManyModel(name, runner) for name in names], [NOTE]


def _key(row: int) -> str:
    """A series' name that no table has trouble with."""
    return f"s{row:06d}"
