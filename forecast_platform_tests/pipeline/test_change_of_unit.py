"""A source that counts in another unit from one day on, as meant: nothing is mixed until all is made anew."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader, StaleForecastError
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import ingest_all, settings_for


def test_a_model_that_was_fitted_on_another_unit_is_refused_until_trained_again(small: Path) -> None:
    path = small / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(path)
    prices = ["open", "high", "low", "close"]
    frame[prices] = frame[prices] / 100
    frame.to_csv(path, index=False)
    day = dt.date(2018, 1, 2)
    assert forecast(Platform.from_settings(settings_for(small)), "Alpha", "random_walk", [day]).written == {day}
    alpha = {"name": "Alpha", "confirmed": [str(frame.date.iloc[-1])], "multiplier": 375, "currency": "USD"}
    platform = Platform.from_settings(settings_for(small, series=[alpha]))
    ingest_all(platform)
    outcome = forecast(platform, "Alpha", "random_walk", [day])
    assert outcome.written == set()
    assert "was fitted on closes around" in outcome.failed[day]
    window = "--models random_walk --start-date 2018-01-01 --end-date 2018-01-01 --overwrite"
    assert f"`forecast-platform train --commodity Alpha {window}`" in outcome.failed[day]
    # What was forecast in the old unit is counted from no close in the new one.
    reader = Reader(platform.settings, platform.warehouse)
    for ask in (
        lambda: reader.latest("Alpha", "random_walk", on=day, max_age=None, strict=False),
        lambda: reader.odds("Alpha", 100.0, "random_walk", start=day),
        lambda: reader.portfolio({"Alpha": 1}, "random_walk").risk(on=day, max_age=None),
    ):
        with pytest.raises(
            StaleForecastError, match=r"was made from other prices .*infer --commodity Alpha --date 2018"
        ):
            ask()
    train(platform, "Alpha", "random_walk", [dt.date(2018, 1, 1)], overwrite=True)
    assert forecast(platform, "Alpha", "random_walk", [day]).written == {day}
    assert reader.latest("Alpha", "random_walk", on=day, max_age=None).last_close < 5
    assert reader.paths("Alpha", "random_walk")[day].max() < 5
