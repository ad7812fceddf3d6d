"""Files as vendors export them: invented numbers in the shapes of real exports, read without renaming anything."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.settings import SeriesSettings
from forecast_platform.settings.landing import FileSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.files import read_table
from forecast_platform.sources.formats import READERS, recognise
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet
from forecast_platform.sources.landing import LandingSource

TODAY = dt.date(2026, 6, 1)


@dataclass(frozen=True)
class Export:
    """A vendor's file of prices, and what it says: dates and closes ascending, and some volumes."""

    text: str
    format: str
    days: tuple[str, ...]
    closes: tuple[float, ...]
    volumes: tuple[float, ...] = ()


_NAN = float("nan")
MARKET = {
    "investing.com": Export(
        '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"\n'
        '"01/31/2018","121.90","123.40","124.10","121.05","-","-1.21%"\n'
        '"01/30/2018","1,123.40","124.70","125.00","122.80","18.20K","-1.04%"\n'
        '"01/29/2018","124.70","125.30","126.05","124.10","1.05M","-0.24%"\n',
        "investing.com",
        ("2018-01-29", "2018-01-30", "2018-01-31"),
        (124.7, 1123.4, 121.9),
        (1_050_000, 18_200, _NAN),
    ),
    "investing.com, old": Export(
        '"Date","Price","Open","High","Low","Vol.","Change %"\n"Aug 02, 2000","85.50","85","86","84","0.00K","1.0%"\n'
        '"Aug 01, 2000","84.10","85","86","84","2.31K","-1.0%"\n',
        "investing.com",
        ("2000-08-01", "2000-08-02"),
        (84.1, 85.5),
        (2310, 0),
    ),
    "investing.com, FX of another locale": Export(
        '"Date","Price","Open","High","Low","Change %"\n"31/01/2018","3.18","3.17","3.19","3.16","0.1%"\n'
        '"02/01/2018","3.26","3.31","3.31","3.25","-1.6%"\n',
        "investing.com",
        ("2018-01-02", "2018-01-31"),
        (3.26, 3.18),
    ),
    "Yahoo, old": Export(
        "Date,Open,High,Low,Close,Adj Close,Volume\n2018-01-30,124.7,125.0,122.8,123.4,99.9,18200\n"
        "2018-01-31,null,null,null,null,null,null\n",
        "Yahoo",
        ("2018-01-30", "2018-01-31"),
        (123.4, _NAN),
        (18200, _NAN),
    ),
    "yfinance.download": Export(
        "Price,Close,High,Low,Open,Volume\nTicker,KC=F,KC=F,KC=F,KC=F,KC=F\nDate,,,,,\n"
        "2018-01-30,123.4,125.0,122.8,124.7,18200\n2018-01-31,121.9,124.1,121.05,123.4,0\n",
        "Yahoo (yfinance)",
        ("2018-01-30", "2018-01-31"),
        (123.4, 121.9),
        (18200, 0),
    ),
    "Ticker.history, over a change of offset": Export(
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
        "2018-03-09 00:00:00-05:00,123.4,124.1,121.05,121.9,100,0.0,0.0\n"
        "2018-03-12 00:00:00-04:00,121.9,122.4,120.6,121.2,90,0.0,0.0\n",
        "Yahoo",
        ("2018-03-09", "2018-03-12"),
        (121.9, 121.2),
        (100, 90),
    ),
    "Stooq": Export(
        "Date,Open,High,Low,Close,Volume\n2018-01-30,124.7,125,122.8,123.4,18200\n",
        "Stooq",
        ("2018-01-30",),
        (123.4,),
        (18200,),
    ),
    "Stooq, Polish": Export(
        "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n2018-01-30,124.7,125,122.8,123.4,18200\n",
        "Stooq",
        ("2018-01-30",),
        (123.4,),
        (18200,),
    ),
    "Stooq in bulk": Export(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "KC.F,D,20180129,000000,125.3,126.05,124.1,124.7,1050000,0\nKC.F,D,20180130,000000,124.7,125,122.8,123.4,18200,0\n",
        "Stooq (bulk)",
        ("2018-01-29", "2018-01-30"),
        (124.7, 123.4),
        (1_050_000, 18200),
    ),
    "yfinance.download of one level": Export(
        "Date,Close,High,Low,Open,Volume\n2018-01-30,123.4,125.0,122.8,124.7,18200\n",
        "Yahoo",
        ("2018-01-30",),
        (123.4,),
        (18200,),
    ),
    "FRED": Export(
        "observation_date,DCOILWTICO\n2018-01-12,64.2\n2018-01-15,.\n2018-01-16,63.8\n2018-01-17,\n",
        "FRED",
        ("2018-01-12", "2018-01-15", "2018-01-16", "2018-01-17"),
        (64.2, _NAN, 63.8, _NAN),
    ),
    "FRED to 2024": Export("DATE,DCOILWTICO\n2018-01-12,64.2\n", "FRED", ("2018-01-12",), (64.2,)),
    "Barchart": Export(
        "Time,Open,High,Low,Latest,Change,%Change,Volume\n"
        '2026-05-04,290.1,295.2,288.0,294.55,+4.45,+1.53%,"1,195,900"\n2026-05-01,286,291,285,290.1,-0.2,-0.07%,800\n'
        '"Downloaded from Barchart.com as of 05-05-2026 08:09am CDT"\n',
        "Barchart",
        ("2026-05-01", "2026-05-04"),
        (290.1, 294.55),
        (800, 1_195_900),
    ),
    "Barchart, old": Export(
        'Time,Open,High,Low,Last,Change,%Chg,Volume,"Open Int"\n05/04/2020,1,2,1,1.5,0,0%,7,9\n',
        "Barchart",
        ("2020-05-04",),
        (1.5,),
        (7,),
    ),
    "EIA, chart's page": Export(
        '"Cushing, OK WTI Spot Price FOB"\nhttps://www.eia.gov/dnav/pet/hist/LeafHandler.ashx?n=PET&s=RWTC&f=D\n'
        "21:27:53 GMT-0400 (Eastern Daylight Time)\nSource: U.S. Energy Information Administration\n"
        'Day,"Cushing, OK WTI Spot Price FOB Dollars per Barrel"\n10/25/2022,85.3\n10/24/2022,84.6\n',
        "EIA",
        ("2022-10-24", "2022-10-25"),
        (84.6, 85.3),
    ),
    "EIA, API": Export(
        "period,duoarea,product,series,value,units\n2022-10-25,YCUOK,EPCWTI,RWTC,85.3,$/BBL\n"
        "2022-10-24,YCUOK,EPCWTI,RWTC,84.6,$/BBL\n",
        "EIA (API)",
        ("2022-10-24", "2022-10-25"),
        (84.6, 85.3),
    ),
    # Sunday 18:00 and Monday 18:00 in New York: the sessions of Monday and Tuesday.
    "TradingView": Export(
        "time,open,high,low,close,Volume,Volume MA\n1673218800,80,81,79,80.5,10,9\n1673305200,80.5,82,80,81.5,11,9\n",
        "TradingView",
        ("2023-01-09", "2023-01-10"),
        (80.5, 81.5),
        (10, 11),
    ),
    # Coffee opens at 4:15 in New York, on the day itself.
    "TradingView, ISO": Export(
        "time,open,high,low,close\n2023-01-09T09:15:00Z,160,161,157,158.5\n2023-01-10,158,160,155,156\n",
        "TradingView",
        ("2023-01-09", "2023-01-10"),
        (158.5, 156.0),
    ),
    "Nasdaq Data Link": Export(
        "Date,Open,High,Low,Last,Change,Settle,Volume,Previous Day Open Interest\n"
        "2020-01-03,61.2,64.1,61.1,62.9,1.9,63.05,900,400\n2020-01-02,61.6,61.6,60.6,61.2,0.1,61.18,800,390\n",
        "Nasdaq Data Link",
        ("2020-01-02", "2020-01-03"),
        (61.18, 63.05),
        (800, 900),
    ),
    "Nasdaq Data Link, ICE": Export(
        "Date,Open,High,Low,Settle,Change,Wave,Volume,Prev. Day Open Interest,EFP Volume\n"
        "2020-01-02,129,130,126,126.5,,127.9,18000,90000,\n",
        "Nasdaq Data Link",
        ("2020-01-02",),
        (126.5,),
        (18000,),
    ),
}


