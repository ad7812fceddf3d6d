"""What evaluate and compare say of several series together, over real tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.cli.judging import by_series, duel_over, pooled, what_it_tells
from forecast_platform.forecasting.pooling import PooledSkill
from forecast_platform.pages.panel import over_all, panel, scored_series
from forecast_platform.pages.pooled import PRICE
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.scoring import score
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import MODELS, SERIES, days, settings_for

SPAN = days("2018-01-02", "2018-03-20")


@pytest.fixture
def scored(small: Path) -> Platform:
    """Both series forecast and scored over eleven weeks."""
    platform = Platform.from_settings(settings_for(small))
    for series in SERIES:
        for model in MODELS:
            assert not forecast(platform, series, model, SPAN).failed
            assert not score(platform, series, model, [dt.date(2018, 1, 1)]).failed
    return platform


def test_all_series_of_the_tables_are_compared_also_those_of_other_settings(scored: Platform) -> None:
    other = Platform.from_settings(settings_for(scored.settings.warehouse.parent, series=[{"name": "Alpha"}]))
    assert scored_series(other) == sorted(SERIES)
    frames = panel(other)
    closes = scored.series_table("Beta")
    row = frames["Beta"].iloc[5]
    known = closes.columns["close"][closes.dates == np.datetime64(row["last_observed_date"])]
    assert row[PRICE] == known[0]
    lines = "\n".join([*by_series(frames), *pooled(frames)])
    for part in ("Alpha         random_walk", "Beta          naive", "over 2 series", "do the bands hold?", "   14"):
        assert part in lines, part
    together = over_all(other)
    assert set(together.board["model_name"]) == {"random_walk"}
    told = "\n".join(what_it_tells(frames, MODELS))
    assert "what this tells, and what not" in told
    assert "of naive's CRPS, with 95 % confidence" in told


def test_a_version_s_duel_is_told_with_its_interval_and_whether_it_is_sure() -> None:
    sure = duel_over(PooledSkill(0.021, 0.01, 0.032, 0.0004, 900, 9), "random_walk", "v1.0", "v1.1")
    assert sure == (
        "random_walk: v1.1 saves 2.10 % of v1.0's CRPS (1.00 to 3.20, p = <.001) over 9 series and 900 dates: better"
    )
    assert duel_over(PooledSkill(0.001, -0.01, 0.012, 0.8, 90, 1), "m", "a", "b").endswith("not told apart")
    assert "no scored date" in duel_over(PooledSkill(np.nan, np.nan, np.nan, np.nan, 0, 0), "m", "a", "b")
