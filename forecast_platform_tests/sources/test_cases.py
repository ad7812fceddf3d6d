"""Plausible files with the wrong meaning: what is refused, read as missing, left out or said, and with which mend."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.settings import SeriesSettings, SettingsError, build
from forecast_platform.settings.landing import FileSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.calendars import sessions
from forecast_platform.sources.landing import LandingSource

TODAY = dt.date(2020, 6, 1)
PLAIN = "date,close\n2018-01-02,150.10\n2018-01-03,151.40\n2018-01-04,150.85\n2018-01-05,152.20\n2018-01-08,151.95\n"


def one(name: str = "Coffee", **settings: object) -> SeriesSettings:
    return SeriesSettings(name=name, **{"regions": (), **settings})


def write(folder: Path, **files: str) -> Path:
    """Files by name, `market__coffee_csv` being market/coffee.csv."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_csv", ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def closes(days: Sequence[object], values: Sequence[float]) -> str:
    rows = (f"{str(day)[:10]},{value:.6g}\n" for day, value in zip(days, values, strict=True))
    return "date,close\n" + "".join(rows)


def walk(n: int, start: float = 120.0, seed: int = 3) -> np.ndarray:
    return np.round(start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.012, n))), 3)


def read(folder: Path, *series: SeriesSettings, today: dt.date = TODAY, **source: object) -> RawData:
    return LandingSource(folder, lambda: today, **source).read(series or [one()])  # type: ignore[arg-type]


def reasons(raw: RawData) -> str:
    return "\n".join(map(str, raw.rejections))


@pytest.fixture
def xnys() -> np.ndarray:
    return sessions("XNYS", dt.date(2016, 1, 4), dt.date(2018, 6, 29))


# -- A file costs its own series only -------------------------------------------------------------------------------


def test_a_stray_file_is_refused_by_name_and_the_series_beside_it_go_on(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN, market__sugar_csv=PLAIN)
    (tmp_path / "market/US Coffee C Futures Historical Data.csv").write_text(PLAIN)
    for ignored in ("._sugar.csv", "~$sugar.csv", "sugar.csv.lock", "sugar.csv.crdownload"):
        (tmp_path / "market" / ignored).write_bytes(b"\x00\x05\x16\x07")
    settings = build(source="landing", landing=tmp_path)
    assert settings.series_names == ("Coffee", "Sugar")
    raw = read(tmp_path, *settings.series)
    assert sorted(raw.market) == ["Coffee", "Sugar"] or "weather" in reasons(raw)
    [stray] = [item for item in raw.rejections if "makes no series name" in item.reason]
    assert stray.file == "market/US Coffee C Futures Historical Data.csv"
    assert stray.series == ()
    assert "rename the file" in stray.reason
    assert "`source: US Coffee C Futures Historical Data`" in stray.reason
    named = one("Arabica", source="US Coffee C Futures Historical Data")
    assert read(tmp_path, named).rejections == []


def test_two_files_of_one_stem_cost_that_series_only(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN, market__Coffee_csv=PLAIN, market__sugar_csv=PLAIN)
    settings = build(source="landing", landing=tmp_path)
    assert [name.lower() for name in settings.series_names] == ["coffee", "sugar"]
    raw = read(tmp_path, one(), one("Sugar"))
    assert list(raw.market) == ["Sugar"]
    assert "market/Coffee.csv and market/coffee.csv: ambiguous, remove one" in reasons(raw)


