"""Scores follow the actuals as days become known, and nothing is scored twice."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.forecasting.metrics import crps
from forecast_platform.pipeline.actuals import open_before, write_actuals
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.scoring import score
from forecast_platform.read import Reader
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, ingested, revise, settings_for, trained, write_landing

WINDOW = [dt.date(2018, 1, 1)]


def _rows(platform: Platform, model: str = "naive") -> dict[dt.date, dict[str, object]]:
    rows = platform.warehouse.read(FORECAST_METADATA, where={"commodity": "Alpha", "model_name": model}).to_pylist()
    return {row["forecast_date"]: row for row in rows}


def test_a_score_is_the_crps_of_the_stored_paths_over_trading_targets(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    day = dt.date(2018, 2, 7)
    forecast(platform, "Alpha", "naive", [day])
    assert score(platform, "Alpha", "naive", WINDOW).written == set(WINDOW)
    row = _rows(platform)[day]
    paths = Reader(platform.settings, platform.warehouse).paths("Alpha", "naive", day)[day]
    _, closes, observed = platform.closes("Alpha", day, day + dt.timedelta(days=13))
    by_day = crps(np.sort(paths, axis=0).T, closes)
    assert row["crps_14d"] == pytest.approx(by_day[observed].mean(), rel=1e-9)
    assert row["crps_1d"] == pytest.approx(by_day[0], rel=1e-9)
    assert row["actuals_available"] == 14
    assert row["inference_seconds"] > 0  # type: ignore[operator]


def test_scoring_again_changes_nothing(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    forecast(platform, "Alpha", "naive", days("2018-01-02", "2018-01-31"))
    score(platform, "Alpha", "naive", WINDOW)
    versions = [platform.warehouse.version(table) for table in (FORECAST_METADATA, POINT_FORECASTS)]
    assert score(platform, "Alpha", "naive", WINDOW).skipped == set(WINDOW)
    assert versions == [platform.warehouse.version(table) for table in (FORECAST_METADATA, POINT_FORECASTS)]


def test_actuals_scores_and_actual_close_are_completed_as_days_become_known(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing", last=dt.date(2018, 3, 15))
    platform = trained(tmp_path)
    day = dt.date(2018, 3, 12)
    forecast(platform, "Alpha", "naive", [day])
    write_actuals(platform, "Alpha", [day])
    score(platform, "Alpha", "naive", WINDOW)
    early = _rows(platform)[day]
    assert early["actuals_available"] == 4
    assert early["pit"] is None
    write_landing(tmp_path / "landing")
    platform = ingested(tmp_path)
    assert write_actuals(platform, "Alpha", [day]).written == {day}
    assert score(platform, "Alpha", "naive", WINDOW).rows == 1
    late = _rows(platform)[day]
    assert late["actuals_available"] == 14
    assert 0 < late["pit"] < 1  # type: ignore[operator]
    points = Reader(platform.settings, platform.warehouse).points("Alpha", "naive", day)
    _, closes, _ = platform.closes("Alpha", day, day + dt.timedelta(days=13))
    assert np.array_equal(points.actual_close.to_numpy(), closes)


def test_a_revised_close_reaches_the_actuals_of_every_date_that_it_is_a_target_of(small: Path) -> None:
    """Also of those whose fortnight was over and known before it was revised, three days ago."""
    platform = Platform.from_settings(settings_for(small))
    span, today = days("2017-12-15", "2018-01-05"), dt.date(2018, 1, 6)
    write_actuals(platform, "Alpha", span)
    assert open_before(platform, "Alpha", today) == []
    revise(small, platform)
    assert open_before(platform, "Alpha", today) == days("2017-12-21", "2018-01-03")
    write_actuals(platform, "Alpha", [*open_before(platform, "Alpha", today), today])
    found = Reader(platform.settings, platform.warehouse).actuals("Alpha", span[0], today)
    for day, closes in found.items():
        _, now, _ = platform.closes("Alpha", day, day + dt.timedelta(days=13))
        assert np.array_equal(closes, now.astype(np.float32))


def test_actuals_are_one_row_a_date_marked_as_such(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    span = days("2018-01-02", "2018-01-09")
    assert write_actuals(platform, "Alpha", span).written == set(span)
    assert write_actuals(platform, "Alpha", span).skipped == set(span)
    rows = platform.warehouse.read(DISTRIBUTIONS, where={"is_actuals": True}).to_pylist()
    assert sorted(row["forecast_date"] for row in rows) == span
    assert {(row["model_name"], row["path_id"]) for row in rows} == {("actuals", 0)}
