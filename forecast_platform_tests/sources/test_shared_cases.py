"""The shared cases, as their files lie there: each is read, refused or held as its README expects.

The kinds that they stand for have tests of their own beside this file, with longer series and other values.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.doctor.sources import source
from forecast_platform.host.finding import Finding
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.settings import Settings, build
from forecast_platform.settings.landing import FileSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.landing import LandingSource
from forecast_platform.work.platform import Platform
from forecast_platform_tests.sources.landings import one, reasons

READ: set[str] = set()
"""Cases that a test of this file reads."""


def of(name: str) -> pytest.MarkDecorator:
    """The case that a test is of."""
    READ.add(name)
    return pytest.mark.parametrize("case", [name], indirect=True)


@pytest.fixture
def case(cases: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a case's files, which the platform may write beside."""
    return Path(shutil.copytree(cases / request.param, tmp_path / request.param))


def landing(case: Path, *series: object, today: str = "2018-02-01", **said: object) -> RawData:
    folder = case / "landing"
    day = dt.date.fromisoformat(today)
    return LandingSource(folder, lambda: day, **said).read(series or [one()])  # type: ignore[arg-type]


def told(case: Path, at: str, name: str = "landing", **changes: object) -> tuple[Settings, list[Finding]]:
    """What doctor says of the source at a time (ISO 8601 with its zone)."""
    values = {"source": "landing", "landing": case / name, "warehouse": case / "warehouse", "file_settle_seconds": 0}
    if (case / "config.yaml").is_file():
        import yaml

        values |= yaml.safe_load((case / "config.yaml").read_text())
    settings = build(**{**values, **changes}).with_clock(lambda: dt.datetime.fromisoformat(at))
    return settings, list(source(settings))


def closes_of(raw: RawData, series: str = "Coffee") -> dict[str, float]:
    frame = raw.market[series]
    return dict(zip(frame["date"].dt.strftime("%Y-%m-%d"), frame["close"], strict=True))


def test_every_shared_case_is_read_by_a_test(cases: Path) -> None:
    assert {path.name for path in cases.iterdir() if path.is_dir()} == READ


@of("cot-release-lag")
def test_positions_of_tuesdays_without_a_lag_are_warned_of_and_with_one_are_not(case: Path) -> None:
    [said] = [one for one in told(case, "2018-01-26T18:00+00:00")[1] if one.subject == "lags"]
    assert (said.severity, "cot_net has values on Tuesdays only" in said.found) == ("warning", True)
    assert "publication_lag_days: {cot_net: 3}" in said.mend
    lagged = told(case, "2018-01-26T18:00+00:00", publication_lag_days={"macro": 0, "cot_net": 3})[1]
    assert not [one for one in lagged if one.subject == "lags" and one.severity != "good"]


@of("cut-last-line")
def test_a_number_that_broke_off_is_refused_with_its_row(case: Path) -> None:
    raw = landing(case)
    assert raw.market == {}
    assert raw.rejections[0].row == 6
    assert "the last close, 12 on 2018-01-25" in raw.rejections[0].reason
    assert any("broke off" in text for text in raw.warnings)


@of("day-shifted")
def test_dates_a_day_early_are_refused_with_the_days_that_prove_it(case: Path) -> None:
    raw = landing(case, one("Wti"))
    assert raw.market == {}
    assert "Sundays" in reasons(raw)
    assert "dates are one day early" in reasons(raw)


@of("import-fred")
def test_fred_s_points_and_blanks_are_missing_closes_and_its_columns_macro(case: Path) -> None:
    raw = landing(case, one("Wti", covariates=("vix",)), files=FileSettings(macro={"VIXCLS": "vix"}))
    assert raw.rejections == []
    assert np.array_equal(list(closes_of(raw, "Wti").values()), [64.2, np.nan, 63.8], equal_nan=True)
    assert raw.macro is not None
    assert raw.macro["vix"].dropna().tolist() == [10.2, 11.7]


@of("import-investing")
def test_investing_s_rows_are_turned_and_its_volumes_are_numbers(case: Path) -> None:
    # Its invented 1,123.40 is nine times the close before: confirmed, or refused as long as no other close follows.
    raw = landing(case, one(confirmed=("2018-01-30",)), today="2018-01-31")
    assert list(closes_of(raw)) == ["2018-01-29", "2018-01-30"]
    assert "still running" in raw.warnings[0]
    raw = landing(case)
    assert closes_of(raw) == {"2018-01-29": 124.7, "2018-01-30": 1123.4, "2018-01-31": 121.9}
    assert np.array_equal(raw.market["Coffee"]["volume"], [1_050_000, 18_200, np.nan], equal_nan=True)