def test_a_folder_of_strays_alone_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "market").mkdir()
    (tmp_path / "market/My Coffee.csv").write_text(PLAIN)
    (tmp_path / "market/coffee.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SettingsError, match=r"My Coffee.csv: 'My Coffee' makes no series name: rename(.|\n)*unpack it"):
        build(source="landing", landing=tmp_path)


def test_suffixes_are_read_in_any_case_and_other_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, market__sugar_csv=PLAIN)
    (tmp_path / "market/COFFEE.CSV").write_text(PLAIN)
    for name in ("notes.txt", "cocoa.csv.gz"):
        (tmp_path / "market" / name).write_text("x")
    raw = read(tmp_path, one(), one("Sugar"))
    assert sorted(raw.market) == ["Coffee", "Sugar"]
    assert raw.unread == [
        "market/cocoa.csv.gz is not read: unpack it",
        "market/notes.txt is not read: save it as .csv, .parquet, .xls or .xlsx, or move it away",
    ]
    assert build(source="landing", landing=tmp_path).series_names == ("COFFEE", "Sugar")


# -- Parts ----------------------------------------------------------------------------------------------------------


def test_overlapping_parts_are_joined_where_they_agree(tmp_path: Path) -> None:
    rows = PLAIN.splitlines(keepends=True)
    write(tmp_path, market__coffee_csv="".join(rows[:4]))
    (tmp_path / "market/coffee (1).csv").write_text(rows[0] + "".join(rows[2:]))
    raw = read(tmp_path)
    assert raw.rejections == []
    assert raw.market["Coffee"]["close"].tolist() == [150.10, 151.40, 150.85, 152.20, 151.95]
    (tmp_path / "market/coffee (1).csv").write_text(rows[0] + "2018-01-03,151.45\n" + "".join(rows[3:]))
    raw = read(tmp_path)
    assert raw.market == {}
    assert reasons(raw) == (
        "market/coffee (1).csv, row 2: close on 2018-01-03 is 151.45, but 151.4 in market/coffee.csv, row 3: "
        "overlapping files must agree; remove the one that is wrong"
    )


def test_macro_and_weather_parts_are_joined_and_a_bad_one_costs_only_those_that_need_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        market__coffee_csv=PLAIN,
        market__sugar_csv=PLAIN,
        macro_csv="date,usd_brl\n2018-01-02,3.2\n2018-01-03,3.3\n",
        macro_vix_csv="observation_date,VIXCLS\n2018-01-03,.\n2018-01-04,9.2\n",
        weather_csv="date,region,temp_max_c\n2018-01-02,Brazil,30\n",
        weather_Vietnam_csv="date,region,temp_max_c\n2018-01-02,Vietnam,25\n",
    )
    series = [
        one(covariates=("vix",), regions=("Brazil",)),
        one("Sugar", covariates=("usd_brl",), regions=("Vietnam",)),
    ]
    raw = read(tmp_path, *series)
    assert raw.rejections == []
    assert raw.macro is not None
    assert raw.macro.set_index("date")["vix"].dropna().tolist() == [9.2]
    assert raw.macro["usd_brl"].dropna().tolist() == [3.2, 3.3]
    assert raw.weather is not None
    assert sorted(raw.weather["region"]) == ["Brazil", "Vietnam"]
    (tmp_path / "macro_vix.csv").write_text("observation_date,VIXCLS\n2018-01-04,high\n")
    (tmp_path / "weather_Vietnam.csv").write_text("date,region,temp_max_c\n2018-01-02,Vietnam,77\n")
    raw = read(tmp_path, *series)
    assert raw.rejections_of("Coffee")[0].file == "macro_vix.csv"
    assert raw.rejections_of("Sugar")[0].file == "weather_Vietnam.csv"
    assert raw.macro is not None
    assert list(raw.macro.columns) == ["date", "usd_brl"]


# -- Files being written, running bars ------------------------------------------------------------------------------


def _changed(path: Path, when: str) -> None:
    stamp = dt.datetime.fromisoformat(f"{when}+00:00").timestamp()
    os.utime(path, (stamp, stamp))


