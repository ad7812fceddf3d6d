"""A file that is wrong throughout is refused in as many lines as it has causes, not as it has rows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from forecast_platform_tests.sources.landings import PLAIN, one, read, reasons, write

HEAD = "date,region,temp_max_c,temp_min_c,temp_mean_c,precipitation_mm\n"
DAYS = np.datetime64("2018-01-01") + np.arange(300)


def _weather(*cells: str) -> str:
    return HEAD + "".join(f"{day},{region},{','.join(cells)}\n" for region in ("V", "W") for day in DAYS)


@pytest.mark.parametrize(
    ("cells", "lines"),
    [
        (
            ("299.2", "291.1", "295.3", "0"),
            [
                "row 2: temp_max_c is 299.2, possible is -90 to 60: kelvin? subtract 273.15; so are 599 more rows: "
                "3, 4, 5, ...; likewise temp_min_c (600 values), temp_mean_c (600 values)"
            ],
        ),
        (
            ("26", "16", "20", "-1"),
            ["row 2: precipitation_mm is -1, possible is 0 to 2000; so are 599 more rows: 3, 4, 5, ..."],
        ),
        (
            ("26", "27", "26", "0"),
            ["row 2: temp_min_c 27 is above temp_max_c 26; so are 599 more rows: 3, 4, 5, ..."],
        ),
        (
            ("55", "15", "20", "0"),
            ["row 2: the mean of temp_max_c is 55.0 in V, 55.0 in W, warmer than any place: convert °F to °C"],
        ),
    ],
)
def test_weather_that_is_wrong_throughout_is_one_line_a_cause(
    cells: tuple[str, ...], lines: list[str], tmp_path: Path
) -> None:
    write(tmp_path, market__coffee_csv=PLAIN, weather_csv=_weather(*cells))
    found = read(tmp_path, one(regions=("V",))).rejections
    assert [str(item).removeprefix("weather.csv, ") for item in found] == lines


def test_each_file_of_weather_that_cannot_be_is_refused(tmp_path: Path) -> None:
    two = {
        f"weather_{name}_csv": _weather("299.2", "291.1", "295.3", "0")
        .replace(",W,", f",{name}w,")
        .replace(",V,", f",{name}v,")
        for name in ("a", "b")
    }
    good = _weather("26", "16", "20", "0")
    raw = read(write(tmp_path, market__coffee_csv=PLAIN, weather_csv=good, **two), one(regions=("V",)))
    assert sorted(item.file for item in raw.rejections) == ["weather_a.csv", "weather_b.csv"]
    assert raw.weather is not None
    assert sorted(raw.weather["region"].unique()) == ["V", "W"]


def test_blank_dates_and_text_among_figures_are_a_line_each(tmp_path: Path) -> None:
    rows = "".join(",V,26,16,20,0\n" if n % 2 else f"{DAYS[n]},V,warm{n},16,20,0\n" for n in range(300))
    write(tmp_path, market__coffee_csv=PLAIN, weather_csv=HEAD + rows)
    assert reasons(read(tmp_path, one(regions=("V",)))).splitlines() == [
        "weather.csv, row 2: temp_max_c is not a number: 'warm0'; so are 149 more rows: 4, 6, 8, ...",
        "weather.csv, row 3: the date is blank; so are 149 more rows: 5, 7, 9, ...",
    ]


@pytest.mark.parametrize("header", ["Date,Last", "datetime,close", ",Close", '"Day","Adj. Price","Price: US, c/lb"'])
def test_columns_of_no_known_layout_are_refused_with_a_mapping_that_reads_them(header: str, tmp_path: Path) -> None:
    more = ",1" if "Adj" in header else ""
    rows = [line.replace(",", f"{more},") for line in PLAIN.splitlines()[1:]]
    write(tmp_path, market__coffee_csv="\n".join([header, *rows]) + "\n")
    [refused] = read(tmp_path).rejections
    assert "is of no layout that is known" in refused.reason
    [mapping] = re.findall(r"`columns: (\{.*?\})`", refused.reason)
    raw = read(tmp_path, one(columns=yaml.safe_load(mapping)))
    assert raw.rejections == []
    assert raw.market["Coffee"]["close"].tolist() == [150.10, 151.40, 150.85, 152.20, 151.95]


def test_weather_of_no_named_place_is_one_line(tmp_path: Path) -> None:
    names = "latitude,longitude,elevation,utc_offset_seconds,timezone,timezone_abbreviation"
    about = f"{names}\n-21.5,-45.4,907,0,GMT,GMT\n\n"
    days = "time,temperature_2m_max (°C)\n" + "".join(f"{day},28.1\n" for day in DAYS)
    write(tmp_path, market__coffee_csv=PLAIN, weather_csv=about + days)
    [refused] = read(tmp_path, one(regions=("V",))).rejections
    assert "the file names no region: call it weather_<region>.csv" in refused.reason
