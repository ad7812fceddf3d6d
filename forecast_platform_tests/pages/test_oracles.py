"""What volatility known in advance would give, from the tables: by series and over them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forecast_platform.pages.display import metadata_frame
from forecast_platform.pages.oracles import NAMES, of_series, oracle_losses, over_series
from forecast_platform.pages.panel import over_all
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for

FIRST, DATES = dt.date(2017, 9, 1), 150


def with_naive(root: Path, **series: object) -> Platform:
    """Both series with made-up CRPS of naive; `series` is what the settings say of each."""
    named = [{"name": name, "regions": [], **series} for name in ("Alpha", "Beta")]
    platform = Platform.from_settings(settings_for(root, series=named))
    for name, level in (("Alpha", 1.0), ("Beta", 1.5)):
        days = [FIRST + dt.timedelta(days=n) for n in range(DATES)]
        constant = {"commodity": name, "model_name": "naive", "model_version": "v1.0", "model_success": True}
        constant |= {"has_data_leakage": False, "actuals_available": 14}
        scores = {f"{measure}_{span}": level for measure in ("crps", "mae") for span in ("1d", "7d", "14d")}
        scores |= {f"coverage_{band}_{span}": 0.9 for band in (80, 95) for span in ("1d", "7d", "14d")}
        rows = [
            {**constant, **scores, "forecast_date": day, "last_observed_date": day - dt.timedelta(days=1)}
            for day in days
        ]
        table = pa.Table.from_pylist(rows, schema=FORECAST_METADATA.arrow_schema())
        platform.warehouse.replace(FORECAST_METADATA, table, {"commodity": name, "model_name": "naive"})
    return platform


def test_the_oracles_are_of_naive_s_dates_by_span_and_pooled_by_series(small: Path) -> None:
    platform = with_naive(small)
    each = [oracle_losses(platform, name, metadata_frame(platform, name)) for name in ("Alpha", "Beta")]
    assert list(each[0]) == list(NAMES)
    assert list(each[0]["target days in"]) == ["1d", "7d", "14d"]
    losses = each[0]["target days in"]["14d"]
    assert len(losses.dates) == DATES
    table = platform.series_table("Alpha")
    last = np.searchsorted(table.dates, losses.dates) - 1
    assert np.array_equal(losses.level, table.columns["close"][last])
    told = of_series(each[0], 14)["target days in"]
    both = np.isfinite(losses.loss)
    assert told == (pytest.approx(losses.loss[both].mean()), pytest.approx(1 - losses.loss[both].mean()), both.sum())
    board = over_all(platform).oracles
    assert board.equals(over_series(each, 14))
    assert board["n_series"].tolist() == [2] * 6
    assert board["model_name"].tolist() == [f"oracle: {name}" for name in NAMES for _ in range(3)]


def test_a_roll_rule_is_part_of_the_oracle(small: Path) -> None:
    found = []
    for rule in (None, "wti"):
        platform = with_naive(small, roll_rule=rule)
        found.append(oracle_losses(platform, "Alpha", metadata_frame(platform, "Alpha"))["target days in"]["14d"].loss)
    known = np.isfinite(found[0])
    assert known.any()
    assert not np.array_equal(found[0][known], found[1][known])


def test_without_scores_there_is_none(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    assert oracle_losses(platform, "Alpha", metadata_frame(platform, "Alpha")) == {}
    assert over_series([{}], 14).empty