def test_a_file_that_is_older_than_the_close_of_its_newest_session_does_not_give_it(tmp_path: Path) -> None:
    text = closes(["2018-01-22", "2018-01-23", "2018-01-24", "2018-01-25"], [122.7, 120.8, 122.3, 150.0])
    path = write(tmp_path, market__coffee_csv=text) / "market/coffee.csv"
    source = LandingSource(tmp_path, lambda: dt.date(2018, 1, 26))
    _changed(path, "2018-01-25 15:50")
    running = source.fingerprint([one()])
    raw = source.read([one()])
    assert raw.market["Coffee"]["close"].tolist() == [122.7, 120.8, 122.3]
    [said] = raw.warnings
    assert "left out: row 5: the file was changed at 2018-01-25 15:50 UTC, before XNYS closed on 2018-01-25" in said
    # The platform's futures settle at 14:30 in New York, an hour and a half before stocks close.
    _changed(path, "2018-01-25 20:00")
    assert len(read(tmp_path, one(exchange="US_COMMODITIES")).market["Coffee"]) == 4
    assert len(source.read([one()]).market["Coffee"]) == 3
    for when in ("2018-01-25 21:01", "2018-01-09 12:00", "1980-01-01 00:00"):
        _changed(path, when)
        assert len(source.read([one()]).market["Coffee"]) == 4, when
    _changed(path, "2018-01-25 21:01")
    assert source.fingerprint([one()]) != running, "the same bytes are read otherwise after the close"


def test_a_last_close_that_broke_off_is_refused_until_confirmed(tmp_path: Path) -> None:
    days = ["2018-01-19", "2018-01-22", "2018-01-23", "2018-01-24", "2018-01-25"]
    text = closes(days, [121.4, 122.7, 120.8, 122.3, 12]).rstrip("\n")
    write(tmp_path, market__coffee_csv=text)
    raw = read(tmp_path)
    assert raw.market == {}
    assert raw.rejections[0].row == 6
    assert "the last close, 12 on 2018-01-25, is 0.0981 of the one before" in raw.rejections[0].reason
    assert any("row 6: the last line is shorter" in text for text in raw.warnings)
    assert len(read(tmp_path, one(confirmed=("2018-01-25",))).market["Coffee"]) == 5
    write(tmp_path, market__coffee_csv=f"{text}\n2018-01-26,11.8\n")
    assert len(read(tmp_path, one(confirmed=("2018-01-25",))).market["Coffee"]) == 6


def test_a_file_that_was_changed_just_now_is_said(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN)
    assert read(tmp_path).warnings == []
    assert "coffee.csv: changed 0 s ago: it may still be" in read(tmp_path, settle_seconds=60.0).warnings[0]


def test_a_row_of_tomorrow_is_left_out_and_a_later_one_refused(tmp_path: Path) -> None:
    write(tmp_path, market__rubber_csv=closes(["2018-01-23", "2018-01-24", "2018-01-25"], [201.5, 203.1, 202.2]))
    rubber = one("Rubber", exchange="XTKS")
    raw = read(tmp_path, rubber, today=dt.date(2018, 1, 24))
    assert raw.market["Rubber"]["close"].tolist() == [201.5, 203.1]
    assert "left out: row 4: dated tomorrow" in raw.warnings[0]
    assert "lies after today" in reasons(read(tmp_path, rubber, today=dt.date(2018, 1, 23)))


# -- What the numbers mean ------------------------------------------------------------------------------------------


def test_weekly_monthly_shifted_and_seven_day_closes_are_refused_each_with_its_mend(
    tmp_path: Path, xnys: np.ndarray
) -> None:
    cases = {
        "closes on 21 % of XNYS sessions: these are weekly data": pd.date_range(
            "2016-01-08", periods=100, freq="W-FRI"
        ),
        "these are monthly data": pd.date_range("2015-01-31", periods=40, freq="ME"),
        "fall on Sundays, no close on a Friday: dates are one day early": xnys[:300] - 1,
        "fall on Saturdays, no close on a Monday: dates are one day late": xnys[:300] + 1,
        "a market of seven days; set `exchange: 24/7`": pd.date_range("2016-01-04", periods=300),
        "of days on which XTAE was shut": xnys[:300],
    }
    for reason, days in cases.items():
        write(tmp_path, market__coffee_csv=closes(list(days), list(walk(len(days)))))
        raw = read(tmp_path, one(exchange="XTAE" if "XTAE" in reason else "XNYS"))
        assert raw.market == {}, reason
        assert reason in reasons(raw), reasons(raw)
    write(tmp_path, market__coffee_csv=closes(list(pd.date_range("2016-01-04", periods=300)), list(walk(300))))
    assert read(tmp_path, one(exchange="24/7")).rejections == []


