"""Numbers that can be read but mean something else: another calendar, another unit, no price, no weather."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast_platform.sources.calendars import sessions
from forecast_platform_tests.sources.landings import PLAIN, closes, one, read, reasons, walk, write


@pytest.fixture
def xnys() -> np.ndarray:
    return sessions("XNYS", dt.date(2016, 1, 4), dt.date(2018, 6, 29))


def test_weekly_monthly_shifted_and_seven_day_closes_are_refused_each_with_its_mend(
    tmp_path: Path, xnys: np.ndarray
) -> None:
    cases = {
        "these are weekly data; daily closes are needed": pd.date_range("2016-01-08", periods=100, freq="W-FRI"),
        "these are monthly data": pd.date_range("2015-01-31", periods=40, freq="ME"),
        "fall on Sundays, no close on a Friday: dates are one day early": xnys[:300] - 1,
        "fall on Saturdays, no close on a Monday: dates are one day late": xnys[:300] + 1,
        "set step: 24/7 of Coffee if it trades every day": pd.date_range("2016-01-04", periods=300),
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
        (["2018-01-02,V,87,64,0", "2018-01-03,V,91,66,0"], "Fahrenheit? convert to °C (or tenths of a degree"),
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


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.timestamp("ns")], ids=str)
@pytest.mark.parametrize(
    ("file", "column"),
    [("market/coffee", "close"), ("market/coffee", "volume"), ("macro", "vix"), ("weather", "temp_max_c")],
)
def test_a_column_of_dates_is_no_column_of_figures(tmp_path: Path, file: str, column: str, kind: pa.DataType) -> None:
    days = [dt.date(2018, 1, 2), dt.date(2018, 1, 3)]
    columns = {
        "date": days,
        "close": [150.1, 151.4],
        "vix": [15.0, 16.0],
        "region": ["Brazil"] * 2,
        "temp_max_c": [30.0] * 2,
    }
    layouts = {
        "market/coffee": ["date", "close"],
        "macro": ["date", "vix"],
        "weather": ["date", "region", "temp_max_c"],
    }
    (tmp_path / "market").mkdir()
    for name, layout in layouts.items():
        cells = {key: pa.array(columns[key]) for key in layout}
        if name == file:
            cells[column] = pa.array([None, days[1]], pa.date32()).cast(kind)
        pq.write_table(pa.table(cells), tmp_path / f"{name}.parquet")
    raw = read(tmp_path, one(covariates=("vix",), regions=("Brazil",)))
    assert raw.market == {}
    reason = f"{column} holds dates, not numbers: '2018-01-03'; save the column as numbers"
    assert reasons(raw) == f"{file}.parquet, row 3: {reason}"
    assert raw.rejections[0].series == ("Coffee",)


def test_numbers_in_a_parquet_column_that_the_settings_call_the_date_are_refused(tmp_path: Path) -> None:
    (tmp_path / "market").mkdir()
    table = pa.table({"Trade Date": [20180102, None], "close": [150.1, 151.4]})
    pq.write_table(table, tmp_path / "market/coffee.parquet")
    raw = read(tmp_path, one(columns={"Trade Date": "date"}))
    assert reasons(raw).splitlines() == [
        "market/coffee.parquet, row 2: date '20180102' cannot be read unambiguously: write it as YYYY-MM-DD",
        "market/coffee.parquet, row 3: the date is blank",
    ]