@of("import-yahoo-stooq")
def test_yahoo_s_three_files_are_read_as_traded(case: Path) -> None:
    raw = landing(case, one("A"), one("B"), one("C"), today="2018-04-01")
    assert raw.rejections == []
    assert [sum(np.isfinite(list(closes_of(raw, name).values()))) for name in "ABC"] == [1, 2, 2]
    assert list(closes_of(raw, "C")) == ["2018-03-09", "2018-03-12"]
    assert set(raw.market["C"].columns) <= {"date", "open", "high", "low", "close", "volume"}


@of("long-holiday-doctor")
def test_a_golden_week_is_not_late(case: Path) -> None:
    said = told(case, "2025-10-07T18:00+00:00")[1]
    assert any("2025-09-30, 0 sessions late" in one.found for one in said if one.severity == "good")
    assert not [one for one in said if one.severity == "warning" and "newest" in one.subject]


@of("stray-file")
def test_strays_cost_no_series_but_their_own(case: Path) -> None:
    settings, said = told(case, "2018-02-01T18:00+00:00")
    assert settings.series_names == ("Coffee", "Sugar")
    raw = landing(case, one(), one("Sugar"))
    assert sorted(raw.market) == ["Coffee", "Sugar"], "coffee (1).csv agrees with coffee.csv"
    [stray] = [one for one in said if one.severity == "error" and "makes no series name" in one.found]
    assert "US Coffee C Futures Historical Data.csv" in stray.found
    assert "._sugar" not in "".join(one.found for one in said)


@of("unfinished-bar")
def test_a_file_older_than_its_newest_session_s_close_does_not_give_it(case: Path) -> None:
    stamp = dt.datetime(2018, 1, 25, 15, 50, tzinfo=dt.timezone.utc).timestamp()
    os.utime(case / "landing/market/coffee.csv", (stamp, stamp))
    raw = landing(case, today="2018-01-26")
    assert max(closes_of(raw)) == "2018-01-24"
    assert "a running bar; renew the file" in raw.warnings[0]
    said = told(case, "2018-01-26T16:00+00:00")[1]
    assert any("2018-01-24, 1 sessions late" in one.found for one in said)


@of("unit-switch-between-runs")
def test_another_unit_on_the_next_day_is_held(case: Path) -> None:
    held = {}
    for day, at in (("day1", "2018-01-22T18:00+00:00"), ("day2", "2018-01-23T18:00+00:00")):
        platform = Platform.from_settings(told(case, at, day, series=[{"name": "Coffee", "regions": []}])[0])
        held[day] = ingest(platform, ["Coffee"], dt.date(2018, 1, 8), platform.settings.today()).rejections
    assert held["day1"] == []
    assert "closes are 0.01 of what they were: the unit has changed" in str(held["day2"][0])
    _, closes, observed = platform.closes("Coffee", dt.date(2018, 1, 8), dt.date(2018, 1, 23))
    assert min(closes[observed]) > 100, "the stored closes are still in cents"


@of("uppercase-suffix")
def test_suffixes_are_read_in_any_case(case: Path) -> None:
    assert sorted(landing(case, one("COFFEE"), one("Sugar")).market) == ["COFFEE", "Sugar"]


@of("weather-sentinel")
def test_sentinels_of_services_are_missing_and_counted(case: Path) -> None:
    raw = landing(case, one(regions=("Varginha",)))
    assert raw.rejections == []
    assert raw.weather is not None
    assert raw.weather["temp_min_c"].min() > -90
    assert sum("stands for missing" in item.reason for item in raw.suspects) >= 8


@of("weekly-as-daily")
def test_weekly_closes_are_refused_for_what_they_are(case: Path) -> None:
    raw = landing(case)
    assert raw.market == {}
    assert "weekly" in reasons(raw)
    assert "daily closes are needed" in reasons(raw)


@of("xls-and-quoted-semicolon")
def test_a_foreign_file_is_named_for_what_it_is(case: Path) -> None:
    raw = landing(case, one("Cepea"), one("Ice"))
    assert raw.market == {}
    assert "separated by ;, with decimal commas: save with commas and points" in reasons(raw)
    assert "not a CSV file, but an old Excel workbook: export it as CSV" in reasons(raw)


@of("zero-price")
def test_an_exact_zero_is_missing_and_listed_with_its_row(case: Path) -> None:
    raw = landing(case)
    assert np.isnan(closes_of(raw)["2018-01-04"])
    [listed] = [item for item in told(case, "2018-02-01T18:00+00:00")[1] if "exact 0 among prices" in item.found]
    assert "market/coffee.csv, row 4: close 0 on 2018-01-04" in listed.found


@of("zone-ahead-row")
def test_a_row_of_tomorrow_is_left_out_and_the_series_stays(case: Path) -> None:
    # 16:00 in Tokyo, 23:00 of the day before in Los Angeles, by which the platform dates.
    settings, said = told(case, "2018-01-25T07:00+00:00")
    raw = LandingSource(case / "landing", settings.today).read(settings.series)
    assert max(closes_of(raw, "Rubber")) == "2018-01-24"
    assert not [one for one in said if one.severity == "error"]
