"""The history page: rolling scores, what was inside, a click's forecast date; and no page is too large."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.forecasting.history import Dates
from forecast_platform.pages import page
from forecast_platform.pages.display import closes_on
from forecast_platform.pages.history import SHOWN_DAYS, write_history
from forecast_platform.pages.history_charts import ROLLING, Days, hits, rolling
from forecast_platform_tests.pages.every_page import DAY, SHARP, days_of, write_all

MOST_BYTES = 1_000_000


def _history(n: int) -> tuple[Dates, np.ndarray]:
    return np.arange(np.datetime64(DAY) - n, np.datetime64(DAY)), 100 + 0.01 * np.arange(n)


def test_a_rolling_score_is_the_mean_of_the_forecasts_up_to_it_and_skips_what_is_not_known() -> None:
    dates = np.datetime64("2020-01-01") + np.arange(ROLLING + 3)
    values = np.arange(ROLLING + 3, dtype=np.float64)
    values[0] = np.nan
    x, y = rolling(dates, values)
    assert x == [str(day) for day in dates[-3:]]
    np.testing.assert_allclose(y, [values[place : place + ROLLING].mean() for place in (1, 2, 3)])
    assert rolling(dates[:ROLLING], values[:ROLLING])[0] == []


def test_long_rolling_lines_are_thinned_and_keep_the_newest_point() -> None:
    dates = np.datetime64("2010-01-01") + np.arange(3000)
    x, y = rolling(dates, np.ones(3000))
    assert len(x) <= 600
    assert x[-1] == str(dates[-1])
    np.testing.assert_allclose(y, 1)


def test_a_close_is_shown_at_its_day_and_leads_to_the_forecast_that_it_judges() -> None:
    dates = np.datetime64("2020-01-06") + np.arange(2)
    flat = np.full((2, 14), 100.0)
    actual = np.full((2, 14), np.nan)
    actual[0, 6], actual[1, 6] = 100.5, 103.5
    bounds = {"lower_80": flat - 1, "upper_80": flat + 1, "lower_95": flat - 2, "upper_95": flat + 2}
    figure = hits(Days(dates, {"median": flat, **bounds}, actual), "USD")
    week = {trace["name"]: trace for trace in figure.data if trace["yaxis"] == "y2"}
    assert week["close inside 80 %"]["x"] == ["2020-01-12"]
    assert week["close inside 80 %"]["customdata"] == ["2020-01-06"]
    assert week["outside 95 %"]["x"] == ["2020-01-13"]
    assert week["outside 95 %"]["customdata"] == ["2020-01-07"]
    assert not week["outside 80 %"]["x"]
    assert figure.layout["yaxis2"]["title"]["text"] == "Close (USD)"


def test_closes_of_shut_days_and_days_to_come_are_unknown() -> None:
    days = np.array(["2020-01-03", "2020-01-06"], "datetime64[D]")
    wanted = np.array([["2020-01-03", "2020-01-04"], ["2020-01-06", "2020-01-09"]], "datetime64[D]")
    np.testing.assert_array_equal(closes_on(wanted, days, np.array([1.0, 2.0])), [[1.0, np.nan], [2.0, np.nan]])
    assert np.isnan(closes_on(wanted, days[:0], np.empty(0))).all()


def test_the_page_holds_every_day_of_the_last_year_for_a_click(tmp_path: Path, metadata: pd.DataFrame) -> None:
    dates, close = _history(900)
    days = days_of(SHOWN_DAYS + 30)
    path = write_history(
        tmp_path, series="Coffee", key=SHARP, days=days, history_dates=dates, history_close=close, metadata=metadata
    )
    text = path.read_text(encoding="utf-8")
    found = re.search(r'id="history-data">(.*?)</script>', text)
    assert found
    data = json.loads(found.group(1))
    assert data["dates"] == [str(day) for day in days.dates[-SHOWN_DAYS:]]
    assert data["upper_80"][-1][13] == pytest.approx(days.quantiles["upper_80"][-1][13], rel=1e-4)
    assert data["actual"][-1] == [None] * 14
    for part in ("CRPS over time against naive", "Hit rate of the bands over time", "PIT histogram", "sharp v1.0"):
        assert part in text
    about = {"kind": "history", "series": "Coffee", "model": "sharp", "version": "v1.0"}
    assert page.read_about(path) == {**about, "title": "Coffee, sharp: day by day"}


def test_a_series_without_scores_shows_its_forecasts_all_the_same(tmp_path: Path, metadata: pd.DataFrame) -> None:
    dates, close = _history(90)
    path = write_history(
        tmp_path,
        series="Coffee",
        key=SHARP,
        days=days_of(3),
        history_dates=dates,
        history_close=close,
        metadata=metadata[:0],
    )
    assert "No forecast has reached the end of its 14 days" in path.read_text(encoding="utf-8")


def test_no_page_is_larger_than_a_megabyte_and_all_share_one_script(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[object]
) -> None:
    written = write_all(tmp_path, metadata, expected_dates)  # type: ignore[arg-type]
    for name, path in written.items():
        text = path.read_text(encoding="utf-8")
        assert path.stat().st_size < MOST_BYTES, name
        assert 'data-plotly="plotly.min.js"' in text, name
        assert "<script src=" not in text, f"{name}: the text does not wait for a script"
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text, name
    assert [path.name for path in tmp_path.glob("*.js")] == ["plotly.min.js"]


def test_no_page_calls_what_bands_held_coverage_which_is_of_dates(
    tmp_path: Path, metadata: pd.DataFrame, expected_dates: list[dt.date]
) -> None:
    written = write_all(tmp_path, metadata, expected_dates)
    for name, path in written.items():
        text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert "overage" not in text, name
    text = written["leaderboard"].read_text(encoding="utf-8") + written["history"].read_text(encoding="utf-8")
    assert "Hit rate: the share of trading targets" in text
    assert "Hit rate of the bands over time" in text
