"""What is news of a series: all that a day's run brings, of a series that is added its newest session alone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd

from forecast_platform.graph.checks.report import Examined
from forecast_platform.graph.checks.unified import JUMPS, PLAUSIBLE, examine
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import ingest_all, settings_for, write_landing

JUMP = dt.date(2017, 9, 12)


def _platform(root: Path, **changes: object) -> Platform:
    file = write_landing(root / "landing") / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    prices = ["open", "high", "low", "close"]
    frame.loc[frame["date"] >= str(JUMP), prices] *= 1.25
    frame.loc[frame["date"].between("2016-05-02", "2016-05-13"), prices] = frame["close"].iloc[580]
    frame.to_csv(file, index=False)
    platform = Platform.from_settings(settings_for(root, **changes))
    ingest_all(platform)
    return platform


def test_adding_a_series_raises_no_alarm_for_its_past_and_a_jump_of_the_day_does(tmp_path: Path) -> None:
    platform = _platform(tmp_path)
    added = [platform.settings.lookback_end, dt.date(2018, 3, 29)]
    for keys, passed in ((added, True), ([JUMP], False)):
        found = examine(Examined(platform, "v1.0", {"Alpha": keys}, ("Alpha", "Beta")), "Alpha")
        assert (found[JUMPS].passed, found[PLAUSIBLE].passed) == (passed, True), found[JUMPS].text
    confirmed = [{"name": "Alpha", "confirmed": [JUMP]}, {"name": "Beta"}]
    looked_at = Platform.from_settings(settings_for(tmp_path, series=confirmed))
    assert examine(Examined(looked_at, "v1.0", {"Alpha": [JUMP]}, ("Alpha",)), "Alpha")[JUMPS].passed
