"""The step of a series: recognised, refused where the daily graph would misread it, and forecast where it can be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.doctor.sources import source
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.settings import SeriesSettings, Settings, SettingsError, build
from forecast_platform.sources.calendars import sessions
from forecast_platform.sources.steps import misfit, recognise_step
from forecast_platform.work.platform import Platform

FIRST, LAST = "2014-01-02", "2018-03-29"
EVERY = np.arange(FIRST, "2018-03-30", dtype="datetime64[D]")
XNYS = sessions("XNYS", EVERY[0], EVERY[-1])
WEEKDAYS = EVERY[np.is_busday(EVERY)]
FRIDAYS = EVERY[np.is_busday(EVERY, weekmask="Fri")]
MONTH_ENDS = np.arange("2014-02", "2018-04", dtype="datetime64[M]").astype("datetime64[D]") - 1
HOLED = XNYS[np.random.default_rng(3).random(len(XNYS)) > 0.05]


@pytest.mark.parametrize(
    ("dates", "step"),
    [
        (XNYS, "daily"),
        (HOLED, "daily"),
        (WEEKDAYS, "24/5"),
        (EVERY, "24/7"),
        (FRIDAYS, "weekly"),
        (FRIDAYS + 2, "weekly"),
        (np.delete(FRIDAYS, [5, 40]), "weekly"),
        (MONTH_ENDS, "monthly"),
        (MONTH_ENDS[::3], "irregular"),
        (XNYS[::2], "irregular"),
        (FRIDAYS[:12], "weekly"),
        (FRIDAYS[:7], None),
        (EVERY[:10], None),
        (EVERY[:21], "24/7"),
        (XNYS[:0], None),
    ],
)
def test_a_step_is_recognised_by_the_days_with_a_close(dates: np.ndarray, step: str | None) -> None:
    assert recognise_step(dates, XNYS) == step


def _series(**changes: object) -> SeriesSettings:
    return SeriesSettings.model_validate({"name": "Coffee", **changes})


@pytest.mark.parametrize(
    ("series", "dates"),
    [
        (_series(), XNYS),
        (_series(), HOLED),
        (_series(), WEEKDAYS),
        (_series(step="daily"), XNYS),
        (_series(step="24/5"), WEEKDAYS),
        (_series(step="24/5"), XNYS),
        (_series(step="24/7"), EVERY),
        (_series(exchange="24/7"), EVERY),
        (_series(), FRIDAYS[:7]),
        (_series(), np.concatenate([XNYS[:300:3], XNYS[300:]])),
        (_series(), np.concatenate([FRIDAYS[:-20], XNYS[-80:]])),
    ],
)
def test_closes_that_have_the_series_step_are_taken(series: SeriesSettings, dates: np.ndarray) -> None:
    assert misfit(series, dates) is None


@pytest.mark.parametrize(
    ("series", "dates", "told"),
    [
        (_series(), FRIDAYS, ["closes on 21 % of XNYS sessions", "these are weekly data; daily closes are needed"]),
        (_series(), MONTH_ENDS, ["these are monthly data", "not supported in the daily graph", "training job"]),
        (_series(), EVERY, ["closes on 100 % of Saturdays and Sundays", "set step: 24/7 of Coffee"]),
        (_series(), XNYS[::3], ["closes on 34 % of XNYS sessions", "give the close of every session"]),
        (_series(step="24/7"), WEEKDAYS, ["of 24/7 sessions", "none at weekends", "set step: 24/5"]),
        (_series(step="24/7"), FRIDAYS, ["closes on 14 % of 24/7 sessions", "weekly data"]),
        (_series(step="24/5"), EVERY, ["24/5 is shut", "set step: 24/7 of Coffee"]),
        (
            _series(step="weekly"),
            FRIDAYS,
            ["Coffee has step weekly", "not supported in the daily graph", "training job"],
        ),
        (_series(step="monthly"), XNYS, ["Coffee has step monthly", "give daily closes"]),
        (_series(), np.concatenate([XNYS[:-400], FRIDAYS[-70:]]), ["these are weekly data"]),
    ],
)
def test_closes_of_another_step_are_refused_with_what_was_found_and_the_mend(
    series: SeriesSettings, dates: np.ndarray, told: list[str]
) -> None:
    reason = misfit(series, dates)
    assert reason is not None
    assert all(text in reason for text in told), reason


def test_a_step_with_its_own_calendar_takes_no_exchange() -> None:
    assert (_series(step="24/7").calendar, _series(step="24/5").calendar) == ("24/7", "24/5")
    assert _series(step="daily", exchange="XLON").calendar == "XLON"
    with pytest.raises(ValueError, match="step 24/7 has a calendar of its own: leave exchange 'XLON' out"):
        _series(step="24/7", exchange="XLON")
    with pytest.raises(SettingsError, match="step"):
        build(series=[{"name": "Coffee", "step": "hourly"}])


def _write(folder: Path, name: str, dates: np.ndarray, seed: int) -> None:
    moves = np.random.default_rng(seed).normal(0.0, 0.01, len(dates))
    (folder / "market").mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"date": dates, "close": np.round(100 * np.exp(np.cumsum(moves)), 4)})
    frame.to_csv(folder / "market" / f"{name}.csv", index=False)


def _settings(root: Path, series: list[dict[str, object]]) -> Settings:
    return build(
        source="landing",
        landing=root / "landing",
        warehouse=root / "warehouse",
        series=series,
        models=("naive", "random_walk"),
        lookback_years=3,
        start_date=dt.date(2017, 7, 1),
        n_paths=200,
        min_free_gb=0.0,
    )


def test_weekly_closes_given_as_daily_are_refused_and_the_other_series_goes_on(tmp_path: Path) -> None:
    _write(tmp_path / "landing", "coffee", FRIDAYS, 1)
    _write(tmp_path / "landing", "sugar", XNYS, 2)
    settings = _settings(tmp_path, [{"name": "Coffee"}, {"name": "Sugar"}])
    platform = Platform.from_settings(settings)
    report = ingest(platform, ["Coffee", "Sugar"], dt.date(2018, 1, 2), dt.date(2018, 1, 10))
    [rejection] = report.rejections
    assert rejection.startswith("market/coffee.csv: closes on 21 % of XNYS sessions")
    assert "these are weekly data; daily closes are needed" in rejection
    assert len(report.outcomes["Coffee"].failed) == 9
    assert len(report.outcomes["Sugar"].written) == 9
    findings = list(source(settings))
    refused = [finding for finding in findings if finding.severity == "error"]
    assert len(refused) == 1
    assert "weekly data" in refused[0].found
    assert "keeps out Coffee" in refused[0].found
    assert any(finding.severity == "good" and "Sugar accepted" in finding.found for finding in findings)


def test_the_case_of_weekly_as_daily_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "landing", "coffee", FRIDAYS[-14:], 1)
    [refused] = [one for one in source(_settings(tmp_path, [{"name": "Coffee"}])) if one.severity == "error"]
    assert "closes on" in refused.found
    assert "weekly data" in refused.found


@pytest.mark.slow
def test_variance_accumulates_on_weekends_of_a_series_that_never_closes(tmp_path: Path) -> None:
    _write(tmp_path / "landing", "coin", EVERY, 1)
    _write(tmp_path / "landing", "franc", WEEKDAYS, 2)
    platform = Platform.from_settings(
        _settings(tmp_path, [{"name": "Coin", "step": "24/7"}, {"name": "Franc", "step": "24/5"}])
    )
    assert not ingest(platform, ["Coin", "Franc"], platform.settings.history_start, dt.date(2018, 3, 29)).rejections
    friday = dt.date(2018, 1, 12)
    for name in ("Coin", "Franc"):
        for model in ("naive", "random_walk"):
            assert not train(platform, name, model, [dt.date(2018, 1, 1)]).failed
            assert forecast(platform, name, model, [friday]).written == {friday}
    reader = Reader(platform.settings, platform.warehouse)
    for model in ("naive", "random_walk"):
        coin, franc = (reader.paths(name, model, friday)[friday].astype(np.float64) for name in ("Coin", "Franc"))
        # Days 2 and 3 are a Saturday and a Sunday; a week later again.
        for day in (1, 2, 8, 9):
            assert (coin[:, day] != coin[:, day - 1]).mean() > 0.9
            assert np.array_equal(franc[:, day], franc[:, day - 1])
        assert (franc[:, 3] != franc[:, 2]).mean() > 0.9
        per_session = [np.var(np.log(paths[:, -1] / 100), ddof=1) / count for paths, count in ((coin, 14), (franc, 10))]
        assert 0.5 < per_session[0] / per_session[1] < 2.0
        assert per_session[0] == pytest.approx(0.01**2, rel=0.5)
    table = platform.series_table("Coin")
    assert np.array_equal(table.sessions[:10], np.arange(table.dates[0], table.dates[0] + 10))
