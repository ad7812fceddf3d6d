"""Rows that were lost, made again from models, data and jobs' results; a forecast bears its first time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from forecast_platform.housekeeping.remake_jobs import remake_jobs
from forecast_platform.models import registry
from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.publish import forecast_runs
from forecast_platform.pipeline.scoring import score
from forecast_platform.sources.base import SourceError
from forecast_platform.warehouse.base import WarehouseError, keys_of
from forecast_platform.warehouse.damage import Damage
from forecast_platform.warehouse.schemas import (
    ACTUALS,
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    UNIFIED_DATA,
)
from forecast_platform.work import store
from forecast_platform.work.chunks import Chunk, distribution_rows, simulate
from forecast_platform.work.fits import MissingModelError, StoredModel, load_model
from forecast_platform.work.forecast_chunk import read_chunk_inputs
from forecast_platform.work.platform import NoDataError, Platform
from forecast_platform.work.results import Outcome, failures_text, ranges_text

Key = tuple[str, str, str]
"""Series, model and version."""

_OWNER = ("commodity", "model_name", "model_version")


def remake(platform: Platform, lost: Sequence[Damage], say: Callable[[str], None]) -> Iterator[str]:
    """Make again what the damaged files held, and what points or scores tell of and the paths lack; yields why not."""
    try:
        yield from remake_jobs(platform, lost, say)
        yield from _data(platform, lost, say)
        yield from _actuals(platform, lost, say)
        yield from _forecasts(platform, lost, say)
    except (SourceError, WarehouseError, NoDataError) as error:
        yield f"not everything is made again: {error}; mend that, then run `forecast-platform repair` again"


def _data(platform: Platform, lost: Sequence[Damage], say: Callable[[str], None]) -> Iterator[str]:
    files = [one for one in lost if one.table is UNIFIED_DATA]
    if not files:
        return
    settings = platform.settings
    for name in settings.series_names:
        spans = [one.dates for one in files if one.partition.get("commodity", name) == name]
        if not spans:
            continue
        known = [span for span in spans if span is not None]
        first, last = settings.history_start, min(settings.today(), settings.end_date or settings.today())
        if len(known) == len(spans):
            first, last = min(span[0] for span in known), max(span[1] for span in known)
        report = ingest(platform, [name], first, last)
        outcome = report.outcomes[name]
        say(f"unified_data: {len(outcome.written)} days of {name} are read again from the source")
        stored = platform.stored_dates(name)
        late = {day: why for day, why in outcome.failed.items() if stored and stored[0] <= day <= stored[1]}
        if stored is None or late:
            yield f"unified_data of {name}: {failures_text(late or outcome.failed)}"


def _actuals(platform: Platform, lost: Sequence[Damage], say: Callable[[str], None]) -> Iterator[str]:
    files = [one for one in lost if one.table is DISTRIBUTIONS and one.partition.get("model_name", ACTUALS) == ACTUALS]
    if not files:
        return
    for name in platform.settings.series_names:
        dates = _known_dates(platform, name, files)
        if dates:
            outcome = write_actuals(platform, name, dates)
            say(f"distributions/{ACTUALS}: {len(outcome.written)} dates of {name}")
            if outcome.failed:
                yield f"distributions/{ACTUALS} of {name}: {failures_text(outcome.failed)}"


def _known_dates(platform: Platform, series: str, files: Sequence[Damage]) -> list[dt.date]:
    """Dates of a series that have a forecast, in the span of these files."""
    rows = platform.warehouse.read(
        POINT_FORECASTS, ["forecast_date"], {"commodity": series, "day_ahead": platform.horizon}
    )
    spans = [one.dates for one in files if one.partition.get("commodity", series) == series]
    return sorted({day for day in rows["forecast_date"].to_pylist() if _inside(day, spans)})


def _inside(day: dt.date, spans: Iterable[tuple[dt.date, dt.date] | None]) -> bool:
    return any(span is None or span[0] <= day <= span[1] for span in spans)


def _forecasts(platform: Platform, lost: Sequence[Damage], say: Callable[[str], None]) -> Iterator[str]:
    """Paths that points, scores or a lost file tell of; points of paths; metadata of both; the ready signal."""
    told = _told(platform)
    for one in lost:
        if one.table in (DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA) and one.dates is None:
            say(f"{one.file}: what it held is not known; forecasts that nothing tells of are made by a backfill")
    changed: set[dt.date] = set()
    for key, about in sorted(told.items(), key=lambda item: _in_order(platform, item[0])):
        paths, points, metadata = about["paths"], about["points"], about["metadata"]
        counts = about["counts"]
        whole = {day for day, count in counts.items() if day in paths and count == platform.settings.n_paths}
        lacking = sorted((set(points) | {day for day, row in metadata.items() if row["model_success"]}) - whole)
        unmatched = sorted(day for day in whole if points.get(day) != paths[day]["generation_timestamp"])
        untold = sorted(day for day in whole if not metadata.get(day, {}).get("model_success"))
        if not (lacking or unmatched or untold):
            continue
        series, model, version = key
        if series not in platform.settings.series_names or model not in {*platform.settings.models, *registry.names()}:
            yield f"{'/'.join(key)}: not configured any more; {ranges_text(lacking)} are not made again"
            continue
        again = _paths(platform, key, lacking, points, metadata)
        wanted = [*lacking, *unmatched]
        outcome = forecast(platform, series, model, wanted, version=version) if wanted else Outcome(series, model)
        renewed = sorted(outcome.written)
        say(
            f"{series}/{model} {version}: paths of {len(again) + len(renewed)} dates, points of "
            f"{len(set(lacking) | set(unmatched))}, metadata of {len(untold) + len(renewed)}"
            + (f"; anew, for their model or data have changed: {ranges_text(renewed)}" if renewed else "")
        )
        if outcome.failed:
            yield f"{series}/{model} {version}: {failures_text(outcome.failed)}"
        changed.update(again, renewed, unmatched, untold)
        _metadata(platform, key, sorted({*again, *untold} - set(renewed)), metadata)
        starts = sorted({platform.window_start(day) for day in (*again, *renewed, *untold)})
        if starts and _was_scored(metadata):
            score(platform, series, model, starts, version=version)
    dates = changed | {day for one in lost if one.table is FORECAST_RUNS for day in _all_dates(told)}
    if dates:
        forecast_runs(platform, sorted(dates))


def _in_order(platform: Platform, key: Key) -> tuple[str, int, str, str]:
    """A series' combinations after what they are made of."""
    series, model, version = key

    def depth(name: str) -> int:
        members = platform.settings.model_spec(name).of if name in platform.settings.models else ()
        return 1 + max(map(depth, members)) if members else 0

    return series, depth(model), model, version


