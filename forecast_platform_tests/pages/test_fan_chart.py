"""A fan chart shows its paths' own bands, its cutoffs and what came true, and warns of stale data."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecast_platform.pages.fan_chart import write_fan_chart


def _arguments(**changes: Any) -> dict[str, Any]:
    day = np.datetime64("2020-06-01")
    noise = np.random.default_rng(0).standard_normal((500, 14))
    return {
        "series": "Coffee",
        "model": "sarimax_auto_weather",
        "version": "v1.0",
        "forecast_date": dt.date(2020, 6, 1),
        "paths": (100 + noise.cumsum(axis=1)).astype(np.float32),
        "history_dates": day - np.arange(200, 0, -1),
        "history_close": np.linspace(80, 100, 200),
        "actuals": np.concatenate([np.full(5, 101.25), np.full(9, np.nan)]),
        "data_cutoff": dt.date(2020, 5, 31),
        "training_cutoff": dt.date(2019, 12, 31),
        "last_observed": dt.date(2020, 5, 29),
        "staleness_days": 2,
        **changes,
    }


def test_fan_chart_names_what_it_shows_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    arguments = _arguments(unit="cents/lb")
    path = write_fan_chart(tmp_path, **arguments)
    text = path.read_text(encoding="utf-8")
    lower, upper = np.quantile(arguments["paths"][:, 13].astype(np.float64), [0.1, 0.9])
    for part in (
        "Coffee", "sarimax_auto_weather v1.0", "1 June 2020", "2019-12-31", "2020-05-31", "2020-05-29",
        "Unit: cents/lb", "last known close, Fri 29 May 2020 (cents/lb)", "Close (cents/lb)",
        "median, day 14, Sun 14 Jun 2020 (cents/lb)", "80 % band, Sun 14 Jun 2020 (cents/lb)",
        "500 simulated paths", f"{lower:,.2f} to {upper:,.2f}", "101.25",
    ):  # fmt: skip
        assert part in text
    assert "http" not in text
    assert "Old data" not in text
    assert path.name == "fan-chart_Coffee_sarimax-auto-weather_v1.0_2020-06-01.html"
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, "plotly.min.js"]


def test_stale_data_are_announced(tmp_path: Path) -> None:
    text = write_fan_chart(tmp_path, **_arguments(staleness_days=6)).read_text(encoding="utf-8")
    assert 'class="banner loud"' in text
    assert "Old data" in text
    assert "6 days before the data cutoff" in text


def test_a_day_on_which_the_market_is_shut_counts_for_no_band(tmp_path: Path) -> None:
    arguments = _arguments()
    arguments["paths"][:, 2] = arguments["paths"][:, 1]
    text = write_fan_chart(tmp_path, **arguments).read_text(encoding="utf-8")
    rows = re.findall(r"<tr[^>]*><td[^>]*>(\d+)</td>.*?<td[^>]*>([^<]*)</td><td[^>]*>([^<]*)</td></tr>", text)
    assert rows[1][1:] == ("101.25", "inside 80 %")
    assert rows[2] == ("3", "–", "market shut")
    assert rows[3][1] == "101.25"


def test_history_on_or_after_the_forecast_date_is_refused(tmp_path: Path) -> None:
    dates = np.datetime64("2020-06-02") - np.arange(200, 0, -1)
    with pytest.raises(ValueError, match="on or after forecast date 2020-06-01"):
        write_fan_chart(tmp_path, **_arguments(history_dates=dates))


def test_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="actuals"):
        write_fan_chart(tmp_path, **_arguments(actuals=np.zeros(3)))


def test_negative_prices_and_unknown_actuals_are_drawn(tmp_path: Path) -> None:
    arguments = _arguments(actuals=np.full(14, np.nan))
    arguments["paths"] = arguments["paths"] - np.float32(137)
    arguments["history_close"] = arguments["history_close"] - 137
    text = write_fan_chart(tmp_path, **arguments).read_text(encoding="utf-8")
    assert "-37.00" in text
    assert "actual close" not in text


def test_real_coffee_prices_are_drawn(tmp_path: Path, landing: Path) -> None:
    prices = pd.read_csv(landing / "market" / "coffee.csv", parse_dates=["date"])
    dates = prices["date"].to_numpy("datetime64[D]")
    before = dates < np.datetime64("2021-07-27")
    arguments = _arguments(
        forecast_date=dt.date(2021, 7, 27),
        history_dates=dates[before],
        history_close=prices["close"].to_numpy()[before],
    )
    assert "207.80" in write_fan_chart(tmp_path, **arguments).read_text(encoding="utf-8")
