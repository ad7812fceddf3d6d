"""Forecasts read only the past, are the same bits however they are made, and are never half there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.warehouse.base import DiskFullError, Where, keys_of
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    FORECAST_METADATA,
    POINT_FORECASTS,
    TRAINED_MODELS,
    Table,
)
from forecast_platform.work import fits, store
from forecast_platform.work.chunks import Chunk
from forecast_platform.work.fits import load_model
from forecast_platform.work.forecast_chunk import forecast_chunk
from forecast_platform.work.platform import Platform
from forecast_platform.work.rows import paths_of
from forecast_platform_tests.worlds import days, ingest_all, settings_for, write_landing

SPAN = days("2017-12-20", "2018-01-15")


def _paths(platform: Platform, series: str = "Alpha", model: str = "random_walk") -> dict[dt.date, np.ndarray]:
    return Reader(platform.settings, platform.warehouse).paths(series, model)


def _platform(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **changes))


def test_a_forecast_is_2000_by_14_float32_starting_from_the_last_known_close(small: Path) -> None:
    platform = _platform(small, n_paths=2000)
    outcome = forecast(platform, "Alpha", "naive", [dt.date(2018, 1, 1)])
    assert outcome.written == {dt.date(2018, 1, 1)}
    [paths] = _paths(platform, model="naive").values()
    assert paths.shape == (2000, 14)
    assert paths.dtype == np.float32
    _, close, _ = platform.closes("Alpha", dt.date(2017, 12, 31), dt.date(2017, 12, 31))
    # 1 January is a holiday: the close of the year before holds.
    assert (paths[:, 0] == np.float32(close[0])).all()
    assert paths[:, 1].std() > 0


@pytest.mark.parametrize("model", ["naive", "random_walk"])
def test_distribution_never_reads_data_on_or_after_the_forecast_date(small: Path, model: str) -> None:
    before = _platform(small)
    forecast(before, "Alpha", model, SPAN)
    expected = _paths(before, model=model)
    cut = dt.date(2018, 1, 5)
    file = small / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    later = frame.date >= str(cut)
    frame.loc[later, ["open", "high", "low", "close"]] *= 1.7
    frame.to_csv(file, index=False)
    after = _platform(small)
    ingest_all(after)
    forecast(after, "Alpha", model, SPAN)
    found = _paths(after, model=model)
    for day in SPAN:
        if day <= cut:
            assert np.array_equal(found[day], expected[day]), day
    assert not np.array_equal(found[dt.date(2018, 1, 6)], expected[dt.date(2018, 1, 6)])


def test_unchanged_forecasts_up_to_a_revised_day_are_skipped_and_later_ones_made_anew(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN)
    file = small / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.date == "2018-01-05", "close"] *= 1.01
    frame.to_csv(file, index=False)
    ingest_all(platform)
    outcome = forecast(platform, "Alpha", "naive", SPAN)
    assert outcome.skipped == {day for day in SPAN if day <= dt.date(2018, 1, 5)}
    assert outcome.written == {day for day in SPAN if day > dt.date(2018, 1, 5)}


def test_a_fitted_model_never_reads_data_on_or_after_its_window(small: Path) -> None:
    before = load_model(_platform(small), "Alpha", "random_walk", "v1.0", dt.date(2018, 1, 1))
    file = small / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.date >= "2018-01-01", "close"] *= 3
    frame.to_csv(file, index=False)
    platform = _platform(small)
    ingest_all(platform)
    outcome = train(platform, "Alpha", "random_walk", [dt.date(2018, 1, 1)], overwrite=True)
    assert outcome.written
    after = load_model(platform, "Alpha", "random_walk", "v1.0", dt.date(2018, 1, 1))
    assert after.model_id == before.model_id
    assert after.fitted.to_json() == before.fitted.to_json()


def test_the_same_bits_in_one_chunk_many_chunks_and_any_order(small: Path, tmp_path: Path) -> None:
    whole = _platform(small)
    forecast(whole, "Alpha", "random_walk", SPAN)
    expected = _paths(whole)
    one_by_one = _platform(small, warehouse=tmp_path / "other")
    # The same models and data, in a warehouse of its own.
    import shutil

    shutil.copytree(small / "warehouse", tmp_path / "other", dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "other" / "commodity" / "forecast" / "distributions")
    for day in reversed(SPAN):
        chunk = Chunk("Alpha", "random_walk", "v1.0", one_by_one.window_start(day), (day,))
        assert forecast_chunk(one_by_one, chunk).written == [day]
    found = _paths(one_by_one)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[day], expected[day]) for day in SPAN)


def test_a_rerun_changes_nothing(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN)
    versions = [platform.warehouse.version(table) for table in (DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA)]
    outcome = forecast(platform, "Alpha", "naive", SPAN)
    assert outcome.skipped == set(SPAN)
    assert not outcome.written
    assert versions == [
        platform.warehouse.version(table) for table in (DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA)
    ]


def test_consecutive_dates_with_different_data_get_different_forecasts(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "random_walk", days("2018-01-08", "2018-01-12"))
    found = list(_paths(platform).values())
    assert all(not np.array_equal(a[:, 5], b[:, 5]) for a, b in pairwise(found))


def test_weekends_hold_the_close_and_spread_grows_with_trading_days_only(small: Path) -> None:
    platform = _platform(small, n_paths=2000)
    forecast(platform, "Alpha", "naive", [dt.date(2018, 2, 21)])  # a Wednesday, no holiday in its fortnight
    [paths] = _paths(platform, model="naive").values()
    assert np.array_equal(paths[:, 2], paths[:, 3])  # Friday to Saturday
    assert np.array_equal(paths[:, 2], paths[:, 4])  # to Sunday
    spread = paths.astype(float).std(axis=0)
    trading = [0, 1, 2, 5, 6, 7, 8, 9, 12, 13]
    ratio = spread[trading] / (spread[0] * np.sqrt(np.arange(1, 11)))
    assert np.all(np.abs(ratio - 1) < 0.12)


def test_missing_models_are_named_with_the_command_that_trains_them(small: Path) -> None:
    platform = _platform(small)
    outcome = forecast(platform, "Alpha", "naive", [dt.date(2018, 1, 2)], version="v9")
    [reason] = outcome.failed.values()
    assert "no trained_models/naive v9 for Alpha, window 2018-01-01" in reason
    assert "forecast-platform train --commodity Alpha --models naive" in reason
    rows = platform.warehouse.read(FORECAST_METADATA, where={"commodity": "Alpha", "model_version": "v9"}).to_pylist()
    assert [(row["model_success"], row["error"]) for row in rows] == [(False, reason)]


def test_stale_data_are_refused_beyond_the_limit_and_said_within_it(small: Path) -> None:
    platform = _platform(small)
    outcome = forecast(platform, "Alpha", "naive", days("2018-04-02", "2018-04-12"))
    # The last close is of Thursday 29 March (Good Friday follows): Monday's forecast is fresh, Tuesday's is late.
    rows = platform.warehouse.read(DISTRIBUTIONS, where={"commodity": "Alpha", "model_name": "naive", "path_id": 0})
    staleness = {row["forecast_date"]: row["staleness_days"] for row in rows.to_pylist()}
    assert staleness[dt.date(2018, 4, 2)] == 0
    assert staleness[dt.date(2018, 4, 3)] == 4
    assert staleness[dt.date(2018, 4, 4)] == 5
    assert min(outcome.failed) == dt.date(2018, 4, 5)
    assert "data of Alpha end on 2018-03-29, 6 days before the last session due" in outcome.failed[dt.date(2018, 4, 5)]


def test_an_exploding_forecast_is_not_written_and_the_others_are(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = _platform(small)
    stored = load_model(platform, "Alpha", "naive", "v1.0", dt.date(2018, 1, 1))
    honest = type(stored.fitted).simulate

    def explode_on_the_third(self, history, origins, *rest):  # type: ignore[no-untyped-def]
        paths = honest(self, history, origins, *rest).copy()
        paths[np.asarray(origins) == np.datetime64("2018-01-03"), 5, 13] = 1e9
        return paths

    monkeypatch.setattr(type(stored.fitted), "simulate", explode_on_the_third)
    outcome = forecast(platform, "Alpha", "naive", days("2018-01-02", "2018-01-05"))
    assert outcome.written == set(days("2018-01-02", "2018-01-05")) - {dt.date(2018, 1, 3)}
    assert "exploding" in outcome.failed[dt.date(2018, 1, 3)]
    assert dt.date(2018, 1, 3) not in _paths(platform, model="naive")
    rows = platform.warehouse.read(FORECAST_METADATA, where={"forecast_date": dt.date(2018, 1, 3)}).to_pylist()
    assert [row["model_success"] for row in rows] == [False]


def test_another_algorithm_version_is_refused_with_the_advice_to_raise_the_tag(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecast_platform.models import registry

    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN)
    stored = registry.get("naive").algorithm_version
    monkeypatch.setattr(type(registry.get("naive")), "algorithm_version", stored + 1)
    refused = forecast(platform, "Alpha", "naive", SPAN)
    assert set(refused.failed) == set(SPAN)
    assert "raise the version tag (--model-version-tag), or replace it with --overwrite" in refused.failed[SPAN[0]]
    replaced = forecast(platform, "Alpha", "naive", SPAN, overwrite=True)
    assert replaced.written == set(SPAN)


def test_a_step_killed_between_paths_and_points_is_repaired_from_the_paths(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN)
    empty = POINT_FORECASTS.arrow_schema().empty_table()
    where = keys_of("Alpha", "naive", "v1.0", SPAN[:5], by_month=False)
    expected = platform.warehouse.read(POINT_FORECASTS, where=where)
    platform.warehouse.replace(POINT_FORECASTS, empty, where)
    before = platform.warehouse.version(DISTRIBUTIONS)
    outcome = forecast(platform, "Alpha", "naive", SPAN)
    assert outcome.skipped == set(SPAN)
    assert platform.warehouse.version(DISTRIBUTIONS) == before
    order = [("forecast_date", "ascending"), ("day_ahead", "ascending")]
    again = platform.warehouse.read(POINT_FORECASTS, where=where)
    assert again.sort_by(order).equals(expected.sort_by(order))


@pytest.mark.parametrize("killed_at", ["successes", "points"])
def test_a_step_killed_after_any_of_its_commits_is_completed_by_the_next(
    small: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    platform = _platform(small)

    def killed(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, killed_at, killed)
        with pytest.raises(KeyboardInterrupt):
            forecast(platform, "Alpha", "naive", SPAN)
    assert forecast(platform, "Alpha", "naive", SPAN).good == set(SPAN)
    where = {"model_name": "naive", "path_id": 0}
    paths = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "input_hash"], where)
    rows = platform.warehouse.read(FORECAST_METADATA, ["forecast_date", "input_hash", "model_success"])
    assert rows.select(["forecast_date", "input_hash"]).sort_by("forecast_date").equals(paths.sort_by("forecast_date"))
    assert rows["model_success"].to_pylist() == [True] * len(SPAN)


def test_point_forecasts_are_the_statistics_of_the_stored_paths(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "random_walk", SPAN)
    frame = Reader(platform.settings, platform.warehouse).points("Alpha", "random_walk")
    for day, paths in _paths(platform).items():
        rows = frame[frame.forecast_date == pd.Timestamp(day)].sort_values("day_ahead")
        wide = paths.astype(np.float64)
        assert np.allclose(rows.forecast_mean, wide.mean(axis=0), rtol=1e-12)
        assert np.allclose(rows.upper_95, np.quantile(wide, 0.975, axis=0), rtol=1e-12)
        assert (rows.target_date.to_numpy() == np.datetime64(day, "D") + np.arange(14)).all()


def test_what_was_live_is_archived_when_it_is_replaced_and_as_of_reads_it(small: Path) -> None:
    day, published = dt.date(2018, 1, 9), dt.datetime(2018, 1, 9, 17, tzinfo=dt.timezone.utc)
    platform = Platform.from_settings(settings_for(small).with_clock(lambda: published))
    reader = Reader(platform.settings, platform.warehouse)
    forecast(platform, "Alpha", "naive", [day])
    live = reader.paths("Alpha", "naive", day)[day]
    platform = _platform(small)
    file = small / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.date == "2018-01-08", "close"] *= 1.05
    frame.to_csv(file, index=False)
    ingest_all(platform)
    forecast(platform, "Alpha", "naive", [day])
    assert not np.array_equal(reader.paths("Alpha", "naive", day)[day], live)
    assert np.array_equal(reader.paths("Alpha", "naive", day, as_of=published)[day], live)


def test_a_write_that_fails_after_the_archive_doubles_no_published_path(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = dt.datetime(2018, 1, 9, 17, tzinfo=dt.timezone.utc)
    live_days = [dt.date(2018, 1, 9), dt.date(2018, 1, 10)]
    platform = Platform.from_settings(settings_for(small).with_clock(lambda: published))
    reader = Reader(platform.settings, platform.warehouse)
    forecast(platform, "Alpha", "naive", live_days)
    live = reader.paths("Alpha", "naive", live_days[0], live_days[1])

    def as_published() -> None:
        found = reader.paths("Alpha", "naive", live_days[0], live_days[1], as_of=published)
        assert list(found) == live_days
        assert all(np.array_equal(found[day], live[day]) for day in live_days)

    replace = DeltaWarehouse.replace

    def full(warehouse: DeltaWarehouse, table: Table, *rest: Any) -> int:
        if table is DISTRIBUTIONS:
            raise DiskFullError("no room")
        return replace(warehouse, table, *rest)

    platform = _platform(small)
    with monkeypatch.context() as patched:
        patched.setattr(DeltaWarehouse, "replace", full)
        for _ in range(2):
            outcome = forecast(platform, "Alpha", "naive", live_days[:1], overwrite=True)
            assert "no room" in outcome.failed[live_days[0]]
            as_published()
    assert forecast(platform, "Alpha", "naive", live_days[:1], overwrite=True).written == set(live_days[:1])
    as_published()
    assert platform.warehouse.rows(DISTRIBUTIONS_ARCHIVE) == 200


def test_a_plan_says_what_would_be_done_and_writes_nothing(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN[:10])
    before = platform.warehouse.version(DISTRIBUTIONS)
    found = plan(platform, "Alpha", "naive", "v1.0", [*SPAN, dt.date(2018, 7, 2)])
    assert found.skipped == set(SPAN[:10])
    assert sorted(day for chunk in found.chunks for day in chunk.dates) == SPAN[10:]
    assert found.missing_windows == [dt.date(2018, 7, 1)]
    assert [chunk.window_start for chunk in found.chunks] == [dt.date(2017, 7, 1), dt.date(2018, 1, 1)]
    assert platform.warehouse.version(DISTRIBUTIONS) == before


def test_a_plan_reads_the_manifests_of_all_windows_at_once_and_no_fitted_model(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN)
    asked: list[Sequence[str] | None] = []
    read = platform.warehouse.read

    def recorded(table: Table, columns: Sequence[str] | None = None, where: Where | None = None) -> pa.Table:
        if table == TRAINED_MODELS:
            asked.append(columns)
        return read(table, columns, where)

    monkeypatch.setattr(platform.warehouse, "read", recorded)
    found = plan(platform, "Alpha", "naive", "v1.0", SPAN)
    assert found.skipped == set(SPAN)
    assert len(asked) == 1
    assert asked[0] is not None
    assert not {"fitted_model_json", "fitted_model_s3_path"} & set(asked[0])


def test_a_fitted_model_whose_file_is_gone_fails_its_dates_with_the_mend(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    monkeypatch.setattr(fits, "INLINE_LIMIT", 100)
    train(platform, "Alpha", "naive", [dt.date(2018, 1, 1)], overwrite=True)
    for file in platform.settings.warehouse.rglob("*/models/Alpha/naive/**/*.json"):
        file.unlink()
    outcome = forecast(platform, "Alpha", "naive", SPAN)
    assert sorted(outcome.written) == [day for day in SPAN if day.year == 2017]
    assert set(outcome.failed) == {day for day in SPAN if day.year == 2018}
    [reason] = set(outcome.failed.values())
    assert reason.startswith("trained_models/naive for Alpha, window 2018-01-01: its file ")
    assert "is gone; train it again with" in reason


def test_paths_of_refuses_dates_with_different_numbers_of_paths(small: Path) -> None:
    platform = _platform(small)
    forecast(platform, "Alpha", "naive", SPAN[:2])
    rows = platform.warehouse.read(DISTRIBUTIONS, where={"commodity": "Alpha", "model_name": "naive"})
    with pytest.raises(ValueError, match="199 to 200 paths"):
        paths_of(rows.slice(0, rows.num_rows - 1))


def test_a_series_whose_data_begin_later_says_so(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest_all(platform)
    outcome = train(platform, "Alpha", "naive", [dt.date(2017, 7, 1)])
    assert outcome.written == {dt.date(2017, 7, 1)}