def _all_dates(told: dict[Key, dict[str, Any]]) -> set[dt.date]:
    return {day for about in told.values() for day in about["points"]}


def _was_scored(metadata: dict[dt.date, dict[str, Any]]) -> bool:
    """Whether this model is scored at all; where nothing is left to tell, it is."""
    return not metadata or any(row["scored_at"] is not None for row in metadata.values())


def _told(platform: Platform) -> dict[Key, dict[str, Any]]:
    """By series, model and version: what paths, points and metadata there are, by date."""
    found: dict[Key, dict[str, Any]] = {}

    def of(row: dict[str, Any]) -> dict[str, Any]:
        key = (row["commodity"], row["model_name"], row["model_version"])
        return found.setdefault(key, {"paths": {}, "points": {}, "metadata": {}, "counts": {}})

    read = platform.warehouse.read
    columns = [*_OWNER, "forecast_date", "generation_timestamp", "path_id"]
    rows = read(DISTRIBUTIONS, columns, {"is_actuals": False})
    for row in rows.group_by(columns[:-1]).aggregate([("path_id", "count")]).to_pylist():
        about = of(row)
        about["counts"][row["forecast_date"]] = about["counts"].get(row["forecast_date"], 0) + row["path_id_count"]
        about["paths"][row["forecast_date"]] = row
    for row in read(POINT_FORECASTS, columns[:-1], {"day_ahead": platform.horizon}).to_pylist():
        of(row)["points"][row["forecast_date"]] = row["generation_timestamp"]
    names = ["model_success", "model_id", "input_hash", "training_seconds", "inference_seconds", "scored_at"]
    for row in read(FORECAST_METADATA, [*columns[:-1], *names]).to_pylist():
        of(row)["metadata"][row["forecast_date"]] = row
    return found