@pytest.mark.parametrize("vendor", MARKET)
def test_prices_are_read_as_exported(vendor: str, tmp_path: Path) -> None:
    export = MARKET[vendor]
    path = tmp_path / "market/coffee.csv"
    path.parent.mkdir()
    path.write_text(export.text)
    table = read_table(path, "market/coffee.csv")
    assert table.problems == ()
    assert table.format == export.format
    raw = LandingSource(tmp_path, lambda: TODAY).read([SeriesSettings(name="Coffee", regions=())])
    assert raw.rejections == []
    frame = raw.market["Coffee"]
    assert frame["date"].dt.strftime("%Y-%m-%d").tolist() == list(export.days)
    np.testing.assert_array_equal(frame["close"], export.closes)
    if export.volumes:
        np.testing.assert_array_equal(frame["volume"], export.volumes)
    assert set(frame.columns) <= {"date", "open", "high", "low", "close", "volume"}


def test_stooq_s_bulk_file_is_read_under_its_own_ending_and_other_texts_are_not(tmp_path: Path) -> None:
    (tmp_path / "market").mkdir()
    (tmp_path / "market/kc.f.txt").write_text(MARKET["Stooq in bulk"].text)
    (tmp_path / "market/notes.txt").write_text("<TICKET>, call the broker")
    source = LandingSource(tmp_path, lambda: TODAY)
    raw = source.read([SeriesSettings(name="Coffee", source="kc.f", regions=())])
    assert raw.rejections == []
    assert raw.market["Coffee"]["close"].tolist() == [124.7, 123.4]
    assert [text.split(" ")[0] for text in raw.unread] == ["market/notes.txt"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("SB.F,D,20180130,000000,1,1,1,1,1,0", "prices of several tickers (KC.F, SB.F): write one file a series"),
        ("KC.F,5,20180130,100000,1,1,1,1,1,0", "bars of the period 5, D: take Stooq's daily bars, whose <PER> is D"),
    ],
)
def test_stooq_s_bulk_file_of_more_than_one_series_is_refused(row: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "coffee.txt").write_text(f"{MARKET['Stooq in bulk'].text}{row}\n")
    assert read_table(tmp_path / "coffee.txt", "coffee.txt").problems == ((1, reason),)


