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
from forecast_platform.sources.meaning import cut_short
from forecast_platform.work.newest_close import YEAR, common, far, unconfirmed_jump
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
    assert not common(np.concatenate([quiet, [160.0]]))
    assert not common(np.concatenate([quiet[:40], [160.0], quiet[40:], [160.0]])), "one slip before is not often"
    assert common(np.concatenate([quiet, wild, quiet, [160.0]]))


def judged(closes: np.ndarray, half: float) -> bool:
    """Whether the last close is held, or refused by the source, after a forecast around the close before."""
    before, close = float(closes[-2]), float(closes[-1])
    return bool((far(before, half, before, close) and not common(closes)) or cut_short(closes))


def test_real_moves_are_held_once_in_ten_years_of_a_file_and_cut_numbers_always(
    landing: Path, panel: Path, eia: Path
) -> None:
    files = sorted(path for folder in (landing / "market", panel / "market", eia) for path in folder.glob("*.csv"))
    assert len(files) == 14
    for path in files:
        frame = pd.read_csv(path)
        price = frame["close"] if "close" in frame else frame.iloc[:, 1]
        days = pd.to_datetime(frame.iloc[:, 0])[price.notna()].to_numpy("datetime64[D]")
        closes = price.dropna().to_numpy(np.float64)
        moves = np.diff(closes)
        # A band of one day as RiskMetrics has it: 1.96 deviations of returns that are weighted down by 0.94 a day.
        returns = np.where((closes[1:] > 0) & (closes[:-1] > 0), moves / np.abs(closes[:-1]), 0.0)
        variance = pd.Series(returns**2).ewm(alpha=0.06, adjust=False).mean().shift(1).to_numpy()
        half = 1.96 * np.sqrt(variance) * np.abs(closes[:-1])
        wide = [at for at in np.flatnonzero(np.abs(moves) > 4 * half) + 1 if at >= YEAR]
        held = [str(days[at]) for at in wide if judged(closes[max(0, at - 2499) : at + 1], half[at - 1])]
        years = float((days[-1] - days[YEAR]).astype(int)) / 365.25
        assert len(held) <= max(1.0, years / 10), (path.name, held)
        for at in range(YEAR, len(closes), 40):
            true, before = closes[at], closes[max(0, at - 2499) : at]
            if true > 0:
                digits = f"{true:.2f}".replace(".", "").lstrip("0")
                cuts = [true / 10, true / 100, true * 10, true * 100, float(f"{digits[0]}.{digits[1:2] or 0}")]
                for cut in cuts if true >= 10 else cuts[:4]:
                    assert judged(np.append(before, cut), half[at - 1]), (path.name, days[at], true, cut)


def test_without_a_forecast_of_its_day_nothing_is_said(small: Path) -> None:
    closed(small, BEFORE, 0.6)
    assert unconfirmed_jump(world(small), "Alpha") is None


def test_a_close_that_was_accepted_on_friday_is_forecast_from_on_saturday_and_sunday(jumped: Path) -> None:
    def data(name: str) -> str:
        at = dt.datetime(2018, 4, 3, 20, tzinfo=dt.timezone.utc)
        facts = {fact.name: fact for fact in health(world(jumped).settings.with_clock(lambda: at)).facts}
        return facts[name].severity

    assert data("data Alpha") == "error"
    assert forecast(world(jumped, confirmed=(BEFORE,)), "Alpha", "naive", [ODD]).written == {ODD}
    assert data("forecast Alpha naive v1.0") == "good"
    assert data("data Alpha") == "good"
    later = [AFTER, AFTER + dt.timedelta(days=1)]
    for model in ("naive", "random_walk"):
        assert forecast(world(jumped), "Alpha", model, later).written == set(later), "without `confirmed`"


def test_another_close_of_that_day_waits_again(jumped: Path) -> None:
    forecast(world(jumped, confirmed=(BEFORE,)), "Alpha", "naive", [ODD])
    path = jumped / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(path)
    frame.loc[len(frame) - 1, ["open", "high", "low", "close"]] *= 0.5
    frame.to_csv(path, index=False)
    held = forecast(world(jumped), "Alpha", "naive", [ODD, AFTER])
    assert set(held.failed) == {ODD, AFTER}


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
    page = daily_page(platform, health, ODD).file.name
    assert cause in (platform.settings.reports / page).read_text(encoding="utf-8")
    assert shell("coverage", "--models", "naive") == 1
    assert "waiting: the newest close of Alpha, " in capsys.readouterr().out
    assert shell("infer", *naive, "--accept", str(BEFORE)) == 2, "whose close?"
    assert shell("infer", *naive, "--commodity", "alpha", "--accept", str(BEFORE)) == 0
    assert shell("infer", "--models", "naive", "--date", str(AFTER)) == 0, "the day after, with nothing said again"
