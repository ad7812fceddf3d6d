"""What goes between a job's service and its run on a cluster: the data as a table, and where files lie."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.panel import Panel

if TYPE_CHECKING:
    import pyarrow as pa

DATA = "data.parquet"
RESULTS_FOLDER = "results"
PROGRESS = "progress.json"
EXTRAS = {"autogluon": "automl", "neuralforecast": "neural"}
"""Extra of the package that a mode's notebook installs."""


def table_of(panel: Panel, config: JobConfig) -> pa.Table:
    """The panel's rows under the config's own column names, from which `build` makes the same panel again: missing rows
    are left out, covariates known ahead stand in rows without a target."""
    import pyarrow as pa

    ahead = config.horizon if panel.future else 0
    pieces = []
    for k, name in enumerate(panel.ids):
        rows = slice(panel.starts[k], panel.starts[k + 1])
        stamps, values, known = panel.stamps(k), panel.series(k), panel.known[rows]
        columns = {config.time_col: stamps[known], config.target_col: values[known]}
        columns |= {covariate: cells[rows][known] for covariate, cells in panel.covariates.items()}
        pieces.append((name, columns))
        if ahead:
            last = panel.frequency.stamps(panel.first[k] + panel.lengths[k] + np.arange(ahead))
            future = {covariate: panel.future[covariate][k] for covariate in panel.future}
            nothing = np.full(ahead, np.nan)
            columns = {config.time_col: last, config.target_col: nothing}
            columns |= {covariate: future.get(covariate, nothing) for covariate in panel.covariates}
            pieces.append((name, columns))
    found: dict[str, pa.Array] = {}
    if config.id_col is not None:
        found[config.id_col] = pa.array([name for name, columns in pieces for _ in columns[config.time_col]])
    for column in pieces[0][1]:
        cells = np.concatenate([columns[column] for _, columns in pieces])
        if column == config.time_col:
            # As text: engines differ in what they make of a stamp without a zone.
            found[column] = pa.array(np.datetime_as_string(cells, unit="s").astype(object))
        else:
            found[column] = pa.array(cells, from_pandas=True)
    return pa.table(found)


def table_bytes(panel: Panel, config: JobConfig) -> bytes:
    """`table_of` as a Parquet file."""
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(table_of(panel, config), file, compression="zstd")
    return file.getvalue()
