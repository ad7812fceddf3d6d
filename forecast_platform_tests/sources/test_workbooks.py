"""Workbooks as ICE and EIA publish them, written here by xlwt and read by the extra `excel`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.sources.files import FileProblem, read_table


class Serial(float):
    """Days since 1899-12-30, shown as a date."""


def _xls(path: Path, rows: list[list[object]], sheet: str = "COFFEE") -> Path:
    xlwt = pytest.importorskip("xlwt")
    pytest.importorskip("python_calamine", reason="the extra `excel` is not installed")
    book = xlwt.Workbook()
    page = book.add_sheet(sheet)
    day = xlwt.easyxf(num_format_str="MM/DD/YYYY")
    for at, row in enumerate(rows):
        for column, value in enumerate(row):
            page.write(
                at,
                column,
                float(value) if isinstance(value, Serial) else value,
                day if isinstance(value, dt.date | Serial) else xlwt.Style.default_style,
            )
    book.save(str(path))
    return path


def _ice_row(day: object, near: float, second: float, volume: object) -> list[object]:
    one = [201903, near + 1, near - 1, near, 900, volume]
    return [day, "", 1000, volume, "", "", *one, 201905, second + 1, second - 1, second, 700, volume]


def test_ice_s_history_is_read_from_its_workbook(tmp_path: Path) -> None:
    fields = ["CONTRACT (YYYY/MM)", "HIGH", "LOW", "CLOSE", "OPEN INTEREST", "VOLUME"]
    rows: list[list[object]] = [
        ["COFFEE 'C' CONTRACT\nPRICE QUOTATION: CENTS PER POUND\nTRADING UNIT: 37,500 lbs."],
        [],
        ["", "", "TOTALS", "", "", "", "NEARBY", *[""] * 5, "2ND-CONTRACT"],
        [],
        ["DATE", "", "OPEN INTEREST", "VOLUME", "", "", *fields, *fields],
        _ice_row(dt.date(2018, 12, 31), 101.85, 104.9, 5000),
        _ice_row(dt.date(2019, 1, 1), 101.85, 104.9, 0),
        _ice_row("01/02/2019", 101.5, 104.6, "          12,438"),
        _ice_row("01/03/2019", 101.5, 104.7, 0),
    ]
    table = read_table(_xls(tmp_path / "coffee.xls", rows), "market/coffee.xls")
    assert table.problems == ()
    assert (table.format, table.unit) == ("ICE historical statistics", "Cents per pound")
    assert table.columns["date"].astype(str).tolist() == ["2018-12-31", "2019-01-02", "2019-01-03"]
    assert table.columns["close"].tolist() == [101.85, 101.5, 101.5]
    assert table.columns["volume"].tolist() == [5000, 12438, 0]
    assert table.columns["contract"].tolist() == [201903] * 3
    assert table.columns["close_2"].tolist() == [104.9, 104.6, 104.7]
    assert table.left_out == ((7, "repeats the close before with volume 0: a holiday's row"),)


def test_eia_s_workbook_and_our_own_layout_in_one(tmp_path: Path) -> None:
    title = "Cushing, OK WTI Spot Price FOB (Dollars per Barrel)"
    rows: list[list[object]] = [
        ["Back to Contents", f"Data 1: {title}"],
        ["Sourcekey", "RWTC"],
        ["Date", title],
        [dt.date(1986, 1, 2), 25.56],
        [dt.date(1986, 1, 3), 26.0],
        # As a formula that sums hours leaves it; Excel shows 1986-01-06.
        [Serial((dt.date(1986, 1, 6) - dt.date(1899, 12, 30)).days - 4e-7), 26.5],
    ]
    table = read_table(_xls(tmp_path / "wti.xls", rows, "Data 1"), "market/wti.xls")
    assert (table.format, table.unit) == ("EIA", "Dollars per Barrel")
    assert table.columns["close"].tolist() == [25.56, 26.0, 26.5]
    assert table.columns["date"].astype(str).tolist() == ["1986-01-02", "1986-01-03", "1986-01-06"]
    assert table.rows.tolist() == [4, 5, 6]
    own = read_table(_xls(tmp_path / "own.xls", [["date", "close"], ["2018-01-02", 1.5]]), "market/own.xls")
    assert own.columns["close"].tolist() == ["1.5"]
    (tmp_path / "cut.xls").write_bytes((tmp_path / "wti.xls").read_bytes()[:700])
    with pytest.raises(FileProblem, match="truncated or not an Excel workbook"):
        read_table(tmp_path / "cut.xls", "market/cut.xls")
