"""How work is cut for Spark: every date once, even shares, no month with two writers where that would conflict."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forecast_platform.clients.spark import session_for
from forecast_platform.clients.spark_session import SparkUnavailableError, Writer, master_of, writer_of
from forecast_platform.compute import spark_worker
from forecast_platform.compute.spark_pieces import MIN_PIECE_DATES, groups, piece_size, split
from forecast_platform.pipeline.inference import forecast
from forecast_platform.settings import build
from forecast_platform.work.chunks import Chunk, Forecasts
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import needs_sail
from forecast_platform_tests.histories import nearby_history
from forecast_platform_tests.worlds import days, settings_for

_stream_rows = spark_worker.stream_rows
FIRST = np.datetime64("2018-01-20", "D")


@given(
    st.sets(st.integers(0, 400), min_size=1, max_size=184),
    st.integers(1, 200),
    st.booleans(),
)
def test_pieces_hold_every_date_once_in_order(offsets: set[int], size: int, whole_months: bool) -> None:
    dates = FIRST + np.array(sorted(offsets)).astype("timedelta64[D]")
    parts = split(dates, size, whole_months=whole_months)
    assert np.array_equal(np.concatenate([dates[part] for part in parts]), dates)
    assert all(part.stop > part.start for part in parts)
    if not whole_months:
        assert max(part.stop - part.start for part in parts) <= size


@given(st.integers(1, 366), st.integers(1, 100))
def test_whole_months_are_never_cut(n_dates: int, size: int) -> None:
    dates = FIRST + np.arange(n_dates)
    months = [set(dates[part].astype("datetime64[M]").tolist()) for part in split(dates, size, whole_months=True)]
    assert sum(len(found) for found in months) == len(set().union(*months))


def _chunk(first: dt.date, n_dates: int, series: str = "Alpha") -> Chunk:
    return Chunk(series, "naive", "v1.0", first, tuple(first + dt.timedelta(days=n) for n in range(n_dates)))


def test_groups_hold_every_chunk_once_and_one_series_each() -> None:
    chunks = [_chunk(dt.date(2018 + n, 1, 1), 181, series) for series in ("Alpha", "Beta") for n in range(5)]
    found = list(groups(chunks, 6, "spark"))
    assert [chunk for group in found for chunk in group] == chunks
    assert [len(group) for group in found] == [2, 2, 1, 2, 2, 1]
    assert [len(group) for group in groups(chunks, 384, "spark")] == [5, 5]


def _windows(first: dt.date, chosen: list[int]) -> list[Chunk]:
    """The chosen days after `first`, in chunks of half a year each."""
    dates = [first + dt.timedelta(days=offset) for offset in chosen]
    halves = groupby(dates, lambda day: (day.year, day.month > 6))
    return [Chunk("Alpha", "naive", "v1.0", part[0], tuple(part)) for part in ([*half] for _, half in halves)]


def _pieces(group: list[Chunk], slots: int, writer: Writer) -> list[int]:
    """Dates of each piece of a job."""
    size = piece_size(group, slots)
    return [
        part.stop - part.start
        for chunk in group
        for part in split(np.array(chunk.dates, "datetime64[D]"), size, whole_months=writer == "workers")
    ]


@given(
    st.integers(1, 64),
    st.dates(dt.date(2012, 1, 1), dt.date(2014, 1, 1)),
    st.integers(30, 3000),
    st.sampled_from([1.0, 0.9, 0.5, 0.2]),
    st.randoms(use_true_random=False),
    st.sampled_from(["spark", "driver"]),
)
def test_a_core_gets_two_to_four_partitions_of_like_size_whatever_the_chunks(
    cores: int, first: dt.date, span: int, share: float, draw: Any, writer: Writer
) -> None:
    slots = cores * build().spark.partitions_per_core
    chosen = [offset for offset in range(span) if draw.random() < share]
    assume(chosen)
    for group in groups(_windows(first, chosen), slots, writer):
        n_dates = sum(len(chunk.dates) for chunk in group)
        if n_dates < slots * MIN_PIECE_DATES:
            continue  # smaller pieces would cost more than they gain
        pieces = _pieces(group, slots, writer)
        # What SparkCompute makes of it (the test below), dealt out by number.
        partitions = min(slots, len(pieces))
        assert 2 * cores <= partitions <= 4 * cores
        assert max(pieces) <= -(-n_dates // slots)
        most = sum(sorted(pieces)[-len(pieces) // partitions :])  # the worst that may come together
        assert most <= 2.5 * n_dates / partitions


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 16, 64])
def test_workers_that_write_whole_months_get_two_to_four_partitions_a_core_from_long_backfills(cores: int) -> None:
    slots = cores * build().spark.partitions_per_core
    jobs = list(groups(_windows(dt.date(2005, 1, 1), list(range(7300))), slots, "workers"))
    # A job that is not full, the last, may have fewer months than slots.
    for group in jobs[:-1] or jobs:
        pieces = _pieces(group, slots, "workers")
        partitions = min(slots, len(pieces))
        assert 2 * cores <= partitions <= 4 * cores
        assert max(pieces) <= max(31, -(-sum(pieces) // slots))


def _counted(folder: Path, job: Any, worker: Any, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """`stream_rows`, which leaves a file that tells the dates of its partition."""
    got = list(batches)
    loads = [len(row["piece"]["dates"]) for batch in got for row in batch.to_pylist()]
    (folder / f"{uuid.uuid4().hex}.txt").write_text(" ".join(map(str, loads)))
    yield from _stream_rows(job, worker, got)


@needs_sail
@pytest.mark.slow
def test_the_engine_deals_the_pieces_out_evenly(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two windows, one of twelve days and one of three months: no partition is left with little, or with most."""
    monkeypatch.setattr(spark_worker, "stream_rows", partial(_counted, tmp_path))
    spark = {"master": "sail", "cores": 2}
    platform = Platform.from_settings(settings_for(small, compute="spark", spark=spark))
    span = days("2017-12-20", "2018-03-30")
    assert forecast(platform, "Alpha", "naive", span).written == set(span)
    loads = [sum(map(int, told.read_text().split())) for told in tmp_path.glob("*.txt")]
    assert sum(loads) == len(span)
    assert 2 * 2 <= len(loads) <= 4 * 2
    mean = sum(loads) / len(loads)
    assert max(loads) <= 2 * mean
    assert min(loads) >= mean / 2


