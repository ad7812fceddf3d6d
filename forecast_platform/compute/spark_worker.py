"""What a Spark worker does: one row of work in, simulated and validated paths out, with the local compute's functions.

A row holds all that its dates need (fitted model, history, hashes), so a worker reads no table. Arrow throughout.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forecast_platform.forecasting.history import Dates, History, RollSchedule
from forecast_platform.forecasting.summary import Summary, summarise
from forecast_platform.host.files import write_whole
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.saved import Saved
from forecast_platform.models.saved import from_bytes as unpacked
from forecast_platform.models.saved import load as open_saved
from forecast_platform.models.tags import ModelSpec
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.chunks import Chunk, Forecasts, Inputs, distribution_rows, simulate

log = logging.getLogger(__name__)

PIECE = pa.struct(
    [
        ("number", pa.int32()),
        ("dates", pa.list_(pa.date32())),
        ("hashes", pa.list_(pa.string())),
        ("last_observed", pa.list_(pa.date32())),
        ("staleness", pa.list_(pa.int32())),
        ("is_backfill", pa.list_(pa.bool_())),
    ]
)
"""Dates of one window that one task makes."""

CALENDAR = pa.struct(
    [
        ("sessions", pa.list_(pa.date32())),
        ("rolls", pa.list_(pa.date32())),
        ("months", pa.list_(pa.int32())),
    ]
)
"""What a history knows beyond its last day: sessions and scheduled rolls; the rolls are null where there is no rule."""

WINDOWS = pa.schema(
    [
        ("series", pa.string()),
        ("model", pa.string()),
        ("spec", pa.string()),
        ("version", pa.string()),
        ("window_start", pa.date32()),
        ("training_start", pa.date32()),
        ("training_end", pa.date32()),
        ("fitted", pa.string()),
        ("files", pa.binary()),
        ("model_id", pa.string()),
        ("algorithm_version", pa.int32()),
        ("history", pa.binary()),
        ("calendar", CALENDAR),
        ("pieces", pa.list_(PIECE)),
    ]
)
"""What the driver sends: the model and the history once a window; Spark pairs them with each piece (`piece`)."""

STATISTICS = tuple(item.name for item in fields(Summary))

REPORT = pa.schema(
    [("forecast_date", pa.date32()), ("error", pa.string())] + [(name, pa.list_(pa.float64())) for name in STATISTICS],
)
"""What a piece reports beside its paths: a row a date, with why it has none, or the statistics of its paths."""

REPLY_DDL = "number int, seconds double, report binary, rows binary"
"""One row a piece, where the paths do not go to Spark: `rows` is null unless the driver writes them."""

_SQL_TYPES = {"float": "double", "float32": "float", "bool": "boolean"}


def rows_ddl(horizon: int) -> str:
    """The rows of `distributions`, as Spark's DDL names their types."""
    columns = DISTRIBUTIONS.at(horizon).columns
    return ", ".join(f"{column.name} {_SQL_TYPES.get(column.type, column.type)}" for column in columns)


@dataclass(frozen=True)
class SparkJob:
    """What is the same for every row of a Spark job."""

    horizon: int
    n_paths: int
    seed: int
    generated: dt.datetime
    root: str | None
    """The warehouse folder, where workers write to it themselves."""
    min_free_gb: float
    reports: str | None
    """Folder for reports, where the job's own output is the paths."""


Worker = Callable[[SparkJob, Mapping[str, Any]], tuple[Forecasts, pa.Table]]


def forecast_piece(job: SparkJob, row: Mapping[str, Any]) -> tuple[Forecasts, pa.Table]:
    """Simulate and validate the dates of one row: the outcome, and the rows of `distributions`."""
    piece = row["piece"]
    chunk = Chunk(row["series"], row["model"], row["version"], row["window_start"], tuple(piece["dates"]))
    inputs = Inputs(
        history=history_of(row["series"], row["history"], row["calendar"]),
        dates=np.array(piece["dates"], "datetime64[D]"),
        hashes=piece["hashes"],
        last_observed=np.array(piece["last_observed"], "datetime64[D]"),
        staleness=piece["staleness"],
        failed={},
    )
    window = TrainingWindow(np.datetime64(row["training_start"], "D"), np.datetime64(row["training_end"], "D"))
    try:
        # Whose the files are was proved by the driver; that they are the manifest's is looked at here again.
        saved = Saved(row["fitted"], unpacked(row["files"]))
        fitted = open_saved(ModelSpec.from_json(row["spec"]), saved, window)
        made = simulate(fitted, inputs, job.horizon, job.n_paths, job.seed)
    except (OSError, MemoryError, ImportError):
        raise  # the machine's fault, not the forecast's: Spark tries the task again elsewhere
    except Exception as error:
        log.exception("%s %s %s: dates %s to %s failed", *row_name(row))
        reason = f"{type(error).__name__}: {error}"
        none = np.empty((0, job.n_paths, job.horizon), np.float32)
        made = Forecasts(inputs.dates[:0], none, [], [], [], dict.fromkeys(chunk.dates, reason))
        return made, DISTRIBUTIONS.at(job.horizon).arrow_schema().empty_table()
    flags = dict(zip(piece["dates"], piece["is_backfill"], strict=True))
    rows = distribution_rows(
        chunk,
        made,
        is_backfill=[flags[day] for day in made.days],
        generated=job.generated,
        model_id=row["model_id"],
        algorithm_version=row["algorithm_version"],
    )
    return made, rows


