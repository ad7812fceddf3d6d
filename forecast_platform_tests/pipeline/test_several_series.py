"""Forecasts and actuals of several series at once: the same rows as one after the other, in one commit a table."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from forecast_platform.forecasting.metrics import crps
from forecast_platform.pipeline import scoring
from forecast_platform.pipeline.actuals import write_actuals, write_actuals_each
from forecast_platform.pipeline.inference import forecast, forecast_each
from forecast_platform.pipeline.scoring import score, score_each
from forecast_platform.read import Reader
from forecast_platform.warehouse.base import DiskFullError
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, POINT_FORECASTS, Table
from forecast_platform.work.chunks import Chunk, together
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for

DAY = dt.date(2018, 1, 3)
TABLES = (DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA)
_OF_A_RUN = {"generation_timestamp", "inference_seconds"}


def _platform(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **changes))


def _versions(platform: Platform) -> list[int]:
    return [platform.warehouse.version(table) or 0 for table in TABLES]


def _rows(platform: Platform, table: Table) -> pa.Table:
    rows = platform.warehouse.read(table)
    rows = rows.select([name for name in rows.column_names if name not in _OF_A_RUN])
    return rows.sort_by([(name, "ascending") for name in table.key])


def test_they_are_the_rows_of_each_alone_in_one_commit_a_table(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small / "warehouse", tmp_path / "other")
    platform, alone = _platform(small), _platform(small, warehouse=tmp_path / "other")
    before = _versions(platform)
    found = forecast_each(platform, {"Alpha": [DAY], "Beta": [DAY]}, "naive")
    assert [(one.series, one.written, one.rows) for one in found] == [("Alpha", {DAY}, 200), ("Beta", {DAY}, 200)]
    assert [now - then for now, then in zip(_versions(platform), before, strict=True)] == [1, 1, 1]
    for series in ("Alpha", "Beta"):
        forecast(alone, series, "naive", [DAY])
    for table in TABLES:
        assert _rows(platform, table).equals(_rows(alone, table)), table.name
    again = forecast_each(platform, {"Alpha": [DAY], "Beta": [DAY]}, "naive")
    assert [one.skipped for one in again] == [{DAY}, {DAY}]


def test_one_that_has_no_model_costs_itself_alone(small: Path) -> None:
    platform = _platform(small)
    late = dt.date(2018, 7, 2)
    alpha, beta = forecast_each(platform, {"Alpha": [DAY, late], "Beta": [DAY]}, "naive")
    assert (alpha.written, beta.written) == ({DAY}, {DAY})
    assert "train" in alpha.failed[late]
    errors = platform.warehouse.read(FORECAST_METADATA, ["commodity", "error"], {"model_success": False}).to_pylist()
    assert [row["commodity"] for row in errors] == ["Alpha"]


def test_a_full_disk_is_said_of_each_and_leaves_nothing(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = _platform(small)

    def full(*_: Any, **__: Any) -> int:
        raise DiskFullError("no room")

    monkeypatch.setattr(DeltaWarehouse, "_replace", full)
    with pytest.raises(DiskFullError, match="no room"):  # why each has none cannot be written either
        forecast_each(platform, {"Alpha": [DAY], "Beta": [DAY]}, "naive")
    monkeypatch.undo()
    assert platform.warehouse.rows(DISTRIBUTIONS) == 0
    assert [one.written for one in forecast_each(platform, {"Alpha": [DAY], "Beta": [DAY]}, "naive")] == [{DAY}] * 2


def test_actuals_are_written_together_and_those_that_differ_apart(small: Path) -> None:
    platform = _platform(small)
    days = [DAY, DAY + dt.timedelta(days=1)]
    write_actuals(platform, "Alpha", days[:1])
    before = platform.warehouse.version(DISTRIBUTIONS)
    alpha, beta = write_actuals_each(platform, {"Alpha": days, "Beta": days})
    assert (alpha.skipped, alpha.written, beta.written) == ({days[0]}, {days[1]}, set(days))
    assert platform.warehouse.version(DISTRIBUTIONS) == before + 2
    assert platform.warehouse.rows(DISTRIBUTIONS) == 4


def _scored_apart(root: Path, copy: Path, both: dict[str, list[dt.date]]) -> tuple[Platform, Platform]:
    """Two platforms over the same forecasts, of which the second has not scored any."""
    platform = _platform(root)
    for series, days in both.items():
        forecast(platform, series, "naive", days)
    shutil.copytree(root / "warehouse", copy)
    return platform, _platform(root, warehouse=copy)


def test_scores_are_those_of_each_alone_in_one_commit_a_table(small: Path, tmp_path: Path) -> None:
    days = [DAY, DAY + dt.timedelta(days=5)]
    alone, platform = _scored_apart(small, tmp_path / "other", {"Alpha": days, "Beta": days})
    before = _versions(platform)
    window = [dt.date(2018, 1, 1)]
    found = score_each(platform, {"Alpha": window, "Beta": window}, "naive")
    assert [(one.series, one.written, one.rows) for one in found] == [
        (name, set(window), 2) for name in ("Alpha", "Beta")
    ]
    assert _versions(platform)[2] == before[2] + 1
    for series in ("Alpha", "Beta"):
        score(alone, series, "naive", window)
    scores = [_rows(one, FORECAST_METADATA).drop_columns("scored_at") for one in (platform, alone)]
    assert scores[0].equals(scores[1])
    assert not scores[0]["crps_14d"].null_count
    again = score_each(platform, {"Alpha": window, "Beta": window}, "naive")
    assert [one.skipped for one in again] == [set(window)] * 2


def test_series_with_other_dates_are_scored_by_themselves(small: Path, tmp_path: Path) -> None:
    other = [DAY + dt.timedelta(days=7)]
    alone, platform = _scored_apart(small, tmp_path / "other", {"Alpha": [DAY], "Beta": other})
    window = [dt.date(2018, 1, 1)]
    assert [one.rows for one in score_each(platform, {"Alpha": window, "Beta": window}, "naive")] == [1, 1]
    for series in ("Alpha", "Beta"):
        score(alone, series, "naive", window)
    scores = [_rows(one, FORECAST_METADATA).drop_columns("scored_at") for one in (platform, alone)]
    assert scores[0].equals(scores[1])


def test_a_forecast_that_is_made_anew_while_it_is_scored_keeps_its_own_row(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    forecast_each(platform, {"Alpha": [DAY], "Beta": [DAY]}, "naive")
    real, calls = scoring.score_dates, []

    def meanwhile(*arguments: Any) -> Any:
        if not calls:
            forecast(_platform(small), "Beta", "naive", [DAY], overwrite=True)
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(scoring, "score_dates", meanwhile)
    window = [dt.date(2018, 1, 1)]
    score_each(platform, {"Alpha": window, "Beta": window}, "naive")
    rows = {row["commodity"]: row for row in platform.warehouse.read(FORECAST_METADATA).to_pylist()}
    assert rows["Alpha"]["actuals_hash"]
    assert rows["Beta"]["actuals_hash"] is None, "the paths that were scored are not those that are there"
    first = platform.warehouse.read(DISTRIBUTIONS, ["generation_timestamp"], {"commodity": "Beta", "path_id": 0})
    assert rows["Beta"]["generation_timestamp"] == first["generation_timestamp"][0].as_py()
    monkeypatch.undo()
    alpha, beta = score_each(platform, {"Alpha": window, "Beta": window}, "naive")
    assert (alpha.skipped, beta.written) == (set(window), set(window))


def test_a_run_that_ended_between_the_two_writes_is_completed_by_the_next(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    forecast_each(platform, {"Alpha": [DAY], "Beta": [DAY]}, "naive")
    platform.warehouse.replace(POINT_FORECASTS, _without_closes(platform), {"commodity": ["Alpha", "Beta"]})
    window = [dt.date(2018, 1, 1)]
    real, written = DeltaWarehouse.replace, list[str]()

    def killed(self: DeltaWarehouse, table: Table, *arguments: Any) -> int:
        written.append(table.name)
        if len(written) == 2:
            raise KeyboardInterrupt
        return real(self, table, *arguments)

    monkeypatch.setattr(DeltaWarehouse, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        score_each(platform, {"Alpha": window, "Beta": window}, "naive")
    monkeypatch.undo()
    assert len(set(written)) == 2
    assert [one.written for one in score_each(platform, {"Alpha": window, "Beta": window}, "naive")] == [
        set(window)
    ] * 2
    assert not platform.warehouse.read(POINT_FORECASTS)["actual_close"].null_count
    assert not platform.warehouse.read(FORECAST_METADATA)["actuals_hash"].null_count


def _without_closes(platform: Platform) -> pa.Table:
    """The point forecasts as they were before any close was known."""
    rows = platform.warehouse.read(POINT_FORECASTS)
    place = rows.schema.get_field_index("actual_close")
    return rows.set_column(place, "actual_close", pa.nulls(rows.num_rows, pa.float64()))


def test_forecasts_of_other_numbers_of_paths_in_one_window_are_scored_and_read(small: Path) -> None:
    """n_paths was changed, and the daily run made a date that was missing."""
    later = DAY + dt.timedelta(days=1)
    forecast_each(_platform(small), {"Alpha": [DAY], "Beta": [DAY]}, "naive")
    more = _platform(small, n_paths=300)
    forecast_each(more, {"Alpha": [later], "Beta": [later]}, "naive")
    window = [dt.date(2018, 1, 1)]
    assert [one.rows for one in score_each(more, {"Alpha": window, "Beta": window}, "naive")] == [2, 2]
    reader = Reader(more.settings, more.warehouse)
    read = reader.paths("Alpha", "naive", DAY, later)
    assert {day: paths.shape for day, paths in read.items()} == {DAY: (200, 14), later: (300, 14)}
    assert list(read) == [DAY, later]
    assert read.to_arrow().num_rows == 500
    assert "200 or 300 paths over 14 days" in repr(read)
    with pytest.raises(ValueError, match=r"200 on 2018-01-03, 300 on 2018-01-04.*n_paths.*backfill --commodity Alpha"):
        read.array()
    rows = {row["forecast_date"]: row for row in more.warehouse.read(FORECAST_METADATA).to_pylist()}
    truth = more.closes("Beta", later, later + dt.timedelta(days=13))[1]
    paths = reader.paths("Beta", "naive", later)[later]
    assert rows[later]["commodity"] == "Beta"
    assert rows[later]["crps_1d"] == pytest.approx(crps(np.sort(paths[:, :1], axis=0).T, truth[:1])[0], rel=1e-9)


def test_paths_that_are_gone_when_they_are_read_cost_themselves_alone(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    days = [DAY, DAY + dt.timedelta(days=1)]
    forecast_each(platform, {"Alpha": days, "Beta": days}, "naive")
    real, reads = DeltaWarehouse.read, list[Table]()

    def read(self: DeltaWarehouse, table: Table, *arguments: Any) -> pa.Table:
        if table == DISTRIBUTIONS:
            reads.append(table)
            if len(reads) == 2:  # between the look and the paths
                other = _platform(small)
                for where in ({"commodity": "Beta"}, {"commodity": "Alpha", "forecast_date": days[1]}):
                    other.warehouse.replace(table, real(other.warehouse, table).slice(0, 0), where)
        return real(self, table, *arguments)

    monkeypatch.setattr(DeltaWarehouse, "read", read)
    window = [dt.date(2018, 1, 1)]
    score_each(platform, {"Alpha": window, "Beta": window}, "naive")
    monkeypatch.undo()
    rows = platform.warehouse.read(FORECAST_METADATA).to_pylist()
    assert sorted((row["commodity"], row["forecast_date"]) for row in rows if row["actuals_hash"]) == [("Alpha", DAY)]
    assert len(rows) == 4, "the rows of the others stay as they are"


def test_chunks_are_together_where_they_are_small_neighbours_with_the_same_dates() -> None:
    def chunk(series: str, *days: int) -> Chunk:
        return Chunk(series, "naive", "v1.0", dt.date(2018, 1, 1), tuple(dt.date(2018, 1, day) for day in days))

    a, b, c, other, long = chunk("A", 3), chunk("B", 3), chunk("C", 3), chunk("D", 4), chunk("E", *range(1, 32))
    assert together([a, b, c], 5_000) == [[a, b, c]]
    assert together([a, b, c], 10_000) == [[a, b], [c]]
    assert together([a, other, b], 2_000) == [[a], [other], [b]]
    assert together([long, chunk("F", *range(1, 32))], 2_000) == [[long], [chunk("F", *range(1, 32))]]
    assert together([a, a], 2_000) == [[a], [a]], "one series twice would be one key twice"
    assert together([], 2_000) == []
