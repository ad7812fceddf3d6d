"""The reader: paths by date, the latest as of a date, risk figures; never a leaked or failed row."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.publish import forecast_runs
from forecast_platform.pipeline.scoring import write_actuals
from forecast_platform.read import NoForecastError, Reader, expected_shortfall, value_at_risk
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for

SPAN = days("2018-01-02", "2018-01-12")


@pytest.fixture
def platform(small: Path) -> Platform:
    platform = Platform.from_settings(settings_for(small))
    for model in platform.settings.models:
        for series in platform.settings.series_names:
            forecast(platform, series, model, SPAN)
    return platform


def test_paths_come_by_date_ascending_and_by_series(platform: Platform) -> None:
    reader = Reader(platform.settings, platform.warehouse)
    found = reader.paths("Alpha", "naive", "2018-01-03", "2018-01-05")
    assert list(found) == days("2018-01-03", "2018-01-05")
    assert all(paths.shape == (200, 14) for paths in found.values())
    other = reader.paths("Beta", "naive", "2018-01-03")
    assert not np.array_equal(other[dt.date(2018, 1, 3)], found[dt.date(2018, 1, 3)])


def test_latest_is_the_newest_on_or_before_the_date_of_that_series(platform: Platform) -> None:
    forecast(platform, "Beta", "naive", [dt.date(2018, 1, 16)])
    reader = Reader(platform.settings, platform.warehouse)
    assert reader.latest("Alpha", "naive").forecast_date == SPAN[-1]
    assert reader.latest("Beta", "naive").forecast_date == dt.date(2018, 1, 16)
    found = reader.latest("Alpha", "naive", on="2018-01-06")
    assert found.forecast_date == dt.date(2018, 1, 6)
    assert found.data_cutoff_date == dt.date(2018, 1, 5)
    assert found.training_cutoff_date == dt.date(2017, 12, 31)
    with pytest.raises(NoForecastError, match="forecast-platform coverage"):
        reader.latest("Alpha", "naive", on="2018-01-01")


def test_an_unknown_series_is_named_with_the_known_ones(platform: Platform) -> None:
    with pytest.raises(ValueError, match="'Cocoa' is not configured; known: Alpha, Beta"):
        Reader(platform.settings, platform.warehouse).paths("Cocoa", "naive")


def test_require_complete_leaves_out_dates_whose_run_is_not_complete(platform: Platform) -> None:
    reader = Reader(platform.settings, platform.warehouse)
    assert reader.paths("Alpha", "naive", require_complete=True) == {}
    forecast_runs(platform, SPAN[:3])
    assert list(reader.paths("Alpha", "naive", require_complete=True)) == SPAN[:3]


def test_forecast_runs_are_partial_until_every_model_and_series_is_there(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    day = dt.date(2018, 1, 2)
    forecast(platform, "Alpha", "naive", [day])
    assert forecast_runs(platform, [day]) == {day: "partial"}
    for series in ("Alpha", "Beta"):
        for model in ("naive", "random_walk"):
            forecast(platform, series, model, [day])
    assert forecast_runs(platform, [day]) == {day: "complete"}
    assert forecast_runs(platform, [dt.date(2018, 1, 3)]) == {}


def test_point_forecasts_come_as_a_sorted_frame(platform: Platform) -> None:
    frame = Reader(platform.settings, platform.warehouse).points("Alpha", "naive", "2018-01-03", "2018-01-04")
    assert len(frame) == 28
    assert frame.day_ahead.tolist() == list(range(1, 15)) * 2


def test_actuals_are_the_closes_and_nan_while_unknown(platform: Platform) -> None:
    write_actuals(platform, "Alpha", days("2018-03-20", "2018-03-28"))
    found = Reader(platform.settings, platform.warehouse).actuals("Alpha", "2018-03-26")[dt.date(2018, 3, 26)]
    _, closes, _ = platform.closes("Alpha", dt.date(2018, 3, 26), dt.date(2018, 4, 1))
    assert len(closes) == 4
    assert np.array_equal(found[:4], closes.astype(np.float32))
    assert np.isnan(found[4:]).all()


def test_var_and_cvar_of_a_normal_are_the_known_figures() -> None:
    profit = np.random.default_rng(1).normal(0.0, 1.0, 1_000_000)
    assert value_at_risk(profit, 0.95) == pytest.approx(1.645, abs=0.01)
    assert expected_shortfall(profit, 0.95) == pytest.approx(2.063, abs=0.01)
    with pytest.raises(ValueError, match=r"0.95"):
        value_at_risk(profit, 95)


def test_risk_of_a_short_position_is_that_of_rising_prices(platform: Platform) -> None:
    reader = Reader(platform.settings, platform.warehouse)
    found = reader.latest("Alpha", "naive")
    last = reader.last_close("Alpha", found.last_observed_date)
    short = reader.risk("Alpha", "naive", levels=(0.95,), day_ahead=10, position=-1.0)[0.95]
    assert short["var"] == pytest.approx(float(np.quantile(found.paths[:, 9].astype(float) - last, 0.95)))
    assert short["cvar"] > short["var"]
