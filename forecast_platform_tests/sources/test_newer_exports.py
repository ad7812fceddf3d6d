"""Exports of today's tools: forecasts beside measurements, and the ways in which yfinance's frames are saved."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.sources.files import read_table
from forecast_platform_tests.sources.landings import PLAIN, one, read, write

PLACE = (
    "latitude,longitude,elevation,utc_offset_seconds,timezone,timezone_abbreviation\n"
    "-21.5,-45.4,950.0,-10800,America/Sao_Paulo,-03\n\n"
)


@pytest.mark.parametrize("hourly", [False, True])
def test_the_days_that_open_meteo_forecasts_are_left_out_and_said(tmp_path: Path, hourly: bool) -> None:
    days = [dt.date(2020, 5, 30) + dt.timedelta(days=n) for n in range(9)]
    if hourly:
        rows = "".join(f"{day}T{hour:02d}:00,2{hour % 10}.5\n" for day in days for hour in range(24))
        text = f"{PLACE}time,temperature_2m (°C)\n{rows}"
    else:
        text = f"{PLACE}time,temperature_2m_max (°C)\n" + "".join(f"{day},26.5\n" for day in days)
    raw = read(write(tmp_path, market__coffee_csv=PLAIN, weather_Sul_csv=text), one(regions=("Sul",)))
    assert raw.rejections == []
    assert raw.weather is not None
    assert [str(day)[:10] for day in raw.weather["date"]] == ["2020-05-30", "2020-05-31"]
    [said] = [line for line in raw.warnings if "left out" in line]
    assert said.startswith("weather_Sul.csv: left out: 7 rows, the first is row ")
    assert said.endswith(": of today or later: forecast by the service, not measured")


SAVED = {
    "grouped by ticker": "Ticker,KC=F,KC=F,KC=F\nPrice,Open,High,Close\nDate,,,\n",
    "index reset": "Date,Close,High,Low,Open,Volume\n,KC=F,KC=F,KC=F,KC=F,KC=F\n",
    "index reset, not adjusted": "Date,Adj Close,Close,High\n,KC=F,KC=F,KC=F\n",
}


@pytest.mark.parametrize("way", SAVED)
def test_yfinance_s_frame_is_read_however_it_was_saved(way: str, tmp_path: Path) -> None:
    header = SAVED[way]
    names = next(line.split(",") for line in header.splitlines() if "Close" in line)
    row = [{"Close": "123.4", "Adj Close": "99.9", "Volume": "18200"}.get(name, "125.5") for name in names[1:]]
    path = tmp_path / "coffee.csv"
    path.write_text(header + f"2018-01-30,{','.join(row)}\n2018-01-31,{','.join(row)}\n")
    table = read_table(path, "coffee.csv")
    assert (table.format, table.problems, table.notes) == ("Yahoo (yfinance)", (), ("ticker KC=F",))
    assert table.columns["close"].tolist() == [123.4, 123.4]
    path.write_text(path.read_text().replace("KC=F", "SB=F", 1))
    assert "prices of several tickers (KC=F, SB=F): write one file a series" in str(read_table(path, "c.csv").problems)