def test_daily_data_that_began_as_weekly_are_read_and_said(tmp_path: Path, xnys: np.ndarray) -> None:
    days = [*pd.date_range("2006-01-06", "2015-12-31", freq="W-FRI"), *xnys]
    write(tmp_path, market__coffee_csv=closes(days, list(walk(len(days)))))
    raw = read(tmp_path)
    assert raw.rejections == []
    assert any("over the whole file, closes on only" in text for text in raw.warnings)


def test_a_calendar_without_holidays_and_real_gaps_are_no_reason_to_refuse(tmp_path: Path, xnys: np.ndarray) -> None:
    for days in (pd.bdate_range("2016-01-04", periods=500), np.delete(xnys, slice(20, 60))):
        write(tmp_path, market__coffee_csv=closes(list(days), list(walk(len(days)))))
        assert read(tmp_path).rejections == []


def test_a_stretch_in_another_unit_is_refused_with_its_rows_until_confirmed(tmp_path: Path, xnys: np.ndarray) -> None:
    values = walk(200)
    values[80:120] /= 100
    write(tmp_path, market__coffee_csv=closes(list(xnys[:200]), list(values)))
    raw = read(tmp_path)
    assert raw.rejections[0].row == 82
    assert f"closes from {xnys[80]} to {xnys[119]} (row 121) are 0.01 of those around them" in raw.rejections[0].reason
    assert read(tmp_path, one(confirmed=(xnys[90].item(),))).rejections == []
    values[120:] /= 100
    write(tmp_path, market__coffee_csv=closes(list(xnys[:200]), list(values)))
    assert f"from {xnys[80]} to {xnys[199]}" in reasons(read(tmp_path)), "a change that stays is one, too"


def test_an_exact_zero_among_prices_is_missing_and_near_zero_oil_stays(tmp_path: Path) -> None:
    days = ["2018-01-02", "2018-01-03", "2018-01-04", "2018-01-05", "2018-01-08"]
    write(tmp_path, market__coffee_csv=closes(days, [128.4, 127.9, 0, 128.6, 129.0]))
    raw = read(tmp_path)
    assert raw.market["Coffee"]["close"].isna().tolist() == [False, False, True, False, False]
    [zero] = [item for item in raw.suspects if "exact 0" in item.reason]
    assert (zero.file, zero.row, zero.date, zero.value) == ("market/coffee.csv", 4, "2018-01-04", 0.0)
    write(tmp_path, market__coffee_csv=closes(days, [20.1, 0.5, 0, -36.98, 9.06]))
    assert read(tmp_path).market["Coffee"]["close"].tolist() == [20.1, 0.5, 0, -36.98, 9.06]


def test_closes_that_stand_still_are_listed(tmp_path: Path, xnys: np.ndarray) -> None:
    values = walk(60)
    values[30:36] = values[30]
    write(tmp_path, market__coffee_csv=closes(list(xnys[:60]), list(values)))
    [said] = read(tmp_path).remarks
    value = f"close {values[35]:g} on {xnys[35]}"
    assert said == f"market/coffee.csv, row 37: {value} stands still for 6 sessions: since {xnys[30]}"


WEATHER = "date,region,temp_max_c,temp_min_c,precipitation_mm\n"