def test_a_history_survives_the_journey_to_a_worker_to_the_bit(small: Path) -> None:
    table = Platform.from_settings(settings_for(small)).series_table("Alpha")
    start, end = np.datetime64("2015-01-01"), np.datetime64("2018-01-01")
    sent = table.history(start, end, ("temp_mean_c", "precipitation_mm"))
    got = spark_worker.history_of("Alpha", spark_worker.history_bytes(sent), spark_worker.calendar_of(sent))
    assert got.schedule is None
    assert not got.own_values
    assert list(got.covariates) == list(sent.covariates)
    for name in ("dates", "close", "observed", "sessions", "rolls"):
        assert np.array_equal(getattr(got, name), getattr(sent, name))
        assert getattr(got, name).dtype == getattr(sent, name).dtype
    assert all(np.array_equal(got.covariates[name], sent.covariates[name]) for name in sent.covariates)


def test_bars_and_schedules_survive_the_journey_to_the_bit() -> None:
    sent = nearby_history()
    rows = pa.Table.from_pylist(
        [{"history": spark_worker.history_bytes(sent), "calendar": spark_worker.calendar_of(sent)}],
        pa.schema([("history", pa.binary()), ("calendar", spark_worker.CALENDAR)]),
    )
    [row] = rows.to_pylist()
    got = spark_worker.history_of("Nearby", row["history"], row["calendar"])
    assert got.schedule is not None
    assert sent.schedule is not None
    for name in ("dates", "months"):
        assert np.array_equal(getattr(got.schedule, name), getattr(sent.schedule, name))
    assert set(got.own_values) == {"high", "low", "close_2"}
    assert all(np.array_equal(got.own_values[name], sent.own_values[name], equal_nan=True) for name in got.own_values)


def test_a_report_carries_statistics_of_good_dates_and_reasons_of_the_others() -> None:
    paths = np.random.default_rng(3).normal(100, 5, (2, 50, 14)).astype(np.float32)
    days = [dt.date(2018, 1, 3), dt.date(2018, 1, 5)]
    made = Forecasts(np.array(days, "datetime64[D]"), paths, [], [], [], {dt.date(2018, 1, 4): "exploding"})
    report = spark_worker.from_bytes(spark_worker.to_bytes(spark_worker.report_of(made)))
    dates, summary = spark_worker.summary_of(report)
    assert list(dates.astype(dt.date)) == days
    assert np.array_equal(summary.mean, paths.astype(np.float64).mean(axis=1))
    assert report.filter(report["error"].is_valid()).to_pylist()[0]["error"] == "exploding"


def test_the_writer_follows_the_master_unless_it_is_set(tmp_path: Path) -> None:
    (tmp_path / "landing" / "market").mkdir(parents=True)
    (tmp_path / "landing" / "market" / "alpha.csv").touch()
    for master, writer in {"sail": "spark", "local[2]": "workers", "spark://host:7077": "driver"}.items():
        assert writer_of(settings_for(tmp_path, compute="spark", spark={"master": master})) == writer
    chosen = settings_for(tmp_path, compute="spark", spark={"master": "sc://host", "writer": "spark"})
    assert writer_of(chosen) == "spark"


def test_without_java_or_sail_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "landing" / "market").mkdir(parents=True)
    (tmp_path / "landing" / "market" / "alpha.csv").touch()
    monkeypatch.setattr("forecast_platform.clients.spark_session.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    settings = settings_for(tmp_path, compute="spark")
    assert master_of(settings) == "local[*,4]"
    with pytest.raises(SparkUnavailableError, match="install Java 17, or the extra `sail`"):
        session_for(settings)
    monkeypatch.setattr("forecast_platform.clients.spark_session._sail", None)
    with pytest.raises(SparkUnavailableError, match=r"forecast-platform\[sail\]"):
        session_for(settings_for(tmp_path, compute="spark", spark={"master": "sail"}))
