"""How chunks become the rows of a Spark job, and its answers the outcome of chunks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.clients.spark_session import Writer
from forecast_platform.forecasting.history import Dates
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.summary import Summary
from forecast_platform.host.redaction import hide
from forecast_platform.models.saved import to_bytes
from forecast_platform.work import store
from forecast_platform.work.chunks import Chunk, Forecasts, Inputs
from forecast_platform.work.fits import StoredModel
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa

MIN_PIECE_DATES = 8
"""Dates below which loading the model and filtering the history would cost more than simulating."""

MIN_GROUP_DATES, DRIVER_GROUP_DATES = 368, 736
"""Dates of one job: at least a year, so that jobs are few; at most two where the paths pass through the driver (of 14
days: fewer of more)."""


class SparkJobError(RuntimeError):
    """A Spark job ended without having done what it was given; its keys are as they were, or whole."""


def reason_of(error: Exception) -> str:
    """A lost job's error, shortened: Spark's messages carry stack traces of two languages, the cause at one end."""
    text = hide(str(error).strip())  # before it is cut: half a secret is not known as one
    return f"{type(error).__name__}: {text if len(text) <= 900 else text[:500] + ' ... ' + text[-400:]}"


@dataclass(frozen=True)
class Prepared:
    """A chunk, what its dates are forecast from, and how they are cut."""

    chunk: Chunk
    stored: StoredModel
    inputs: Inputs
    pieces: dict[int, slice]


@dataclass(frozen=True)
class Replies:
    """What came back of a job, by piece.

    reports: rows of spark_worker.REPORT; seconds: of wall time; rows: of distributions, where the driver writes them.
    """

    reports: dict[int, pa.Table]
    seconds: dict[int, float]
    rows: dict[int, pa.Table]


def groups(chunks: Sequence[Chunk], slots: int, writer: Writer, horizon: int = DEFAULT) -> Iterator[list[Chunk]]:
    """Chunks of one job each: enough dates to keep every slot busy, few enough to lose little with a job."""
    most = max(MIN_GROUP_DATES, slots * 30)
    if writer == "driver":
        most = min(most, DRIVER_GROUP_DATES * DEFAULT // max(horizon, DEFAULT))
    group: list[Chunk] = []
    for chunk in chunks:
        full = sum(len(other.dates) for other in group) + len(chunk.dates) > most
        if group and (full or key_of(group[0]) != key_of(chunk)):
            yield group
            group = []
        group.append(chunk)
    if group:
        yield group


def piece_size(chunks: Sequence[Chunk], slots: int) -> int:
    """How many dates a piece of these chunks has: one piece a slot, but no fewer than MIN_PIECE_DATES."""
    return max(MIN_PIECE_DATES, -(-sum(len(chunk.dates) for chunk in chunks) // slots))


def key_of(chunk: Chunk) -> tuple[str, str, str]:
    """Series, model and version: what one write's predicate names."""
    return chunk.series, chunk.model, chunk.version


def split(dates: Dates, size: int, *, whole_months: bool) -> list[slice]:
    """Positions of consecutive dates [n], about `size` dates each: whole months where they fit, so that a file has one
    writer.

    With `whole_months` a month is never cut: delta-rs refuses two writers of one file partition.
    """
    months = dates.astype("datetime64[M]")
    edges = [0, *(int(edge) for edge in np.flatnonzero(months[1:] != months[:-1]) + 1), len(dates)]
    parts: list[slice] = []
    for first, last in pairwise(edges):
        if parts and last - parts[-1].start <= size:
            parts[-1] = slice(parts[-1].start, last)
            continue
        cuts = 1 if whole_months else -(-(last - first) // size)
        bounds = np.linspace(first, last, cuts + 1).astype(int)
        parts.extend(slice(int(low), int(high)) for low, high in pairwise(bounds))
    return parts


def window_row(platform: Platform, prepared: Prepared, now: dt.datetime) -> dict[str, Any]:
    """A chunk as a row of `spark_worker.WINDOWS`."""
    from forecast_platform.compute.spark_worker import calendar_of, history_bytes

    chunk, stored, inputs = prepared.chunk, prepared.stored, prepared.inputs
    days = list(inputs.dates.astype(dt.date))
    newest = list(inputs.last_observed.astype(dt.date))
    flags = [store.is_backfill(platform.settings, day, now) for day in days]
    return {
        "series": chunk.series,
        "model": chunk.model,
        "spec": platform.settings.model_spec(chunk.model).to_json(),
        "version": chunk.version,
        "window_start": chunk.window_start,
        "training_start": stored.window.start.astype(dt.date),
        "training_end": stored.window.end.astype(dt.date),
        "fitted": stored.saved.text,
        "files": to_bytes(stored.saved.files),
        "model_id": stored.model_id,
        "algorithm_version": stored.paths_version,
        "history": history_bytes(inputs.history),
        "calendar": calendar_of(inputs.history),
        "pieces": [
            {
                "number": number,
                "dates": days[part],
                "hashes": inputs.hashes[part],
                "last_observed": newest[part],
                "staleness": inputs.staleness[part],
                "is_backfill": flags[part],
            }
            for number, part in prepared.pieces.items()
        ],
    }


def collected(found: pa.Table, numbers: list[int]) -> Replies:
    """The replies of a job over these pieces. found: rows of REPLY_DDL. Raises SparkJobError where one lacks, or came
    twice."""
    from forecast_platform.compute.spark_worker import from_bytes

    rows = found.to_pylist()
    got = sorted(row["number"] for row in rows)
    if got != sorted(numbers):
        raise SparkJobError(f"a Spark job over {len(numbers)} pieces answered for {len(set(got))} ({len(got)} answers)")
    return Replies(
        reports={row["number"]: from_bytes(row["report"]) for row in rows},
        seconds={row["number"]: row["seconds"] for row in rows},
        rows={row["number"]: from_bytes(row["rows"]) for row in rows if row["rows"] is not None},
    )


def forecasts_from_replies(prepared: Prepared, replies: Replies) -> tuple[Forecasts, Summary]:
    """What became of a chunk, by its pieces' reports: as `chunks.simulate` gives it less the paths; and statistics."""
    import pyarrow as pa

    from forecast_platform.compute.spark_worker import summary_of

    inputs = prepared.inputs
    report = pa.concat_tables([replies.reports[number] for number in prepared.pieces])
    origins, summary = summary_of(report)
    failed = dict(inputs.failed)
    errors = zip(report["forecast_date"].to_pylist(), report["error"].to_pylist(), strict=True)
    failed.update({day: reason for day, reason in errors if reason is not None})
    at = np.searchsorted(inputs.dates, origins)
    made = Forecasts(
        origins=origins,
        paths=np.empty((0, 0, 0), np.float32),
        hashes=[inputs.hashes[row] for row in at],
        last_observed=list(inputs.last_observed[at].astype(dt.date)),
        staleness=[inputs.staleness[row] for row in at],
        failed=failed,
    )
    return made, summary