def stream_rows(job: SparkJob, worker: Worker, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: a batch of pieces' rows to the rows of distributions, for Spark to write; each piece's report
    goes to a file, complete or not there."""
    for row in _rows_of(batches):
        started = time.perf_counter()
        made, rows = worker(job, row)
        reply = _reply(row["piece"]["number"], made, time.perf_counter() - started, None)
        yield from rows.to_batches()
        # A task that is tried again writes the same file again: what a job gave does not depend on its losses.
        # The driver that reads it may be another account than the worker.
        assert job.reports is not None  # noqa: S101 - set by the driver for this function
        report = to_bytes(pa.Table.from_batches([reply]))
        write_whole(Path(job.reports) / f"{row['piece']['number']}.arrow", report, 0o666)


def stream_replies(job: SparkJob, worker: Worker, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: a batch of pieces' rows to one row of REPLY_DDL a piece; its paths are in the warehouse already,
    or in the reply."""
    for row in _rows_of(batches):
        started = time.perf_counter()
        made, rows = worker(job, row)
        if job.root is not None and rows.num_rows:
            _replace(job, row, made, rows)
        sent = None if job.root is not None else rows
        yield _reply(row["piece"]["number"], made, time.perf_counter() - started, sent)


def history_bytes(history: History) -> bytes:
    """A history as Arrow, without its calendar."""
    columns: dict[str, Any] = {"date": history.dates, "close": history.close, "observed": history.observed}
    if history.rolls is not None:
        columns["rolls"] = history.rolls
    columns.update({f"own {name}": values for name, values in history.own_values.items()})
    columns.update({f"covariate {name}": values for name, values in history.covariates.items()})
    return to_bytes(pa.table(columns))


def calendar_of(history: History) -> dict[str, Any]:
    """A history's sessions and schedule as a value of `CALENDAR`."""
    rolls = history.schedule
    return {
        "sessions": list(history.sessions.astype(dt.date)),
        "rolls": None if rolls is None else list(rolls.dates.astype(dt.date)),
        "months": None if rolls is None else rolls.months.tolist(),
    }


def history_of(series: str, data: bytes, calendar: Mapping[str, Any]) -> History:
    """The history that `history_bytes` and `calendar_of` wrote."""
    table = from_bytes(data)
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    return History(
        series=series,
        dates=columns["date"].astype("datetime64[D]"),
        close=columns["close"],
        observed=columns["observed"],
        sessions=np.array(calendar["sessions"], "datetime64[D]"),
        covariates={
            name.removeprefix("covariate "): values for name, values in columns.items() if name.startswith("covariate ")
        },
        rolls=columns.get("rolls"),
        schedule=None
        if calendar["rolls"] is None
        else RollSchedule(np.array(calendar["rolls"], "datetime64[D]"), np.array(calendar["months"], np.int64)),
        **{name: columns.get(f"own {name}") for name in ("high", "low", "close_2")},
    )


def to_bytes(table: pa.Table) -> bytes:
    """A table, of any columns, as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(data: bytes) -> pa.Table:
    """The table that `to_bytes` wrote, with its columns."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def report_of(made: Forecasts) -> pa.Table:
    """The report of what was made, rows of REPORT: good dates with their statistics, then failed ones with their
    reason."""
    summary = summarise(made.paths) if len(made.origins) else None
    columns: dict[str, Any] = {
        "forecast_date": [*made.days, *made.failed],
        "error": [None] * len(made.origins) + list(made.failed.values()),
    }
    for name in STATISTICS:
        values = [] if summary is None else list(getattr(summary, name))
        columns[name] = [*values, *[None] * len(made.failed)]
    return pa.table(columns, schema=REPORT)


def summary_of(report: pa.Table) -> tuple[Dates, Summary]:
    """The good dates [n] of a report (rows of REPORT) and their statistics, [n, horizon] each, by date."""
    good = report.filter(report["error"].is_null()).sort_by("forecast_date")
    dates = good["forecast_date"].to_numpy().astype("datetime64[D]")
    values = {name: np.array(good[name].to_pylist(), np.float64) for name in STATISTICS}
    return dates, Summary(**values)


def row_name(row: Mapping[str, Any]) -> tuple[str, str, str, dt.date, dt.date]:
    """Series, model, version, first and last date of a row of work."""
    dates = row["piece"]["dates"]
    return row["series"], row["model"], row["version"], dates[0], dates[-1]


def _rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for position in range(batch.num_rows):
            yield batch.slice(position, 1).to_pylist()[0]


def _reply(number: int, made: Forecasts, seconds: float, rows: pa.Table | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "number": pa.array([number], pa.int32()),
            "seconds": pa.array([seconds], pa.float64()),
            "report": pa.array([to_bytes(report_of(made))], pa.binary()),
            "rows": pa.array([None if rows is None else to_bytes(rows)], pa.binary()),
        }
    )


def _replace(job: SparkJob, row: Mapping[str, Any], made: Forecasts, rows: pa.Table) -> None:
    from forecast_platform.warehouse.delta import DeltaWarehouse

    assert job.root is not None  # noqa: S101 - the caller looked
    warehouse = DeltaWarehouse(Path(job.root), min_free_gb=job.min_free_gb, horizon=job.horizon)
    where = keys_of(row["series"], row["model"], row["version"], made.days, by_month=True)
    warehouse.replace(DISTRIBUTIONS, rows, where)
