"""Forecasting: which dates need paths, and the one entry point that makes them, chunk by chunk, on any compute."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.forecasting.summary import summarise
from forecast_platform.host.progress import Progress, silent
from forecast_platform.pipeline.forecast_plan import parts_of, plan, plan_each
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work import store
from forecast_platform.work.chunks import MANY_ROWS, Chunk, most_dates
from forecast_platform.work.fits import manifests, refuse_missing_extra
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome, ranges_text
from forecast_platform.work.rows import paths_by_count

if TYPE_CHECKING:
    import pyarrow as pa


def forecast(
    platform: Platform,
    series: str,
    model: str,
    dates: Sequence[dt.date],
    *,
    version: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Paths and point forecasts of `model` for each of `dates`; what is there and unchanged is left alone.

    Raises RefusedError where the model's library is not installed here.
    """
    wanted = {series: dates}
    (outcome,) = forecast_each(platform, wanted, model, version=version, overwrite=overwrite, progress=progress)
    return outcome


def forecast_each(
    platform: Platform,
    wanted: Mapping[str, Sequence[dt.date]],
    model: str,
    *,
    version: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[Outcome]:
    """`forecast` of each series; in this process those of few dates are written together, which is most of what they
    take."""
    local = platform.settings.compute == "local"
    if local:
        refuse_missing_extra(platform, model)
    version = version or platform.settings.model_version
    most = MANY_ROWS // platform.settings.n_paths if local else 0
    return [
        outcome
        for part in _few(wanted, most)
        for outcome in _forecast(platform, part, model, version, overwrite, progress)
    ]


def _few(wanted: Mapping[str, Sequence[dt.date]], most: int) -> Iterator[dict[str, Sequence[dt.date]]]:
    """The series in their order, at most so many dates at a time; a series that has more, by itself."""
    part: dict[str, Sequence[dt.date]] = {}
    for series, dates in wanted.items():
        if part and sum(map(len, part.values())) + len(dates) > most:
            yield part
            part = {}
        part[series] = dates
    if part:
        yield part


def _forecast(
    platform: Platform,
    wanted: Mapping[str, Sequence[dt.date]],
    model: str,
    version: str,
    overwrite: bool,
    progress: Progress,
) -> list[Outcome]:
    """Of several series in this process only: elsewhere a compute has chunks of one."""
    from forecast_platform.compute import compute_for

    started = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    chunks: list[Chunk] = []
    for series, todo in plan_each(platform, wanted, model, version, overwrite=overwrite).items():
        outcome = outcomes[series] = Outcome(series, model, skipped=set(todo.skipped), failed=dict(todo.failed))
        if todo.repair:
            repair_points(platform, series, model, version, todo.repair)
            repaired = f"{len(todo.repair)} dates had paths but no point forecasts of them; made from the paths"
            outcome.notes.append(repaired)
        for member, days in todo.without.items():
            outcome.notes.append(f"pooled without {member}: {ranges_text(days)}")
        chunks += todo.chunks
    total = sum(len(set(dates)) for dates in wanted.values())

    def current(keys: Sequence[str]) -> dict[str, dt.datetime]:
        (series,) = wanted
        found = plan(platform, series, model, version, [dt.date.fromisoformat(key) for key in keys])
        if found.repair:  # a run that was ended between its two writes
            repair_points(platform, series, model, version, found.repair)
        return {day.isoformat(): made for day, made in found.kept.items()}

    # Closed also where an interrupt comes between two results: what the compute still has going on must end.
    with closing(compute_for(platform.settings).run(platform, chunks, current)) as results:
        for result in results:
            series = result.chunk.series
            outcome = outcomes[series]
            outcome.written.update(result.written)
            outcome.failed.update(result.failed)
            outcome.rows += result.rows
            outcome.runs.extend(result.runs)
            done = sum(len(one.good) + len(one.failed) for one in outcomes.values())
            progress(done, total, f"{series} {model} {result.chunk.dates[-1]}")
    for series, outcome in outcomes.items():
        store.failures(platform, series, model, version, outcome.failed)
        outcome.seconds = (time.perf_counter() - started) / len(outcomes)
    return list(outcomes.values())


def repair_points(platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date]) -> None:
    """Metadata where it is missing, and point forecasts from the stored paths, for dates whose step was killed between
    these writes.
    """
    _repair_metadata(platform, series, model, version, dates)
    for part in parts_of(sorted(dates), most_dates(platform.horizon)):
        where = keys_of(series, model, version, part, by_month=True)
        columns = [
            "forecast_date",
            "path_id",
            "generation_timestamp",
            "training_cutoff_date",
            *day_columns(platform.horizon),
        ]
        rows = platform.warehouse.read(DISTRIBUTIONS, columns, where)
        first = _first_paths(rows)
        for origins, paths in paths_by_count(rows):
            cutoffs = [first[day.astype(dt.date)]["training_cutoff_date"] for day in origins]
            for cutoff in sorted(set(cutoffs)):
                chosen = np.array([one == cutoff for one in cutoffs])
                times = [first[day.astype(dt.date)]["generation_timestamp"] for day in origins[chosen]]
                points = store.points(
                    platform, series, model, version, origins[chosen], summarise(paths[chosen]), times, cutoff
                )
                store.put(platform, POINT_FORECASTS, model, version, [points])


def _repair_metadata(platform: Platform, series: str, model: str, version: str, dates: Sequence[dt.date]) -> None:
    columns = ["forecast_date", "model_id", "input_hash", "last_observed_date", "generation_timestamp"]
    where = keys_of(series, model, version, dates, by_month=True)
    paths = platform.warehouse.read(DISTRIBUTIONS, columns, {**where, "path_id": 0}).to_pylist()
    where = {**keys_of(series, model, version, dates, by_month=False), "model_success": True}
    times = ["forecast_date", "generation_timestamp"]
    there = platform.warehouse.read(FORECAST_METADATA, times, where).to_pylist()
    known = {(row["forecast_date"], row["generation_timestamp"]) for row in there}
    fits = manifests(platform, series, model, version)
    lacking: dict[tuple[str, dt.datetime], list[dict[str, Any]]] = {}
    for row in paths:
        if (row["forecast_date"], row["generation_timestamp"]) not in known:
            lacking.setdefault((row["model_id"], row["generation_timestamp"]), []).append(row)
    for (model_id, generated), rows in lacking.items():
        made = store.successes(
            platform,
            series,
            model,
            version,
            np.array([row["forecast_date"] for row in rows], "datetime64[D]"),
            model_id=model_id,
            hashes=[row["input_hash"] for row in rows],
            last_observed=[row["last_observed_date"] for row in rows],
            generated=generated,
            training_seconds=fits[platform.window_start(rows[0]["forecast_date"])].training_seconds,
            inference_seconds=None,
        )
        store.put(platform, FORECAST_METADATA, model, version, [made])


def _first_paths(rows: pa.Table) -> dict[dt.date, dict[str, Any]]:
    import pyarrow.compute as pc

    first = rows.filter(pc.field("path_id") == 0).select(
        ["forecast_date", "generation_timestamp", "training_cutoff_date"]
    )
    return {row["forecast_date"]: row for row in first.to_pylist()}
