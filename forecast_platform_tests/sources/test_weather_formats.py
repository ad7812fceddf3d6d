"""Weather as its services export it: units, missing values, days and hours, and what a place is called."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.settings import SeriesSettings
from forecast_platform.settings.landing import FileSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.files import read_table
from forecast_platform.sources.formats.sheet import Meaning
from forecast_platform.sources.landing import LandingSource


def read(folder: Path, name: str, text: str | bytes, regions: dict[str, str] | None = None) -> RawData:
    (folder / "market").mkdir(exist_ok=True)
    (folder / "market/coffee.csv").write_text("date,close\n2018-01-02,1\n2018-01-03,2\n")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    source = LandingSource(folder, lambda: dt.date(2026, 6, 1), files=FileSettings(regions=regions or {}))
    return source.read([SeriesSettings(name="Coffee")])


def table(raw: RawData) -> list[tuple[object, ...]]:
    assert raw.rejections == []
    assert raw.weather is not None
    frame = raw.weather.assign(date=raw.weather["date"].dt.strftime("%Y-%m-%d"))
    return [tuple(None if value != value else value for value in row) for row in frame.itertuples(index=False)]


OPEN_METEO = (
    "latitude,longitude,elevation,utc_offset_seconds,timezone,timezone_abbreviation\n"
    "-21.2,-45.4,850.0,-10800,America/Sao_Paulo,GMT-3\n\n"
    "time,temperature_2m_max (°C),temperature_2m_min (°C),precipitation_sum (mm),snowfall_sum (cm),"
    "wind_speed_10m_max (m/s)\n"
    "2018-01-02,27.1,17.2,3.1,0,5\n2018-01-03,NaN,16.9,0.0,0,2.5\n"
)


def test_open_meteo_s_days(tmp_path: Path) -> None:
    raw = read(tmp_path, "weather_Brazil.csv", OPEN_METEO)
    assert table(raw) == [
        ("2018-01-02", "Brazil", 27.1, 17.2, 3.1, 18.0),
        ("2018-01-03", "Brazil", None, 16.9, 0.0, 9.0),
    ]
    raw = read(tmp_path, "weather_Brazil.csv", OPEN_METEO.replace("(°C)", "(°F)").replace("27.1,17.2", "80.6,62.6"))
    assert table(raw)[0][2:4] == (27.0, 17.0)
    (tmp_path / "weather_Brazil.csv").unlink()
    raw = read(tmp_path, "weather.csv", OPEN_METEO)
    assert "the file names no region: call it weather_<region>.csv" in str(raw.rejections[0])


def test_open_meteo_s_places_are_mapped_by_their_number(tmp_path: Path) -> None:
    text = (
        "location_id,latitude,longitude,elevation,utc_offset_seconds,timezone,timezone_abbreviation\n"
        "0,-21.2,-45.4,850.0,0,GMT,GMT\n1,14.1,108.3,600.0,0,GMT,GMT\n\n"
        "location_id,time,temperature_2m_mean (°C)\n"
        "0,2018-01-02,22\n0,2018-01-03,23\n1,2018-01-02,25\n1,2018-01-03,26\n"
    )
    raw = read(tmp_path, "weather.csv", text, {"0": "Brazil", "1": "Vietnam"})
    assert table(raw) == [
        ("2018-01-02", "Brazil", 22.0),
        ("2018-01-03", "Brazil", 23.0),
        ("2018-01-02", "Vietnam", 25.0),
        ("2018-01-03", "Vietnam", 26.0),
    ]


def test_hours_become_days_and_a_partial_day_is_left_out_and_said(tmp_path: Path) -> None:
    hours = np.arange("2018-01-02T00", "2018-01-04T01", dtype="datetime64[h]")
    rows = "".join(f"{str(hour)[:13]}:00,{10 + n % 24},0.5\n" for n, hour in enumerate(hours))
    head = OPEN_METEO.split("time,")[0]
    raw = read(tmp_path, "weather_Brazil.csv", f"{head}time,temperature_2m (°C),precipitation (mm)\n{rows}")
    assert table(raw) == [
        ("2018-01-02", "Brazil", 33.0, 10.0, 21.5, 12.0),
        ("2018-01-03", "Brazil", 33.0, 10.0, 21.5, 12.0),
    ]
    assert raw.warnings == ["weather_Brazil.csv: left out: row 53: 2018-01-04 has 1 of 24 hours: a partial day"]


@pytest.mark.parametrize("dated", ["YEAR,DOY", "YEAR,MO,DY"])
def test_nasa_power_s_block_is_as_long_as_it_is(dated: str, tmp_path: Path) -> None:
    block = (
        "-BEGIN HEADER-\nNASA/POWER Daily Data\nDates: 01/01/2018 through 01/03/2018\n"
        "Location: latitude  -21.55   longitude -45.43\n"
        "value for missing source data that cannot be computed or is outside of the availability range: -999\n"
        "Parameter(s):\nT2M_MAX  MERRA-2 Temperature at 2 Meters Maximum (C)\n"
        "PRECTOTCORR  MERRA-2 Precipitation Corrected (mm/day)\nWS10M_MAX MERRA-2 Wind (m/s)\n-END HEADER-\n"
    )
    days = {"YEAR,DOY": ("2018,2", "2018,3"), "YEAR,MO,DY": ("2018,1,2", "2018,1,3")}[dated]
    text = f"{block}{dated},T2M_MAX,PRECTOTCORR,WS10M_MAX\n{days[0]},27.1,3.1,5\n{days[1]},-999,-999,-999\n"
    raw = read(tmp_path, "weather_Varginha.csv", text)
    assert table(raw) == [
        ("2018-01-02", "Varginha", 27.1, 3.1, 18.0),
        ("2018-01-03", "Varginha", None, None, None),
    ]
    (tmp_path / "weather_Varginha.csv").unlink()
    raw = read(tmp_path, "weather.csv", text)
    assert "map '-21.55 -45.43' in `files.regions`" in str(raw.rejections[0])
    assert table(read(tmp_path, "weather.csv", text, {"-21.55 -45.43": "Brazil"}))[0][1] == "Brazil"


def test_ghcn_daily_counts_in_tenths_and_flags_what_failed(tmp_path: Path) -> None:
    head = (
        '"STATION","DATE","LATITUDE","LONGITUDE","ELEVATION","NAME","PRCP","PRCP_ATTRIBUTES","TMAX","TMAX_ATTRIBUTES"\n'
    )
    rows = (
        '"BR001","2018-01-02","-21.5","-45.4","940","VARGINHA, BR","   31",",,S","  271",",,S"\n'
        '"BR001","2018-01-03","-21.5","-45.4","940","VARGINHA, BR","    0",",,S","  999",",X,S"\n'
        '"BR001","2018-01-04","-21.5","-45.4","940","VARGINHA, BR",,,"  -11",",,S"\n'
    )
    raw = read(tmp_path, "weather.csv", head + rows, {"BR001": "Brazil"})
    assert table(raw) == [
        ("2018-01-02", "Brazil", 27.1, 3.1),
        ("2018-01-03", "Brazil", None, 0.0),
        ("2018-01-04", "Brazil", -1.1, None),
    ]


BY_YEAR = (
    "BR001234567,20180102,TMAX,271,,,S,\nBR001234567,20180102,PRCP,31,,,S,0700\nUS1MOAB0001,20180102,TMAX,10,,,N,\n"
    "BR001234567,20180103,TMAX,999,,X,S,\nBR001234567,20180103,TMIN,-11,,,S,\nBR001234567,20180103,SNWD,0,,,S,\n"
)


@pytest.mark.parametrize("head", ["", "ID,DATE,ELEMENT,DATA_VALUE,M_FLAG,Q_FLAG,S_FLAG,OBS_TIME\n"])
def test_ghcn_daily_by_year_has_a_row_a_value_with_and_without_a_header(head: str, tmp_path: Path) -> None:
    raw = read(tmp_path, "weather_2018.csv", head + BY_YEAR, {"BR001234567": "Brazil"})
    assert table(raw) == [("2018-01-02", "Brazil", 27.1, None, 3.1), ("2018-01-03", "Brazil", None, -1.1, None)]
    meaning = Meaning(regions={"BR001234567": "Brazil"})
    found = read_table(tmp_path / "weather_2018.csv", "weather_2018.csv", "weather", meaning)
    assert found.notes == (
        "1 values failed NOAA's checks and are missing",
        "counted in tenths",
        "1 stations that `files.regions` does not map are left out",
    )
    raw = read(tmp_path, "weather_2018.csv", head + BY_YEAR)
    assert {row[1] for row in table(raw)} == {"BR001234567", "US1MOAB0001"}
    raw = read(tmp_path, "weather_2018.csv", head + BY_YEAR.replace("31,,,S,0700", "3l,,,S,0700"))
    assert f"row {2 + bool(head)}: value is not a number: '3l'" in str(raw.rejections[0])


def test_parquet_of_ghcn_daily_by_year_is_read_as_its_csv(tmp_path: Path) -> None:
    names = ["ID", "DATE", "ELEMENT", "DATA_VALUE", "M_FLAG", "Q_FLAG", "S_FLAG", "OBS_TIME"]
    rows = [["BR001234567", "20180102", "TMAX", 271, None, None, "S", None]]
    pd.DataFrame(rows, columns=names).to_parquet(tmp_path / "weather_Brazil.parquet")
    (tmp_path / "market").mkdir()
    assert table(read(tmp_path, "notes.csv", "x")) == [("2018-01-02", "Brazil", 27.1)]


def test_an_order_of_climate_data_online_is_metric_or_refused(tmp_path: Path) -> None:
    head = '"STATION","NAME","DATE","PRCP","TMAX","TMIN"\n'
    metric = '"US1","KANSAS CITY","2018-01-02","3.1","-1.1","-12.2"\n'
    assert table(read(tmp_path, "weather_Kansas.csv", head + metric)) == [("2018-01-02", "Kansas", -1.1, -12.2, 3.1)]
    standard = '"US1","KANSAS CITY","2018-01-02","0.12","30","10"\n'
    raw = read(tmp_path, "weather_Kansas.csv", head + standard)
    assert "this is °F and inches; order it in metric units" in str(raw.rejections[0])


def _inmet(newer: bool) -> bytes:
    """Two whole days of Brasília, 2018-01-02 and 03, and some hours before and after."""
    lines = ["REGIÃO:;SE", "UF:;MG", "ESTAÇÃO:;VARGINHA", "CODIGO (WMO):;A515", "LATITUDE:;-21,56", "LONGITUDE:;-45,40"]
    lines += ["ALTITUDE:;950,18", "DATA DE FUNDAÇÃO:;11/09/06"]
    date, hour = ("Data", "Hora UTC") if newer else ("DATA (YYYY-MM-DD)", "HORA (UTC)")
    names = [date, hour, "PRECIPITAÇÃO TOTAL, HORÁRIO (mm)", "RADIACAO GLOBAL (Kj/m²)"]
    names += ["TEMPERATURA DO AR - BULBO SECO, HORARIA (°C)", "TEMPERATURA MÁXIMA NA HORA ANT. (AUT) (°C)"]
    names += ["TEMPERATURA MÍNIMA NA HORA ANT. (AUT) (°C)", "UMIDADE RELATIVA DO AR, HORARIA (%)"]
    lines.append(";".join([*names, "VENTO, RAJADA MAXIMA (m/s)"]) + ";")
    for stamp in np.arange("2018-01-02T00", "2018-01-04T06", dtype="datetime64[h]"):
        day, at = str(stamp)[:10], int(str(stamp)[11:13])
        written = (day.replace("-", "/"), f"{at:02d}00 UTC") if newer else (day, f"{at:02d}:00")
        # The frost of the night from the 2nd to the 3rd, and its rain: 02:00 UTC of the 3rd is 23:00 in Brasília.
        cold = str(stamp) == "2018-01-03T02"
        figures = ["7,5" if cold else "0", "-9999", "20,0", "21,5", "-,5" if cold else "18,5", "70", "5"]
        lines.append(";".join([*written, *figures]) + ";")
    return "\n".join(lines).encode("latin-1") + b"\n"


@pytest.mark.parametrize("newer", [False, True])
def test_inmet_s_hours_are_days_of_brasilia(newer: bool, tmp_path: Path) -> None:
    raw = read(tmp_path, "weather.csv", _inmet(newer), {"VARGINHA": "Brazil"})
    assert table(raw) == [
        ("2018-01-02", "Brazil", 7.5, 20.0, 21.5, -0.5, 70.0, 18.0),
        ("2018-01-03", "Brazil", 0.0, 20.0, 21.5, 18.5, 70.0, 18.0),
    ]
    assert [text.split(": ", 2)[2] for text in raw.warnings] == [
        "row 10: 2018-01-01 has 4 of 24 hours: a partial day",
        "row 62: 2018-01-04 has 2 of 24 hours: a partial day",
    ]


def test_latin_text_that_is_no_inmet_file_is_still_refused_by_its_byte(tmp_path: Path) -> None:
    raw = read(tmp_path, "weather.csv", "date,region,temp_max_c\n2018-01-02,São Paulo,1\n".encode("latin-1"))
    assert "byte 0xe3 is not UTF-8" in str(raw.rejections[0])