def _parquet(folder: Path, frame: pd.DataFrame) -> RawTable:
    frame.to_parquet(folder / "coffee.parquet")
    return read_table(folder / "coffee.parquet", "market/coffee.parquet")


def _downloaded(fields: list[str], tickers: list[str]) -> pd.DataFrame:
    columns = pd.MultiIndex.from_product([fields, tickers], names=["Price", "Ticker"])
    days = pd.DatetimeIndex(["2018-01-30", "2018-01-31"], name="Date")
    return pd.DataFrame([[123.4 + at for at in range(len(columns))]] * 2, index=days, columns=columns)


def test_parquet_of_yfinance_is_recognised_by_its_two_levels(tmp_path: Path) -> None:
    fields = ["Close", "High", "Low", "Open", "Volume"]
    table = _parquet(tmp_path, _downloaded(fields, ["KC=F"]))
    assert (table.problems, table.format, table.notes) == ((), "Yahoo (yfinance)", ("ticker KC=F",))
    assert table.columns["date"].astype(str).tolist() == ["2018-01-30", "2018-01-31"]
    assert table.columns["close"].tolist() == [123.4, 123.4]
    assert table.rows.tolist() == [2, 3]
    [(_, reason)] = _parquet(tmp_path, _downloaded(fields, ["KC=F", "SB=F"])).problems
    assert reason == "prices of several tickers (KC=F, SB=F): write one file a series"


