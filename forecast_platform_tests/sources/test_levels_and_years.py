"""What slips into a file for some years or from some day on: dates a day off, another unit, signs of missing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.sources import meaning
from forecast_platform.sources.calendars import sessions
from forecast_platform_tests.sources.landings import closes, one, read, walk, write

DAYS = sessions("XNYS", dt.date(2012, 1, 3), dt.date(2018, 6, 29))
YEARS = DAYS.astype("datetime64[Y]").astype(int) + 1970


@pytest.mark.parametrize(("by", "words"), [(-1, "fall on Sundays, no close on a Friday"), (1, "fall on Saturdays")])
def test_older_years_whose_dates_are_a_day_off_are_said(tmp_path: Path, by: int, words: str) -> None:
    odd = np.isin(YEARS, [2014, 2015])
    days = np.unique(np.where(odd, DAYS + by, DAYS))
    write(tmp_path, market__coffee_csv=closes(list(days), list(walk(len(days)))))
    raw = read(tmp_path)
    assert raw.rejections == []
    [said] = [text for text in raw.warnings if "fall on" in text]
    assert said.startswith("market/coffee.csv: in 2014 to 2015 ")
    assert words in said


@pytest.mark.parametrize(
    ("factor", "unit"), [(2.2046, "pounds and kilograms"), (1 / 31.1035, "troy ounces and grams"), (1.85, "currency")]
)
def test_a_level_that_changes_by_another_factor_and_stays_is_listed_until_confirmed(
    tmp_path: Path, factor: float, unit: str
) -> None:
    days, values = DAYS[:400], walk(400)
    values[250:] *= factor
    write(tmp_path, market__coffee_csv=closes(list(days), list(np.round(values, 4))))
    [said] = [text for text in read(tmp_path).remarks if "changes the level" in text]
    assert said.startswith("market/coffee.csv, row 252: close ")
    assert f"on {days[250]} changes the level: closes are " in said
    assert float(said.split("closes are ")[1].split()[0]) == pytest.approx(values[250] / values[249], rel=1e-3)
    assert unit in said
    assert not read(tmp_path, one(confirmed=(days[250].item(),))).remarks
    values[300:] /= factor
    write(tmp_path, market__coffee_csv=closes(list(days), list(np.round(values, 4))))
    assert len([text for text in read(tmp_path).remarks if "changes the level" in text]) == 2, "there and back"


def test_a_shock_that_reverts_and_a_climb_are_no_change_of_level() -> None:
    shock, climb = walk(200), walk(200)
    shock[100:103] *= 4
    climb[100:] *= np.minimum(1.15 ** np.arange(100), 3)
    assert meaning.levels(shock) == []
    assert meaning.levels(climb) == []


def test_signs_of_missing_among_prices_are_missing_and_real_negative_prices_stay(tmp_path: Path) -> None:
    days = ["2018-01-02", "2018-01-03", "2018-01-04", "2018-01-05", "2018-01-08"]
    write(tmp_path, market__coffee_csv=closes(days, [128.4, -999, 128.1, -9999, 129.0]))
    raw = read(tmp_path)
    assert raw.rejections == []
    assert raw.market["Coffee"]["close"].isna().tolist() == [False, True, False, True, False]
    assert [str(item) for item in raw.suspects if "missing" in item.reason] == [
        f"market/coffee.csv, row {row}: close {value} on {day} stands for missing: read as missing"
        for row, value, day in ((3, -999, days[1]), (5, -9999, days[3]))
    ]
    assert read(tmp_path, one(confirmed=(dt.date(2018, 1, 3),))).market["Coffee"]["close"].isna().sum() == 1
    text = "date,close,low\n" + "".join(f"{day},128.{n},{-999 if n == 2 else 127}\n" for n, day in enumerate(days))
    raw = read(write(tmp_path, market__coffee_csv=text))
    assert raw.market["Coffee"]["low"].isna().tolist() == [False, False, True, False, False]
    power = [41.0, -99.0, -62.5, 38.0, 44.0]
    write(tmp_path, market__coffee_csv=closes(days, power))
    assert read(tmp_path).market["Coffee"]["close"].tolist() == power