def _paths(
    platform: Platform,
    key: Key,
    dates: Sequence[dt.date],
    points: dict[dt.date, dt.datetime],
    metadata: dict[dt.date, dict[str, Any]],
) -> list[dt.date]:
    """Paths of those `dates` whose model and inputs are what they were, to the same bits, with their first time."""
    done: list[dt.date] = []
    series, model, version = key
    for start in sorted({platform.window_start(day) for day in dates}):
        days = tuple(day for day in dates if platform.window_start(day) == start)
        try:
            stored = load_model(platform, series, model, version, start)
            inputs = read_chunk_inputs(platform, stored, series, days)
        except (NoDataError, MissingModelError):
            continue  # `forecast` says which and what to do
        hashes = dict(zip(inputs.dates.astype(dt.date), inputs.hashes, strict=True))
        made: dict[dt.datetime, list[dt.date]] = {}
        for day in days:
            row = metadata.get(day, {})
            same = (row.get("model_id"), row.get("input_hash")) == (stored.model_id, hashes.get(day))
            time = row.get("generation_timestamp") if row else points.get(day)
            if time is not None and (same or not row):
                made.setdefault(time, []).append(day)
        for time, chosen in made.items():
            _write(platform, Chunk(series, model, version, start, tuple(chosen)), stored, time)
            done += chosen
    return done


def _write(platform: Platform, chunk: Chunk, stored: StoredModel, generated: dt.datetime) -> None:
    settings = platform.settings
    inputs = read_chunk_inputs(platform, stored, chunk.series, chunk.dates, base_paths=True)
    made = simulate(stored.fitted, inputs, platform.horizon, settings.n_paths, settings.seed)
    if not made.days:
        return
    rows = distribution_rows(
        chunk,
        made,
        is_backfill=[store.is_backfill(settings, day, generated) for day in made.days],
        generated=generated,
        model_id=stored.model_id,
        algorithm_version=stored.paths_version,
    )
    key = (chunk.series, chunk.model, chunk.version)
    platform.warehouse.replace(DISTRIBUTIONS, rows, keys_of(*key, made.days, by_month=True))


def _metadata(platform: Platform, key: Key, dates: Sequence[dt.date], metadata: dict[dt.date, dict[str, Any]]) -> None:
    """Rows of `forecast_metadata` for paths that have none; how long they took is not known any more."""
    dates = [day for day in dates if not metadata.get(day, {}).get("model_success")]
    if not dates:
        return
    columns = ["forecast_date", "model_id", "input_hash", "last_observed_date", "generation_timestamp"]
    where = {**keys_of(*key, dates, by_month=True), "path_id": 0}
    rows = platform.warehouse.read(DISTRIBUTIONS, columns, where).to_pylist()
    for identity in sorted({(row["model_id"], row["generation_timestamp"]) for row in rows}):
        part = [row for row in rows if (row["model_id"], row["generation_timestamp"]) == identity]
        stored = load_model(platform, *key, platform.window_start(part[0]["forecast_date"]))
        made = store.successes(
            platform,
            *key,
            np.array([row["forecast_date"] for row in part], "datetime64[D]"),
            model_id=identity[0],
            hashes=[row["input_hash"] for row in part],
            last_observed=[row["last_observed_date"] for row in part],
            generated=identity[1],
            training_seconds=stored.training_seconds,
            inference_seconds=None,
        )
        store.put(platform, FORECAST_METADATA, *key[1:], [made])