def test_parquet_of_a_ticker_s_history_has_the_dates_of_its_exchange(tmp_path: Path) -> None:
    days = pd.DatetimeIndex(["2018-03-09", "2018-03-12"], name="Date").tz_localize("America/New_York")
    frame = pd.DataFrame({"Open": 123.4, "High": 124.1, "Low": 121.0, "Close": [121.9, np.nan]}, index=days)
    frame = frame.assign(Volume=[100, 90], Dividends=0.0, **{"Stock Splits": 0.0})
    table = _parquet(tmp_path, frame)
    assert (table.problems, table.format) == ((), "Yahoo")
    assert table.columns["date"].astype(str).tolist() == ["2018-03-09", "2018-03-12"]
    np.testing.assert_array_equal(table.columns["close"], [121.9, np.nan])
    assert set(table.columns) == {"date", "open", "high", "low", "close", "volume"}


@pytest.mark.parametrize("name", ["DATE", None])
def test_parquet_of_other_vendors_is_read_as_their_csv(name: str | None, tmp_path: Path) -> None:
    days = pd.DatetimeIndex(["2018-01-12", "2018-01-15"], name=name)
    if name:
        table = _parquet(tmp_path, pd.DataFrame({"DCOILWTICO": [64.2, np.nan]}, index=days))
        assert table.format == "FRED"
        np.testing.assert_array_equal(table.columns["close"], [64.2, np.nan])
    else:
        # A frame whose index has no name: pandas calls the column __index_level_0__.
        table = _parquet(
            tmp_path, pd.DataFrame({"Open": 1.0, "High": 1.0, "Low": 1.0, "Close": [1.5, 2.5]}, index=days)
        )
        assert (table.format, table.columns["close"].tolist()) == ("Stooq", [1.5, 2.5])
    bars = pd.DataFrame({"time": [1516579200, 1516665600], "open": 1.0, "high": 1.0, "low": 1.0, "close": [1.5, 2.5]})
    table = _parquet(tmp_path, bars)
    assert (table.problems, table.format) == ((), "TradingView")
    assert table.columns["date"].astype(str).tolist() == ["2018-01-22", "2018-01-23"]


def test_parquet_of_our_own_layout_keeps_its_types(tmp_path: Path) -> None:
    table = _parquet(tmp_path, pd.DataFrame({"date": pd.to_datetime(["2018-01-12"]), "close": [64.2]}))
    assert (table.format, table.columns["date"].dtype, table.columns["close"].dtype) == ("landing", "<M8[D]", float)


def test_no_header_is_known_to_two_readers_and_our_own_to_none() -> None:
    for export in MARKET.values():
        records = [
            (n, [c.strip('" \ufeff') for c in line.split(",")]) for n, line in enumerate(export.text.splitlines(), 1)
        ]
        assert sum(reader.header(Sheet("f", records)) is not None for reader in READERS) <= 1
    for names in ("date,close", "date,open,high,low,close,volume", "date,vix,usd_brl", "date,region,temp_max_c"):
        assert recognise(Sheet("f", [(1, names.split(","))])) is None


def test_the_day_that_is_running_and_the_footer_are_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "coffee.csv"
    path.write_text(MARKET["investing.com"].text)
    table = read_table(path, "coffee.csv", meaning=Meaning(today=dt.date(2018, 1, 31)))
    assert table.columns["close"].tolist() == [124.7, 1123.4]
    assert table.left_out == ((2, "today's bar, still running: it has no volume yet"),)
    path.write_text(MARKET["Barchart"].text)
    [(row, reason)] = read_table(path, "coffee.csv").left_out
    assert (row, reason[:35]) == (4, "no day, but a footer: 'Downloaded f")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            '"Date","Price","Open","High","Low","Change %"\n"03/04/2018","1","1","1","1","0%"\n',
            "no day above 12 proves",
        ),
        (
            '"Date","Price","Open","High","Low","Change %"\n"13/04/2018","1","1","1","1","0%"\n'
            '"04/14/2018","1","1","1","1","0%"\n',
            "dates are of two orders: '04/14/2018' here, '13/04/2018' in row 2",
        ),
        ("Date,Open,High,Low,Close,Adj Close,Volume\n2018-01-30,1,1,1,abc,1,1\n", "close is not a number: 'abc'"),
        ("Price,Close,Close\nTicker,KC=F,SB=F\nDate,,\n2018-01-30,123.4,14.1\n", "several tickers (KC=F, SB=F)"),
        ("observation_date,VIXCLS,DEXBZUS\n2018-01-12,1,2\n", "which column is the close?"),
        ("-BEGIN HEADER-\n-END HEADER-\nYEAR,DOY,T2M\n2018,1,20\n", "which is no market data: put it into weather_"),
    ],
)
def test_what_cannot_be_read_in_one_way_only_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "coffee.csv"
    path.write_text(text)
    assert any(reason in problem for _, problem in read_table(path, "coffee.csv").problems)


