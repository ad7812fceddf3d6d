"""An adapter to Databricks' Many Model Forecasting (mmf_sa), where a user has it: its tables in and out, nothing of it.

mmf_sa is no package of an index and licensed for Databricks alone, so nothing of it is here or installed: the caller
hands over its `run_forecast` and says how tables are read and written. What the adapter knows is the contract of the
tables, and what they do not say:

- missing values become 0 in it: what goes in has none (a close is held until the next);
- forecasts are cut at 0: series that reach below go in shifted up, and what touches the floor all the same is told;
- a series that fails is only logged: what went in is compared with what came out;
- it gives points: past errors of its own backtest make quantiles and paths of them (`forecasting.quantile_paths`);
- its tables hold pickles: that column is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats, History
from forecast_platform.forecasting.quantile_paths import error_ranks, joint_paths

if TYPE_CHECKING:
    import pyarrow as pa

EVALUATION = ("group_id", "backtest_window_start_date", "forecast", "actual", "run_id", "model")
SCORING = ("group_id", "date", "target", "run_id", "model")
"""The columns that are read of evaluation_output and scoring_output."""

FREQUENCIES = ("H", "D", "W", "M")
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
LEAST_WINDOWS = 20
"""Backtest windows from which errors are taken for quantiles: fewer say nothing of a tail."""

MARGIN = 0.5
"""A series that goes below zero is shifted so that its least close lies this share of its range above."""


class Tables(Protocol):
    """Where mmf's tables are: Unity Catalog through Spark on a cluster."""

    def write(self, name: str, rows: pa.Table) -> None:
        """Replace a table."""
        ...

    def read(self, name: str, columns: Sequence[str], run_id: str) -> pa.Table:
        """These columns of the rows of one run."""
        ...


@dataclass(frozen=True)
class SparkTables:
    """Tables of a Spark session."""

    spark: Any

    def write(self, name: str, rows: pa.Table) -> None:
        """See `Tables`."""
        self.spark.createDataFrame(rows.to_pandas()).write.mode("overwrite").saveAsTable(name)

    def read(self, name: str, columns: Sequence[str], run_id: str) -> pa.Table:
        """See `Tables`."""
        import pyarrow as pa

        found = self.spark.table(name).where(f"run_id = '{run_id}'").select(*columns).toPandas()
        return pa.Table.from_pandas(found, preserve_index=False)


@dataclass(frozen=True)
class Forecast:
    """One model's forecasts of one series, in the series' unit."""

    dates: Dates
    """[h], the days forecast."""
    points: Floats
    """[h]."""
    windows: Dates
    """[n], the first days of its backtest windows, ascending."""
    errors: Floats
    """[n, h], actual less forecast in these."""


@dataclass(frozen=True)
class Result:
    """What came out of a run: forecasts by series and model, and what did not."""

    run_id: str
    forecasts: Mapping[tuple[str, str], Forecast]
    missing: tuple[str, ...]
    """Series that went in and for which no model gave a forecast."""
    floored: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By series and model, how many days of the forecast lie at mmf's floor of 0: they are no forecasts."""

    def told(self) -> list[str]:
        """What a user should know of the run, a sentence each."""
        lines = [f"mmf gave no forecast of {name}: look at its log for the reason" for name in self.missing]
        lines += [
            f"mmf cut {count} days of {model}'s forecast of {name} at 0: they are not used as they are"
            for (name, model), count in self.floored.items()
        ]
        return lines


def shifts(histories: Sequence[History]) -> dict[str, float]:
    """What is added to each series' closes so that mmf's floor of 0 is out of reach; 0 for those far above it."""
    found = {}
    for history in histories:
        low, high = float(history.close.min()), float(history.close.max())
        found[history.series] = MARGIN * (high - low) - low if low <= 0.0 else 0.0
    return found


def training_rows(histories: Sequence[History]) -> pa.Table:
    """mmf's train_data, columns group_id, date, target: every calendar day, closes held over days without one.

    Raises ValueError where two series have one name.
    """
    import pyarrow as pa

    names = [history.series for history in histories]
    if len(set(names)) < len(names):
        raise ValueError(f"series {', '.join(sorted({one for one in names if names.count(one) > 1}))}: named twice")
    added = shifts(histories)
    return pa.table(
        {
            "group_id": np.repeat(names, [len(history) for history in histories]),
            "date": np.concatenate([history.dates for history in histories]),
            "target": np.concatenate([history.close + added[history.series] for history in histories]),
        }
    )


