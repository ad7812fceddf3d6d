"""The report of a series shows the numbers, what is missing and every error, and needs no network."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.pages import charts
from forecast_platform.pages.leaderboard import leaderboard, write_report
from forecast_platform.pages.scores import ModelKey


def _write(folder: Path, metadata: pd.DataFrame, dates: list[dt.date], **more: object) -> str:
    path = write_report(folder, series="Coffee", metadata=metadata, expected_dates=dates, **more)
    return path.read_text(encoding="utf-8")


def test_report_shows_the_leaderboard_and_refers_to_nothing_outside(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]
) -> None:
    text = _write(tmp_path, metadata, expected_dates, link_to={"Newest fan chart": "fan.html"})
    best = leaderboard(metadata).iloc[0]
    assert f"{best['crps']:.3f}" in text
    assert f"{100 * best['skill']:+.1f} %" in text
    assert f"{100 * best['coverage_80']:.1f} %" in text
    for part in ("Coffee", "sharp", "naive", "wild", "v1.0", "2020-01-01", '<a href="fan.html">Newest fan chart</a>'):
        assert part in text
    assert "http" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaderboard_Coffee.html", "plotly.min.js"]


def test_the_model_that_readers_follow_is_the_strongest_row(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]
) -> None:
    for role in ("champion", "default"):
        text = _write(tmp_path, metadata, expected_dates, followed=(ModelKey("sharp", "v1.0"), role))
        assert text.count('<tr class="champion">') == 1
        assert f"sharp ({role})" in text


def test_a_failed_date_shows_its_error_escaped(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]
) -> None:
    hit = (metadata["model_name"] == "wild") & (metadata["forecast_date"] == dt.date(2020, 3, 5))
    metadata.loc[hit, "model_success"] = False
    metadata.loc[hit, "error"] = "paths explode: <script>alert('x')</script> & day_9 is 1e+09"
    text = _write(tmp_path, metadata, expected_dates)
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; day_9 is 1e+09" in text
    assert "<script>alert" not in text
    assert "2020-03-05" in text


def test_the_same_error_on_many_dates_is_one_row_and_a_leak_is_a_failure(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]
) -> None:
    days = pd.to_datetime(metadata["forecast_date"]).between("2020-02-03", "2020-02-09")
    hit = (metadata["model_name"] == "wild") & days
    metadata.loc[hit, "model_success"] = False
    metadata.loc[hit, "error"] = "no trained model"
    metadata.loc[metadata.index[3], "has_data_leakage"] = True
    text = _write(tmp_path, metadata, expected_dates)
    assert text.count("no trained model") == 1
    assert "2020-02-03 to 2020-02-09" in text
    assert "data leakage" in text
    assert "8 forecasts were not written" in text


def test_status_tells_made_failed_and_missing_apart(metadata: pd.DataFrame) -> None:
    rows = metadata[metadata["model_name"] == "naive"].iloc[:4].copy()
    rows["forecast_date"] = pd.to_datetime(rows["forecast_date"])
    rows.loc[rows.index[1], "model_success"] = False
    rows = rows.drop(rows.index[2])
    days = [dt.date(2020, 1, day) for day in (1, 2, 3, 4, 5)]
    made, failed = charts.status(rows, days, [ModelKey("naive", "v1.0"), ModelKey("other", "v1.0")])
    np.testing.assert_array_equal(made, [[1, 0, 0, 1, 0], [0] * 5])
    np.testing.assert_array_equal(failed, [[0, 1, 0, 0, 0], [0] * 5])


def test_map_gathers_eight_years_into_months_and_shows_the_worst_state_first() -> None:
    days = [dt.date(2018, 1, 1) + dt.timedelta(days=day) for day in range(2878)]
    keys = [ModelKey(f"model_{number}", "v1.0") for number in range(7)]
    made = np.ones((7, len(days)), np.bool_)
    failed = np.zeros_like(made)
    made[0, 0] = made[1, 40] = False
    failed[1, 40] = True
    made[2, :31] = False
    heat = charts.coverage_map(days, keys, made, failed).data[0]
    state = heat["z"]
    names = [name for name, _ in charts.STATES]
    assert state.shape == (7, 95)
    assert names[state[0, 0]] == "some missing"
    assert names[state[1, 1]] == "some failed"
    assert names[state[2, 0]] == "none made"
    assert names[state[3, 0]] == "all made"
    assert heat["text"][0][0] == "month of 2018-01-01<br>30 made, 1 missing, 0 failed"


def test_weeks_of_the_map_begin_on_mondays() -> None:
    days = [dt.date(2018, 1, 3) + dt.timedelta(days=day) for day in range(200)]
    made = np.ones((1, len(days)), np.bool_)
    heat = charts.coverage_map(days, [ModelKey("naive", "v1.0")], made, ~made).data[0]
    assert {dt.date.fromisoformat(day).weekday() for day in heat["x"]} == {0}


def test_pit_histogram_averages_one(metadata: pd.DataFrame) -> None:
    figure, panels = charts.pit_histograms(metadata)
    assert panels == 1
    for bars in figure.data:
        assert np.mean(bars["y"]) == pytest.approx(1)


def test_a_series_with_nothing_yet_says_so_and_shows_the_models_that_should_be_there(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]
) -> None:
    text = _write(tmp_path, metadata[:0], expected_dates, models=[("naive", "v1.0")])
    assert "No forecast can be scored yet" in text
    assert "naive v1.0" in text
    assert _write(tmp_path, metadata[:0], [])


def test_rows_of_other_series_stay_out(tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]) -> None:
    other = metadata.assign(commodity="Sugar", model_name="sugar_only")
    assert "sugar_only" not in _write(tmp_path, pd.concat([metadata, other]), expected_dates)
