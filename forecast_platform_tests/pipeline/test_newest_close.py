"""A newest close that nobody held possible is not forecast from until it is mended or confirmed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.housekeeping.health import health
from forecast_platform.pages.daily_page import daily_page
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.publish import forecast_runs
from forecast_platform.settings import load
from forecast_platform.work.newest_close import _common, unconfirmed_jump
from forecast_platform.work.platform import Platform
from forecast_platform_tests.pipeline.conftest import Shell
from forecast_platform_tests.worlds import settings_for

BEFORE, ODD, AFTER = dt.date(2018, 4, 2), dt.date(2018, 4, 3), dt.date(2018, 4, 4)
"""Sessions after the synthetic prices end: the forecast of BEFORE is the newest when its close comes in."""
SERIES = ["Alpha", "Beta"]


def closed(root: Path, day: dt.date, factor: float, series: str = "alpha") -> float:
    """Add a close of `factor` times the one before to a series' file; returns it."""
    path = root / "landing" / "market" / f"{series}.csv"
    frame = pd.read_csv(path)
    row = frame.iloc[-1].to_dict()
    close = round(row["close"] * factor, 4)
    added = {**row, "date": str(day), **dict.fromkeys(("open", "high", "low", "close"), close)}
    pd.concat([frame, pd.DataFrame([added])], ignore_index=True).to_csv(path, index=False)
    return close


def world(root: Path, *, confirmed: tuple[dt.date, ...] = ()) -> Platform:
    """The small platform with what its files hold now."""
    series = [{"name": "Alpha", "confirmed": [str(day) for day in confirmed]}, {"name": "Beta"}]
    platform = Platform.from_settings(settings_for(root, series=series))
    report = ingest(platform, SERIES, platform.settings.history_start, AFTER)
    assert not report.rejections
    return Platform.from_settings(platform.settings)


@pytest.fixture
def jumped(small: Path) -> Path:
    """Forecasts of both series for BEFORE; then Alpha loses two fifths of its price, and Beta nothing."""
    platform = world(small)
    for name in SERIES:
        for model in ("naive", "random_walk"):
            assert forecast(platform, name, model, [BEFORE]).written == {BEFORE}
    closed(small, BEFORE, 0.6)
    closed(small, BEFORE, 1.001, "beta")
    return small


def test_a_jump_holds_its_own_series_alone_and_names_value_band_and_mend(jumped: Path) -> None:
    platform = world(jumped)
    for model in ("naive", "random_walk"):
        held = forecast(platform, "Alpha", model, [ODD])
        assert held.written == set()
        reason = held.failed[ODD]
        close = pd.read_csv(jumped / "landing" / "market" / "alpha.csv").close.iloc[-1]
        assert (
            f"the newest close of Alpha, {close:g} on 2018-04-02, is no close that the forecast of 2018-04-02" in reason
        )
        assert "`forecast-platform infer --commodity Alpha --accept 2018-04-02`" in reason
        assert "`confirmed: [2018-04-02]`" in reason
    assert forecast(platform, "Beta", "naive", [ODD]).written == {ODD}


def test_earlier_dates_are_made_while_the_newest_close_waits(jumped: Path) -> None:
    done = forecast(world(jumped), "Alpha", "naive", [dt.date(2018, 3, 28), BEFORE, ODD])
    assert done.good == {dt.date(2018, 3, 28), BEFORE}
    assert set(done.failed) == {ODD}


def test_confirmed_or_mended_or_seen_twice_it_is_forecast_from(jumped: Path) -> None:
    assert forecast(world(jumped, confirmed=(BEFORE,)), "Alpha", "naive", [ODD]).written == {ODD}
    closed(jumped, ODD, 1.01)
    assert unconfirmed_jump(world(jumped), "Alpha") is None, "the next close is at that level, too"


def test_a_mended_close_is_forecast_from(jumped: Path) -> None:
    path = jumped / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(path)
    frame.loc[len(frame) - 1, ["open", "high", "low", "close"]] = frame["close"].iloc[-2]
    frame.to_csv(path, index=False)
    assert forecast(world(jumped), "Alpha", "naive", [ODD]).written == {ODD}


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_wild_day_is_no_jump(small: Path, factor: float) -> None:
    platform = world(small)
    forecast(platform, "Alpha", "random_walk", [BEFORE])
    closed(small, BEFORE, factor)
    assert unconfirmed_jump(world(small), "Alpha") is None


def test_a_move_that_the_last_year_saw_often_is_no_jump() -> None:
    quiet, wild = np.tile([100.0, 101.0], 40), np.tile([100.0, 160.0], 4)
    assert not _common(np.concatenate([quiet, [160.0]]))
    assert not _common(np.concatenate([quiet[:40], [160.0], quiet[40:], [160.0]])), "one slip before is not often"
    assert _common(np.concatenate([quiet, wild, quiet, [160.0]]))


def test_without_a_forecast_of_its_day_nothing_is_said(small: Path) -> None:
    closed(small, BEFORE, 0.6)
    assert unconfirmed_jump(world(small), "Alpha") is None


def test_once_a_forecast_was_made_from_it_health_warns_of_the_days_that_still_wait(jumped: Path) -> None:
    def data(name: str) -> tuple[str, str]:
        at = dt.datetime(2018, 4, 3, 20, tzinfo=dt.timezone.utc)
        facts = {fact.name: fact for fact in health(world(jumped).settings.with_clock(lambda: at)).facts}
        return facts[name].severity, facts[name].text

    assert data("data Alpha")[0] == "error"
    for model in ("naive", "random_walk"):
        forecast(world(jumped, confirmed=(BEFORE,)), "Alpha", model, [ODD])
    assert data("forecast Alpha naive v1.0")[0] == "good"
    state, text = data("data Alpha")
    assert state == "warning"
    assert "forecasts for 2018-04-03 were made from it" in text
    assert "`confirmed: [2018-04-02]`" in text


@pytest.mark.slow
def test_commands_health_coverage_and_the_page_name_it_until_it_is_accepted(
    jumped: Path, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    naive = ("--models", "naive", "--date", str(ODD))
    assert shell("infer", *naive) == 1
    said = capsys.readouterr()
    cause = "on 2018-04-02, is no close that the forecast of 2018-04-02 held possible"
    assert cause in said.out + said.err
    platform = Platform.from_settings(load().with_clock(lambda: dt.datetime(2018, 4, 3, 20, tzinfo=dt.timezone.utc)))
    assert forecast_runs(platform, [ODD]) == {ODD: "partial"}
    facts = {fact.name: fact for fact in health(platform.settings).facts}
    for name in ("data Alpha", "forecast Alpha naive v1.0"):
        assert facts[name].severity == "error"
        assert cause in facts[name].text
    assert cause not in facts["forecast Beta naive v1.0"].text
    page = daily_page(platform, health, ODD).rpartition("/")[2]
    assert cause in (platform.settings.reports / page).read_text(encoding="utf-8")
    assert shell("coverage", "--models", "naive") == 1
    assert "waiting: the newest close of Alpha, " in capsys.readouterr().out
    assert shell("infer", *naive, "--accept", str(BEFORE)) == 2, "whose close?"
    assert shell("infer", *naive, "--commodity", "alpha", "--accept", str(BEFORE)) == 0