def run(
    run_forecast: Callable[..., str],
    spark: Any,
    tables: Tables,
    histories: Sequence[History],
    *,
    prefix: str,
    models: Sequence[str],
    horizon: int,
    backtest: int = 90,
    freq: str = "D",
) -> Result:
    """Train and forecast in one run of mmf and read back what it gave.

    prefix: catalog and schema with a name, such as `main.forecast.mmf`: its tables are `_train`, `_evaluation` and
    `_scoring` of it. backtest: days before the end of which each begins a backtest window of its own, without fitting
    again. Raises ValueError for a frequency that mmf does not have.
    """
    if freq not in FREQUENCIES:
        raise ValueError(f"freq {freq!r}: mmf takes {', '.join(FREQUENCIES)}")
    tables.write(f"{prefix}_train", training_rows(histories))
    run_id = run_forecast(
        spark=spark,
        train_data=f"{prefix}_train",
        group_id="group_id",
        date_col="date",
        target="target",
        freq=freq,
        prediction_length=horizon,
        backtest_length=backtest,
        stride=1,
        metric="smape",
        scoring_output=f"{prefix}_scoring",
        evaluation_output=f"{prefix}_evaluation",
        active_models=list(models),
        backtest_retrain=False,
        # Its checks drop series whose days have gaps; these have none.
        data_quality_check=False,
        resample=False,
    )
    return read(tables, prefix, run_id, histories)


def read(tables: Tables, prefix: str, run_id: str, histories: Sequence[History]) -> Result:
    """What one run left in its tables, which hold other runs too. Raises ValueError for rows of other series."""
    added = shifts(histories)
    scored = tables.read(f"{prefix}_scoring", SCORING, run_id).to_pylist()
    tested = tables.read(f"{prefix}_evaluation", EVALUATION, run_id).to_pylist()
    forecasts, floored = {}, {}
    for row in scored:
        key = (row["group_id"], row["model"])
        if row["group_id"] not in added:
            raise ValueError(
                f"run {run_id} has forecasts of {row['group_id']!r}, which did not go in: another run's id?"
            )
        points = np.array(row["target"], np.float64)
        if len(points) != len(row["date"]):
            raise ValueError(f"run {run_id}, {' '.join(key)}: {len(row['date'])} dates and {len(points)} values")
        if at_floor := int((points <= 0.0).sum()):
            floored[key] = at_floor
        # One row a metric: the windows of the first are those of all.
        own = {
            day["backtest_window_start_date"]: day
            for day in tested
            if (day["group_id"], day["model"]) == key and len(day["forecast"]) == len(points)
        }
        windows = np.array(sorted(own), "datetime64[D]")
        errors = [np.subtract(own[day]["actual"], own[day]["forecast"]) for day in sorted(own)]
        forecasts[key] = Forecast(
            np.array(row["date"], "datetime64[D]"),
            points - added[row["group_id"]],
            windows,
            np.array(errors, np.float64).reshape(len(own), len(points)),
        )
    there = {name for name, _ in forecasts}
    return Result(run_id, forecasts, tuple(name for name in added if name not in there), floored)


def paths(found: Forecast, pool: Dates, slots: NDArray[np.integer]) -> Floats:
    """Joint paths [n_paths, h] of one forecast, in the series' unit: its points and the quantiles of its own past
    errors.

    pool, slots: `shocks.pool_dates` and the date that each path draws, [n_paths]: the same for every series, so that
    they stay joint. Raises ValueError where the backtest has too few windows.
    """
    if len(found.windows) < LEAST_WINDOWS:
        raise ValueError(
            f"{len(found.windows)} backtest windows: errors of at least {LEAST_WINDOWS} are needed for quantiles: "
            "raise backtest"
        )
    quantiles = np.quantile(found.errors, LEVELS, axis=0).T + found.points[:, None]
    places = error_ranks(found.errors, found.windows, pool)
    return joint_paths(quantiles[None], LEVELS, places, slots[None])[0]
