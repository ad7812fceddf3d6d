"""Every way in which a landing file can be wrong, and what the platform says about it."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_platform.settings import SeriesSettings
from forecast_platform.sources import parts
from forecast_platform.sources.base import Rejection
from forecast_platform.sources.files import RawTable, content_of, table_of
from forecast_platform.sources.landing import LandingSource
from forecast_platform.sources.validate import LISTED, check_market
from forecast_platform_tests.sources.conftest import COFFEE, SUGAR, TODAY, Write

HEAD = "date,open,high,low,close,volume\n"
GOOD = "2020-01-02,1,2,1,100,5\n"


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


BAD_MARKET = {
    "blank date": (HEAD + GOOD + ",1,2,1,100,5\n", 3, "the date is blank"),
    "duplicate date": (HEAD + GOOD + GOOD, 3, "date 2020-01-02 is there twice, before in row 2"),
    "text price": (HEAD + GOOD + "2020-01-03,1,2,1,abc,5\n", 3, "close is not a number: 'abc'"),
    "text volume": (HEAD + GOOD + "2020-01-03,1,2,1,100,n/a\n", 3, "volume is not a number: 'n/a'"),
    "thousands": (HEAD + GOOD + '2020-01-03,1,2,1,"1,000",5\n', 3, "close is not a number: '1,000'"),
    "underscore": (HEAD + GOOD + "2020-01-03,1,2,1,1_000,5\n", 3, "close is not a number: '1_000'"),
    "infinite": (HEAD + GOOD + "2020-01-03,1,-inf,1,100,5\n", 3, "high is infinite (-inf)"),
    "overflow": (HEAD + GOOD + "2020-01-03,1,2,1,1e999,5\n", 3, "close is infinite (1e999)"),
    "unknown column": ("date,close,colour\n2020-01-02,1,red\n", 1, "unknown column 'colour'"),
    "capitals": ("Date,close\n2020-01-02,1\n", 1, "such as `columns: {Date: date}`"),
    "misspelt": ("date,close,volumes\n2020-01-02,1,1\n", 1, "unknown column 'volumes'; did you mean 'volume'?"),
    "adjusted": ("date,close,adj_close\n2020-01-02,1,1\n", 1, "'adj_close'; adjusted prices are not what was traded"),
    "index": (",date,close\n0,2020-01-02,1\n", 1, "unknown column ''; an index?"),
    "no header": ("2020-01-02,1\n2020-01-03,1\n", 1, "put a header such as date,close above them"),
    "no close": ("date,open\n2020-01-02,1\n", 1, "the column 'close' is missing"),
    "no date": ("close,open\n1,1\n", 1, "the column 'date' is missing"),
    "column twice": ("date,close,close\n2020-01-02,1,1\n", 1, "column 'close' is there more than once"),
    "future": (HEAD + GOOD + "2020-02-03,1,2,1,100,5\n", 3, "date 2020-02-03 lies after today, 2020-02-01"),
    "year 20": (HEAD + "0020-02-02,1,2,1,100,5\n" + GOOD, 2, "date 0020-02-02 lies before 1900-01-01"),
    "zero bytes": ("", None, "empty file (0 bytes)"),
    "header only": (HEAD, None, "no rows below the header"),
    "blank lines": ("\n\n", None, "empty file (blank lines only)"),
    "no price": ("date,close\n2020-01-02,\n", None, "close has no value in any row"),
    "unsorted": (
        HEAD + "2020-01-03,1,2,1,100,5\n" + GOOD,
        3,
        "dates are not sorted: 2020-01-02 comes after 2020-01-03",
    ),
    "American date": (HEAD + "01/02/2020,1,2,1,100,5\n", 2, "date '01/02/2020' cannot be read unambiguously"),
    "compact date": (HEAD + "20200102,1,2,1,100,5\n", 2, "date '20200102' cannot be read unambiguously"),
    "no such day": (HEAD + "2020-02-30,1,2,1,100,5\n", 2, "date '2020-02-30' does not exist"),
    "time of day": (HEAD + "2020-01-02T16:00:00,1,2,1,100,5\n", 2, "is not a plain midnight"),
    "named zone": (HEAD + "2020-01-02 00:00 EST,1,2,1,100,5\n", 2, "is not a plain midnight"),
    "mixed zones": (
        "date,close\n2020-01-02T00:00:00Z,1\n2020-01-03T00:00:00-03:00,1\n",
        3,
        "time zones are mixed: -0300 here, +0000 above",
    ),
    "zone and none": ("date,close\n2020-01-02,1\n2020-01-03T00:00:00Z,1\n", 3, "time zones are mixed"),
    "bytes": (b"date,close\n2020-01-02,1\n2020-01-03,\xff\n", 3, "byte 0xff is not UTF-8"),
    "NUL": ("date,close\n2020-01-02,\0\n", 2, "NUL character"),
    "spreadsheet": (b"PK\x03\x04\x14\x00", None, "a zip archive or a spreadsheet"),
    "parquet in csv": (parquet(date=["2020-01-02"], close=[1.0]), None, "not a CSV file, but Parquet"),
    "web page": ("<html><body>404</body></html>\n", None, "no rows below the header"),
    "semicolons": ("date;close\n2020-01-02;1\n", 1, "separate columns with commas"),
    "open quote": ('date,close\n2020-01-02,"1\n', 2, "not a CSV file: unexpected end of data"),
    "short row": (HEAD + GOOD + "2020-01-03,1\n", 3, "2 cells where the header has 6"),
    "long row": (HEAD + GOOD + "2020-01-03,1,2,1,100,5,9\n", 3, "7 cells where the header has 6"),
}


@pytest.mark.parametrize("case", BAD_MARKET)
def test_bad_market_file_is_rejected_with_file_row_and_reason_and_other_series_go_on(case: str, read: Write) -> None:
    content, row, reason = BAD_MARKET[case]
    raw = read("market/coffee.csv", content)
    assert list(raw.market) == ["Sugar"]
    hits = [r for r in raw.rejections if r.row == row and reason in r.reason]
    assert len(hits) == 1, [str(r) for r in raw.rejections]
    assert hits[0].file == "market/coffee.csv"
    assert hits[0].series == ("Coffee",)
    assert raw.rejections_of("Sugar") == []


BAD_PARQUET = {
    "truncated": (parquet(date=["2020-01-02"], close=[1.0])[:-9], None, "truncated or not a Parquet file"),
    "not parquet": (b"date,close\n2020-01-02,1\n", None, "truncated or not a Parquet file"),
    "zero bytes": (b"", None, "empty file (0 bytes)"),
    "no rows": (parquet(date=pd.to_datetime([]), close=np.array([], float)), None, "no rows"),
    "integer date": (parquet(date=[20200102], close=[1.0]), 2, "cannot be read unambiguously"),
    "null date": (parquet(date=pd.to_datetime(["2020-01-02", None]), close=[1.0, 2.0]), 3, "the date is blank"),
    "time of day": (parquet(date=pd.to_datetime(["2020-01-02 16:00"]), close=[1.0]), 2, "is not a plain midnight"),
    "summer time": (
        parquet(date=pd.to_datetime(["2019-07-02", "2020-01-02"]).tz_localize("America/New_York"), close=[1.0, 2.0]),
        3,
        "time zones are mixed",
    ),
    "other zone's midnight": (
        parquet(date=pd.to_datetime(["2020-01-02"]).tz_localize("UTC").tz_convert("Asia/Tokyo"), close=[1.0]),
        2,
        "is not a plain midnight",
    ),
    "infinite": (parquet(date=["2020-01-02"], close=[np.inf]), 2, "close is infinite"),
    "truth values": (parquet(date=["2020-01-02"], close=[True]), 2, "close is not a number: 'True'"),
}


@pytest.mark.parametrize("case", BAD_PARQUET)
def test_bad_parquet_file_is_rejected(case: str, folder: Path, read: Write) -> None:
    content, row, reason = BAD_PARQUET[case]
    (folder / "market/coffee.csv").unlink()
    raw = read("market/coffee.parquet", content)
    assert list(raw.market) == ["Sugar"]
    assert any(r.row == row and reason in r.reason and r.file == "market/coffee.parquet" for r in raw.rejections), [
        str(r) for r in raw.rejections
    ]


@pytest.mark.parametrize(
    "dates",
    [
        ["2020-01-02", "2020-01-03"],
        ["2020-01-02T00:00:00", "2020-01-03T00:00:00"],
        ["2020-01-02 00:00:00", "2020-01-03 00:00"],
        ["2020-01-02T00:00:00-03:00", "2020-01-03T00:00:00-0300"],
        ["2020-01-02T00:00:00.000Z", "2020-01-03T00:00:00+00:00"],
    ],
)
def test_dates_that_can_be_read_in_one_way_only_are_accepted(dates: list[str], read: Write) -> None:
    raw = read("market/coffee.csv", f"date,close\n{dates[0]},1\n{dates[1]},2\n")
    assert raw.rejections == []
    assert raw.market["Coffee"]["date"].tolist() == [pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-03")]


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(["2020-01-02", "2020-01-03"]),
        pd.to_datetime(["2020-01-02", "2020-01-03"]).tz_localize("UTC"),
        pd.to_datetime(["2020-01-02", "2020-01-03"]).tz_localize("America/New_York"),
        [dt.date(2020, 1, 2), dt.date(2020, 1, 3)],
        ["2020-01-02", "2020-01-03"],
    ],
)
def test_parquet_and_csv_of_the_same_rows_read_alike(dates: object, folder: Path, read: Write) -> None:
    expected = read("market/coffee.csv", "date,close,volume\n2020-01-02,1.1,\n2020-01-03,2.2,7\n").market["Coffee"]
    (folder / "market/coffee.csv").unlink()
    raw = read("market/coffee.parquet", parquet(date=dates, close=[1.1, 2.2], volume=pd.array([None, 7], "Int64")))
    assert raw.rejections == []
    pd.testing.assert_frame_equal(raw.market["Coffee"], expected)


def test_missing_cells_other_than_a_date_are_legal(read: Write) -> None:
    raw = read("market/coffee.csv", "﻿" + HEAD + "2020-01-02,,,,100,\r\n\r\n2020-01-03,1,2,1,,NaN\r\n")
    assert raw.rejections == []
    assert raw.market["Coffee"].notna().sum().to_dict() == {
        "date": 2,
        "open": 1,
        "high": 1,
        "low": 1,
        "close": 1,
        "volume": 0,
    }


def test_all_kinds_of_problems_of_a_file_are_told_a_line_each_with_their_number(read: Write) -> None:
    days = pd.date_range("2019-01-01", periods=50).strftime("%Y-%m-%d")
    text = "date,close,mood\n" + "".join(f"{day},x,y\n" for day in days)
    rejections = read("market/coffee.csv", text).rejections
    assert len(rejections) == 2
    assert rejections[0].reason.startswith("unknown column 'mood'")
    reason = "close is not a number: 'x'; so are 49 more rows: 3, 4, 5, ..."
    assert str(rejections[1]) == f"market/coffee.csv, row 2: {reason}"
    names = [f"mood_{chr(97 + n)}" for n in range(25)]
    text = f"date,close,{','.join(names)}\n2019-01-01,1{',1' * 25}\n"
    rejections = read("market/coffee.csv", text).rejections
    assert len(rejections) == LISTED + 1
    assert str(rejections[-1]) == "market/coffee.csv: and 5 more problems (25 in all)"


def test_rejection_names_file_row_and_reason() -> None:
    assert str(Rejection("macro.csv", 7, "vix is infinite (inf)")) == "macro.csv, row 7: vix is infinite (inf)"


def test_missing_market_file_is_a_rejection_that_names_it(read: Write) -> None:
    raw = read("market/coffee.csv", None)
    assert list(raw.market) == ["Sugar"]
    assert [r.file for r in raw.rejections] == ["market/coffee.csv"]
    assert "no such file" in raw.rejections[0].reason


@pytest.mark.parametrize("name", ["market/sugar", "macro", "weather"])
def test_csv_beside_parquet_of_one_stem_is_ambiguous(name: str, folder: Path, read: Write) -> None:
    raw = read(f"{name}.parquet", parquet(date=["2020-01-02"], close=[1.0]))
    assert f"there is {name}.csv and {name}.parquet: ambiguous, remove one" in [r.reason for r in raw.rejections]


def test_rejected_macro_file_rejects_only_the_series_with_covariates(read: Write) -> None:
    raw = read("macro.csv", "date,vix\n2020-01-02,high\n")
    assert list(raw.market) == ["Sugar"]
    assert [str(r) for r in raw.rejections] == ["macro.csv, row 2: vix is not a number: 'high'"]
    assert raw.rejections[0].series == ("Coffee",)


def test_rejected_weather_file_rejects_only_the_series_with_regions(read: Write) -> None:
    raw = read("weather.csv", "date,region,temp_max_c\n2020-01-02,Brazil,1\n2020-01-02,Brazil,2\n")
    assert list(raw.market) == ["Sugar"]
    assert "date 2020-01-02 of region 'Brazil' is there twice" in raw.rejections[0].reason


def test_macro_and_weather_may_be_missing_where_no_series_needs_them(folder: Path, read: Write) -> None:
    (folder / "macro.csv").unlink()
    raw = read("weather.csv", None)
    assert list(raw.market) == ["Sugar"]
    assert [str(r) for r in raw.rejections] == [
        "macro.csv: no such file, but Coffee has the covariate 'vix': add it or drop the covariate"
    ]


def test_covariate_without_a_column_rejects_its_series(folder: Path) -> None:
    wants = SeriesSettings(name="Coffee", covariates=("usd_cop",))
    raw = LandingSource(folder, lambda: TODAY).read([wants, SUGAR])
    assert list(raw.market) == ["Sugar"]
    assert "no column 'usd_cop', which Coffee has as a covariate; columns: vix, usd_brl" in raw.rejections[0].reason


def test_named_regions_need_a_weather_file(folder: Path) -> None:
    (folder / "weather.csv").unlink()
    named, all_regions = SeriesSettings(name="Coffee", regions=("Brazil",)), SeriesSettings(name="Sugar")
    raw = LandingSource(folder, lambda: TODAY).read([named, all_regions])
    assert list(raw.market) == ["Sugar"]
    assert [str(r) for r in raw.rejections] == [
        "weather.csv: no such file, but Coffee has regions Brazil: add it or set regions to []"
    ]


def test_weather_covariate_needs_regions(folder: Path) -> None:
    none = SeriesSettings(name="Coffee", covariates=("temp_max_c",), regions=())
    some = SeriesSettings(name="Sugar", covariates=("temp_max_c",))
    raw = LandingSource(folder, lambda: TODAY).read([none, some])
    assert list(raw.market) == ["Sugar"]
    assert "Coffee has the covariate 'temp_max_c' but regions is empty" in raw.rejections[0].reason


def test_a_row_dated_today_is_accepted(read: Write) -> None:
    raw = read("market/coffee.csv", f"date,close\n2020-01-02,100\n{TODAY},101\n")
    assert raw.rejections == []


def test_macro_columns_are_known_where_any_configured_series_names_them(folder: Path) -> None:
    (folder / "macro.csv").write_text("date,vix,oil\n2020-01-02,15,60\n")
    assert "unknown column 'oil'" in LandingSource(folder, lambda: TODAY).read([COFFEE]).rejections[0].reason
    assert LandingSource(folder, lambda: TODAY, {"oil"}).read([COFFEE]).rejections == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("date,region,temp_max_c\n2020-01-02,,1\n", "the region is blank"),
        ("date,temp_max_c\n2020-01-02,1\n", "the column 'region' is missing"),
        ("date,region,snow\n2020-01-02,Brazil,1\n", "unknown column 'snow'"),
        (
            "date,region,temp_max_c\n2020-01-03,Brazil,1\n2020-01-02,Brazil,1\n",
            "dates are not sorted: 2020-01-02 comes after 2020-01-03",
        ),
    ],
)
def test_bad_weather_is_rejected(text: str, reason: str, read: Write) -> None:
    assert any(reason in r.reason for r in read("weather.csv", text).rejections)


def test_weather_may_be_sorted_by_region_or_by_date(read: Write) -> None:
    rows = ["2020-01-02,Brazil,1", "2020-01-03,Brazil,1", "2020-01-02,Vietnam,1", "2020-01-03,Vietnam,1"]
    for order in (rows, sorted(rows)):
        assert read("weather.csv", "\n".join(["date,region,temp_max_c", *order]) + "\n").rejections == []


def test_unreadable_file_is_a_rejection(folder: Path, read: Write) -> None:
    (folder / "market/coffee.csv").unlink()
    (folder / "market/coffee.csv").mkdir()
    raw = read()
    assert list(raw.market) == ["Sugar"]
    assert "cannot be read" in raw.rejections[0].reason


def test_glitch_is_warned_of_and_kept(read: Write) -> None:
    raw = read("macro.csv", "date,vix,usd_brl\n2020-01-02,15,4.1\n2020-01-03,30,0.41\n2020-01-06,15,4.12\n")
    assert raw.rejections == []
    assert raw.remarks == [
        "macro.csv, row 3: usd_brl 0.41 on 2020-01-03 looks like a vendor glitch: 4.1, then 0.41, then 4.12; kept as "
        "it is"
    ]
    assert raw.macro is not None
    assert raw.macro["usd_brl"].tolist() == [4.1, 0.41, 4.12]


@pytest.mark.parametrize(
    ("closes", "warned"),
    [
        ((100, 125, 101), True),
        ((100, 0, 100), True),
        ((100, 119, 100), False),
        ((100, 125, 110), False),
        ((100, 125, 130), False),
        ((50, 50, 50, 0.01, 0.05, 0.01, 50, 50, 50), False),
        ((18.31, -36.98, 8.91), False),
        ((-1, -5, -1), False),
    ],
)
def test_glitch_is_a_move_of_a_fifth_that_reverts(closes: tuple[float, ...], warned: bool, read: Write) -> None:
    days = pd.date_range("2020-01-02", periods=len(closes)).strftime("%Y-%m-%d")
    text = "date,close\n" + "".join(f"{day},{close}\n" for day, close in zip(days, closes, strict=True))
    raw = read("market/coffee.csv", text)
    assert raw.rejections == []
    assert bool(raw.suspects) is warned


def test_fingerprint_changes_exactly_with_the_bytes_of_its_file(folder: Path) -> None:
    source = LandingSource(folder, lambda: TODAY)
    before = source.fingerprint([COFFEE, SUGAR])
    assert set(before) == {"market/coffee.csv", "market/sugar.csv", "macro.csv", "weather.csv"}
    with (folder / "market/coffee.csv").open("a") as file:
        file.write("2020-01-07,1,2,1,103,5\n")
    after = source.fingerprint([COFFEE, SUGAR])
    assert {name for name in before if before[name] != after[name]} == {"market/coffee.csv"}


def test_coffee_days_without_high_and_low_are_accepted(landing: Path) -> None:
    series = [SeriesSettings(name="Coffee"), SeriesSettings(name="Sugar", regions=("Brazil",))]
    raw = LandingSource(landing, lambda: dt.date(2023, 1, 3)).read(series)
    assert raw.rejections == []
    coffee = raw.market["Coffee"]
    assert (coffee["high"].isna() & coffee["low"].isna()).sum() == 260
    assert len(coffee) == 5770
    assert [(one.column, one.date) for one in raw.suspects if "looks like" in one.reason] == [
        ("usd_idr", "2010-11-01"),
        ("usd_idr", "2012-02-07"),
    ]


def test_negative_oil_price_is_accepted(eia: Path) -> None:
    frame, rejections = check_market(
        table_of(content_of(eia / "wti_spot_daily.csv"), ".csv", "wti"), dt.date(2026, 9, 1)
    )
    assert rejections == []
    assert frame is not None
    assert frame.set_index("date").loc["2020-04-20", "close"] == -36.98


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_prices_are_read_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, prices: list[float]) -> None:
    path = tmp_path_factory.mktemp("bits") / "x.csv"
    days = pd.date_range("2000-01-03", periods=len(prices)).strftime("%Y-%m-%d")
    path.write_text("date,close\n" + "".join(f"{d},{p!r}\n" for d, p in zip(days, prices, strict=True)))
    frame, rejections = check_market(table_of(content_of(path), path.suffix, "x.csv"), TODAY)
    assert rejections == []
    assert frame is not None
    assert frame["close"].tolist() == prices


def test_a_file_is_parsed_again_only_where_it_or_what_it_is_checked_against_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def counted(content: bytes, suffix: str, file: str, *how: Any) -> RawTable:
        parsed.append(file)
        return table_of(content, suffix, file, *how)

    def closes(today: dt.date = TODAY) -> list[float] | None:
        frame = LandingSource(folder, lambda: today).read([COFFEE]).market.get("Coffee")
        if frame is None:
            return None
        found = frame["close"].tolist()
        frame["close"] = -1.0  # the caller's own copy
        return found

    monkeypatch.setattr(parts, "table_of", counted)
    file = folder / "market" / "coffee.csv"
    file.write_text(HEAD + GOOD)
    assert closes() == closes() == [100.0]
    assert parsed.count("market/coffee.csv") == 1
    assert closes(dt.date(2019, 1, 1)) is None, "a date in the future"
    file.write_text(HEAD + GOOD.replace("100", "101"))
    assert closes() == [101.0]
    assert parsed.count("market/coffee.csv") == 3
