"""`forecast-platform source check`: what would be read of a file, and the exit code."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.cli.main import main
from forecast_platform.settings import load
from forecast_platform.sources.calendars import sessions
from forecast_platform.sources.inspection import picture
from forecast_platform_tests.sources.landings import PLAIN, closes, walk


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    load.cache_clear()
    yield
    load.cache_clear()


def test_a_file_anywhere_is_shown_as_it_would_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = sessions("XNYS", dt.date(2018, 1, 2), dt.date(2018, 6, 1))
    newest_first = [
        f'"{day.item():%m/%d/%Y}","{value:,.2f}","{value:,.2f}","{value:,.2f}","{value:,.2f}","1.5K","0%"\n'
        for day, value in zip(days[::-1], walk(len(days), 1200.0)[::-1], strict=True)
    ]
    path = tmp_path / "US Cocoa Futures Historical Data (3).csv"
    path.write_text('"Date","Price","Open","High","Low","Vol.","Change %"\n' + "".join(newest_first))
    assert main(["source", "check", str(path)]) == 0
    said = capsys.readouterr().out
    for name, value in {
        "kind": "market",
        "format": "investing.com",
        "rows": f"{len(days)}, {len(days)} with close",
        "span": "2018-01-02 to 2018-06-01",
        "step": "daily",
        "calendar": "XNYS: a close on 100 % of its sessions, 0 on shut days",
        "unit": "not said: set `unit` of the series",
    }.items():
        assert f"{name:<10} {value}" in said
    assert f"{len(days) + 1}  2018-01-02" in said
    assert "it would be read" in said
    assert not (tmp_path / "warehouse").exists()


def test_parquet_of_yfinance_is_shown_with_its_ticker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = pd.DatetimeIndex(sessions("XNYS", dt.date(2018, 1, 2), dt.date(2018, 3, 1)), name="Date")
    columns = pd.MultiIndex.from_product([["Close", "Volume"], ["KC=F"]], names=["Price", "Ticker"])
    values = np.column_stack([walk(len(days)), np.ones(len(days))])
    path = tmp_path / "coffee.parquet"
    pd.DataFrame(values, days, columns).to_parquet(path)
    assert main(["source", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "format     Yahoo (yfinance)" in said
    assert "ticker KC=F" in said
    assert "2018-01-02 to 2018-03-01" in said


def test_a_refused_file_says_why_and_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = np.datetime64("2018-01-05") + 7 * np.arange(30)
    path = tmp_path / "weekly.csv"
    path.write_text(closes(list(days), list(walk(30))))
    assert main(["source", "check", str(path)]) == 1
    said = capsys.readouterr().out
    assert "step       weekly" in said
    found = re.search(r"refused    weekly\.csv: (.*)", said)
    assert found is not None, said
    assert re.match(r"closes on 2\d % of XNYS sessions.*: these are weekly data; daily closes are needed", found[1])
    assert "it would be refused" in said
    assert main(["source", "check", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: no such file" in capsys.readouterr().err


def test_weather_and_macro_files_are_known_by_their_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "farm.csv").write_text("date,region,temp_max_c\n2018-01-02,Brazil,30\n2018-01-03,Brazil,-999\n")
    assert main(["source", "check", str(tmp_path / "farm.csv")]) == 0
    said = capsys.readouterr().out
    assert "kind       weather" in said
    assert "row 3: temp_max_c -999 on 2018-01-03 stands for missing in NASA POWER" in said
    assert "in a landing folder it is read by the name weather.csv or weather_<name>.csv" in said
    station = '"STATION","DATE","TMAX","TMIN"\n' + "".join(
        f'"BR00E3","2018-01-{n:02d}","29{n % 10}","180"\n' for n in range(1, 29)
    )
    (tmp_path / "GHCND_BR.csv").write_text(station)
    assert main(["source", "check", str(tmp_path / "GHCND_BR.csv")]) == 0
    assert "regions    BR00E3\n" in capsys.readouterr().out, "not the rest of the file's name"
    (tmp_path / "fx.csv").write_text("date,usd_brl\n2018-01-02,3.2\n2018-01-03,3.3\n")
    assert main(["source", "check", str(tmp_path / "fx.csv")]) == 0
    assert "kind       macro" in capsys.readouterr().out
    (tmp_path / "coffee.csv").write_text(PLAIN)
    assert main(["source", "check", str(tmp_path / "coffee.csv"), "--kind", "macro"]) == 1
    assert "unknown column 'close'" in capsys.readouterr().out


def test_the_picture_rises_with_the_values() -> None:
    lines = picture(np.arange(200.0), height=4, width=40)
    assert [len(line) for line in lines] == [51] * 4
    heights = [sum(line[11 + at] != " " for line in lines) for at in range(40)]
    assert heights == sorted(heights)
    assert heights[0] == 1
    assert heights[-1] == 4
    assert lines[0].split()[0] == "199"
    assert lines[-1].split()[0] == "0"
    assert len(picture([1.0, 1.0])) == 6