# -- Macro ----------------------------------------------------------------------------------------------------------


def _macro(folder: Path, mapping: dict[str, str], **files: str) -> RawData:
    (folder / "market").mkdir(exist_ok=True)
    (folder / "market/coffee.csv").write_text("date,close\n2026-05-01,1\n2026-05-04,2\n")
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    source = LandingSource(folder, lambda: TODAY, files=FileSettings(macro=mapping))
    return source.read([SeriesSettings(name="Coffee", regions=(), covariates=tuple(mapping.values()))])


def test_fred_s_columns_come_by_the_mapping(tmp_path: Path) -> None:
    text = "observation_date,VIXCLS,DEXBZUS,DGS10\n2026-05-01,17.5,5.1,4\n2026-05-04,.,5.2,4\n"
    raw = _macro(tmp_path, {"VIXCLS": "vix", "DEXBZUS": "usd_brl"}, macro_rates=text)
    assert raw.rejections == []
    assert raw.macro is not None
    assert list(raw.macro.columns) == ["date", "vix", "usd_brl"]
    assert raw.macro["usd_brl"].tolist() == [5.1, 5.2]
    raw = _macro(tmp_path, {}, macro_rates=text)
    assert "none of its columns is mapped to a macro column: map VIXCLS, DEXBZUS, DGS10" in str(raw.rejections[0])


def test_prices_of_another_vendor_are_a_macro_column_named_as_the_file(tmp_path: Path) -> None:
    raw = _macro(tmp_path, {}, macro_usd_brl=MARKET["investing.com, FX of another locale"].text)
    assert raw.macro is not None
    assert raw.macro["usd_brl"].tolist() == [3.26, 3.18]


CFTC = (
    '"Market_and_Exchange_Names","As_of_Date_In_Form_YYMMDD","Report_Date_as_YYYY-MM-DD","CFTC_Contract_Market_Code",'
    '"Open_Interest_All","M_Money_Positions_Long_All","M_Money_Positions_Short_All"\n'
    '"COFFEE C - ICE FUTURES U.S.",260505,2026-05-05,083731,"200000",40000,15000\n'
    '"CORN, ALL - CHICAGO BOARD OF TRADE",260505,2026-05-05,002602,1500000,300000,200000\n'
    '"COFFEE C - ICE FUTURES U.S.",260428,2026-04-28,083731,190000,38000,16500\n'
)


def test_cftc_s_positions_are_net_by_contract_and_dated_tuesday(tmp_path: Path) -> None:
    raw = _macro(tmp_path, {"083731_managed_money_net": "cot_net", "083731_open_interest": "cot_oi"}, macro_cot=CFTC)
    assert raw.rejections == []
    assert raw.macro is not None
    assert raw.macro["date"].dt.strftime("%a %Y-%m-%d").tolist() == ["Tue 2026-04-28", "Tue 2026-05-05"]
    assert raw.macro["cot_net"].tolist() == [21500.0, 25000.0]
    assert raw.macro["cot_oi"].tolist() == [190000.0, 200000.0]
    # As it is downloaded: under its own ending.
    (tmp_path / "macro_cot.csv").rename(tmp_path / "macro_cot.txt")
    text = _macro(tmp_path, {"083731_managed_money_net": "cot_net", "083731_open_interest": "cot_oi"})
    assert text.macro is not None
    assert text.macro.equals(raw.macro)
    (tmp_path / "macro_cot.txt").unlink()
    raw = _macro(tmp_path, {"VIXCLS": "vix"}, macro_cot=CFTC)
    assert "none of its contracts is mapped" in str(raw.rejections[0])
    assert "083731 COFFEE C" in str(raw.rejections[0])
