"""How work is cut for Spark: every date once, even shares, no month with two writers where that would conflict."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_platform.compute import spark_worker
from forecast_platform.compute.spark_pieces import groups, split
from forecast_platform.compute.spark_session import SparkUnavailableError, master_of, session_for, writer_of
from forecast_platform.pipeline.chunks import Chunk, Forecasts
from forecast_platform.pipeline.platform import Platform
from forecast_platform_tests.worlds import settings_for

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


def test_a_history_survives_the_journey_to_a_worker_to_the_bit(small: Path) -> None:
    table = Platform.from_settings(settings_for(small)).series_table("Alpha")
    start, end = np.datetime64("2015-01-01"), np.datetime64("2018-01-01")
    sent = table.history(start, end, ("temp_mean_c", "precipitation_mm"))
    got = spark_worker.history_of("Alpha", spark_worker.history_bytes(sent), list(sent.sessions.astype(dt.date)))
    assert list(got.covariates) == list(sent.covariates)
    for name in ("dates", "close", "observed", "sessions", "rolls"):
        assert np.array_equal(getattr(got, name), getattr(sent, name))
        assert getattr(got, name).dtype == getattr(sent, name).dtype
    assert all(np.array_equal(got.covariates[name], sent.covariates[name]) for name in sent.covariates)


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
    monkeypatch.setattr("forecast_platform.compute.spark_session.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    settings = settings_for(tmp_path, compute="spark")
    assert master_of(settings) == "local[*,4]"
    with pytest.raises(SparkUnavailableError, match="install Java 17, or the extra `sail`"):
        session_for(settings)
    monkeypatch.setattr("forecast_platform.compute.spark_session._sail", None)
    with pytest.raises(SparkUnavailableError, match=r"forecast-platform\[sail\]"):
        session_for(settings_for(tmp_path, compute="spark", spark={"master": "sail"}))
