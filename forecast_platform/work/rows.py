"""From arrays to rows of the tables, and back."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Dates
from forecast_platform.forecasting.horizon import DEFAULT, day_columns, of_columns
from forecast_platform.forecasting.summary import Summary
from forecast_platform.models.base import Paths
from forecast_platform.warehouse.schemas import ACTUALS, DISTRIBUTIONS, POINT_FORECASTS

if TYPE_CHECKING:
    import pyarrow as pa


def distributions_table(
    paths: Paths, origins: Dates, per_date: Mapping[str, Sequence[Any]], **constant: Any
) -> pa.Table:
    """Rows of `distributions`, one a path of `paths` [n_origins, n_paths, horizon]: columns of `per_date` [n_origins]
    repeated, `constant` the same in all."""
    import pyarrow as pa

    n_origins, n_paths, horizon = paths.shape
    row = pa.array(np.repeat(np.arange(n_origins, dtype=np.int32), n_paths))
    schema = DISTRIBUTIONS.at(horizon).arrow_schema()
    by_day = np.moveaxis(paths, 2, 0)
    names = day_columns(horizon)
    columns: dict[str, Any] = {name: np.ascontiguousarray(by_day[h]).ravel() for h, name in enumerate(names)}
    columns["path_id"] = np.tile(np.arange(n_paths, dtype=np.int32), n_origins)
    dates = origins.astype("datetime64[D]").astype(dt.date)
    repeated = {
        "forecast_date": list(dates),
        "data_cutoff_date": [day - dt.timedelta(days=1) for day in dates],
        "forecast_month": [f"{day:%Y-%m}" for day in dates],
        **per_date,
    }
    same = {**constant, "is_actuals": False}
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.name in repeated:
            arrays.append(pa.array(repeated[field.name], field.type).take(row))
        else:
            arrays.append(pa.repeat(pa.scalar(same[field.name], field.type), len(row)))
    return pa.Table.from_arrays(arrays, schema=schema)


def by_series(rows: pa.Table) -> dict[str, pa.Table]:
    """The rows of each series, by its name, out of rows of several with a column `commodity`."""
    import pyarrow.compute as pc

    names = pc.unique(rows["commodity"]).to_pylist()
    return {name: rows if len(names) == 1 else rows.filter(pc.equal(rows["commodity"], name)) for name in names}


def row_digests(values: NDArray[np.float64]) -> list[str]:
    """A hash of each row, [n, k] to n hex digests."""
    return [hashlib.blake2b(row.data, digest_size=8).hexdigest() for row in np.ascontiguousarray(values, np.float64)]


def paths_of(rows: pa.Table) -> tuple[Dates, Paths]:
    """Forecast dates ascending, and paths float32 [n_dates, n_paths, horizon] in the price's unit, of `distributions`
    rows in any order.

    Raises ValueError where the dates do not hold the same number of paths.
    """
    found = paths_by_count(rows)
    if len(found) > 1:
        counts = [paths.shape[1] for _, paths in found]
        raise ValueError(f"forecast dates hold {counts[0]} to {counts[-1]} paths; read them apart")
    if not found:
        return np.empty(0, "datetime64[D]"), np.empty((0, 0, of_columns(rows.column_names) or DEFAULT), np.float32)
    return found[0]


def paths_by_count(rows: pa.Table) -> list[tuple[Dates, Paths]]:
    """As `paths_of`, apart for each number of paths that dates have, ascending by it: one where all have as many, two
    or more where the setting has been changed in between."""
    days = rows["forecast_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    path = rows["path_id"].to_numpy().astype(np.int64)
    position = days * 1_000_000 + path
    order = None if np.all(np.diff(position) > 0) else np.argsort(position)
    if order is not None:
        days = days[order]
    unique, counts = np.unique(days, return_counts=True)
    horizon = of_columns(rows.column_names) or DEFAULT
    columns = np.empty((horizon, len(days)), np.float32)
    for h, name in enumerate(day_columns(horizon)):
        values = rows[name].to_numpy()
        columns[h] = values if order is None else values[order]
    found = []
    for count in np.unique(counts):
        chosen = counts == count
        own = columns if chosen.all() else columns[:, np.repeat(chosen, counts)]
        shaped = own.reshape(horizon, int(chosen.sum()), int(count))
        found.append((unique[chosen].astype("datetime64[D]"), np.moveaxis(shaped, 0, 2)))
    return found


def points_table(
    summary: Summary,
    origins: Dates,
    actual: NDArray[np.float64],
    per_date: Mapping[str, Sequence[Any]],
    **constant: Any,
) -> pa.Table:
    """Rows of `point_forecasts`, one a target day; `actual` float64 [n_origins, horizon], in the price's unit, with NaN
    while unknown."""
    import pyarrow as pa

    n, horizon = summary.mean.shape
    row = np.repeat(np.arange(n), horizon)
    ahead = np.tile(np.arange(horizon), n)
    statistics = {
        "forecast_mean": summary.mean,
        "forecast_median": summary.median,
        "forecast_std": summary.std,
        "lower_80": summary.lower_80,
        "upper_80": summary.upper_80,
        "lower_95": summary.lower_95,
        "upper_95": summary.upper_95,
    }
    columns: dict[str, Any] = {name: values.ravel() for name, values in statistics.items()}
    columns["actual_close"] = pa.array(actual.ravel(), pa.float64(), mask=np.isnan(actual.ravel()))
    columns["forecast_date"] = origins[row].astype("datetime64[D]")
    columns["target_date"] = (origins[row] + ahead * ONE_DAY).astype("datetime64[D]")
    columns["data_cutoff_date"] = (origins[row] - ONE_DAY).astype("datetime64[D]")
    columns["day_ahead"] = (ahead + 1).astype(np.int32)
    take = pa.array(row)
    schema = POINT_FORECASTS.at(horizon).arrow_schema()
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.name in per_date:
            arrays.append(pa.array(per_date[field.name], field.type).take(take))
        else:
            arrays.append(pa.array([constant[field.name]] * len(row), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def actuals_table(series: str, origins: Dates, actual: NDArray[np.float64], **per_date: Sequence[Any]) -> pa.Table:
    """Rows of `distributions` that hold what prices really did: one a forecast date, null while unknown; `actual`
    float64 [n_origins, horizon], in the price's unit."""
    import pyarrow as pa

    values = actual.astype(np.float32)[:, None, :]
    n = len(origins)
    table = distributions_table(
        values,
        origins,
        {**per_date, "training_cutoff_date": [None] * n, "model_id": [None] * n, "algorithm_version": [None] * n},
        commodity=series,
        model_name=ACTUALS,
        model_version=ACTUALS,
        has_data_leakage=False,
        staleness_days=0,
        is_backfill=True,
    )
    unknown = np.isnan(actual)
    for h, name in enumerate(day_columns(actual.shape[1])):
        position = table.schema.get_field_index(name)
        column = pa.array(values[:, 0, h], pa.float32(), mask=unknown[:, h])
        table = table.set_column(position, table.schema.field(position), column)
    position = table.schema.get_field_index("is_actuals")
    return table.set_column(position, table.schema.field(position), pa.array([True] * n))