def test_sentinels_of_weather_are_missing_and_said(tmp_path: Path) -> None:
    rows = [f"2018-01-{day:02d},Varginha,{value},{value},{value}" for day, value in enumerate((-999, -9999, -99), 3)]
    text = WEATHER + "2018-01-02,Varginha,26.4,16.9,0\n" + "\n".join(rows) + "\n2018-01-06,Varginha,27.9,17.5,9999.9\n"
    write(tmp_path, market__coffee_csv=PLAIN, weather_csv=text)
    raw = read(tmp_path, one(regions=("Varginha",)))
    assert raw.rejections == []
    assert raw.weather is not None
    assert raw.weather["temp_min_c"].dropna().tolist() == [16.9, 17.5]
    assert raw.weather["precipitation_mm"].dropna().tolist() == [0.0]
    assert len(raw.suspects) == 10
    assert "weather.csv, row 3: temp_max_c -999 on 2018-01-03 stands for missing in NASA POWER" in raw.remarks[0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["2018-01-02,V,26,27,0"], "row 2: temp_min_c 27 is above temp_max_c 26"),
        (["2018-01-02,V,26,20,2500"], "row 2: precipitation_mm is 2500, possible is 0 to 2000"),
        (["2018-01-02,V,299.2,291.1,0", "2018-01-03,V,300.2,292.1,0"], "kelvin? subtract 273.15"),
        (["2018-01-02,V,243,171,0", "2018-01-03,V,255,180,0"], "tenths of a degree? divide by 10"),
        (["2018-01-02,V,87.2,64.0,0", "2018-01-03,V,81.2,66,0"], "Fahrenheit? convert to °C"),
        (
            [f"2018-{1 + n // 28:02d}-{1 + n % 28:02d},V,55,45,0" for n in range(60)],
            "warmer than any place: convert °F",
        ),
    ],
)
def test_weather_that_cannot_be_is_refused_with_row_and_mend(rows: list[str], reason: str, tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN, weather_csv=WEATHER + "\n".join(rows) + "\n")
    raw = read(tmp_path, one(regions=("V",)), one("Sugar", source="coffee"))
    assert list(raw.market) == ["Sugar"]
    assert reason in reasons(raw)


# -- What is no CSV file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40),
            "not a CSV file, but an old Excel workbook: export it as CSV",
        ),
        (
            b'"date";"close"\n2018-01-02;"1.012,34"\n',
            "separated by ;, with decimal commas: save with commas and points",
        ),
        (b'"date";"close"\n2018-01-02;"1.01"\n', "separate columns with commas"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(content: bytes, reason: str, tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv="")
    (tmp_path / "market/coffee.csv").write_bytes(content)
    assert reason in reasons(read(tmp_path))


def test_columns_and_dates_of_the_rest_come_from_the_settings(tmp_path: Path) -> None:
    text = 'Trade Date,Last,Turnover\n03/04/2018,"1,012.50",x\n04/04/2018,1013.25,y\n'
    write(tmp_path, market__coffee_csv=text, macro_csv="date,VIXCLS\n2018-01-02,9.5\n")
    mapped = {"Trade Date": "date", "Last": "close"}
    assert "no day above 12 proves an order" in reasons(read(tmp_path, one(columns=mapped)))
    raw = read(tmp_path, one(columns=mapped, dates="day-first"), files=FileSettings(macro={"VIXCLS": "vix"}))
    assert raw.rejections == []
    assert raw.market["Coffee"]["date"].dt.strftime("%Y-%m-%d").tolist() == ["2018-04-03", "2018-04-04"]
    assert raw.market["Coffee"]["close"].tolist() == [1012.5, 1013.25]
    assert raw.macro is not None
    assert raw.macro["vix"].tolist() == [9.5]
    plain = "date,close\n03/04/2018,1\n13/04/2018,2\n"
    write(tmp_path, market__coffee_csv=plain)
    assert read(tmp_path, one(dates="day-first")).market["Coffee"]["date"].dt.month.tolist() == [4, 4]
    assert "is day-first, but the settings say dates: month-first" in reasons(read(tmp_path, one(dates="month-first")))
