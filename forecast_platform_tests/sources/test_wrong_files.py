"""Plausible files with the wrong thing in them: each is said or refused, none is read in silence."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.sources import meaning
from forecast_platform.sources.calendars import sessions
from forecast_platform_tests.sources.landings import PLAIN, closes, one, read, reasons, walk, write

DAYS = list(sessions("XNYS", dt.date(2017, 1, 3), dt.date(2018, 6, 29)))[:300]
DRAWS = np.random.default_rng(5).normal(0, 1, 300)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.round(0.012 * DRAWS, 5), "closes change their sign at"),
        (np.round(18_000 * np.exp(0.6 * DRAWS)), "as a rule: volumes, not prices?"),
    ],
    ids=["returns", "volumes"],
)
def test_returns_and_volumes_in_the_place_of_closes_are_said(tmp_path: Path, values: np.ndarray, words: str) -> None:
    write(tmp_path, market__coffee_csv=closes(DAYS, list(values)))
    raw = read(tmp_path, one(confirmed=[str(day)[:10] for day in DAYS]))
    assert any(words in text for text in raw.warnings), raw.remarks
    assert meaning.restless(walk(300)) is None
    assert meaning.restless(walk(300) - 118) is None, "a price about zero"


def test_a_high_below_its_low_is_listed(tmp_path: Path) -> None:
    rows = "".join(f"{str(day)[:10]},{120 + n},{119 + n},{121 + n}\n" for n, day in enumerate(DAYS[:4]))
    write(tmp_path, market__coffee_csv="date,close,high,low\n" + rows)
    assert len(read(tmp_path).suspects) == 4
    assert str(read(tmp_path).suspects[0]) == (
        "market/coffee.csv, row 2: high 119 on 2017-01-03 is below the low: columns mixed up?"
    )


def test_one_file_saved_under_two_names_is_said_and_two_series_of_one_file_are_not(tmp_path: Path) -> None:
    text = closes(DAYS, list(walk(300)))
    write(tmp_path, market__coffee_csv=text, market__sugar_csv=text)
    said = "Sugar has the same closes as Coffee on all days: one file saved twice?"
    assert said in read(tmp_path, one(), one("Sugar")).warnings
    assert read(tmp_path, one(), one("Brazil", source="coffee")).warnings == []


def test_signs_of_missing_and_zeros_among_macro_figures_are_missing_and_an_indicator_keeps_its_zeros(
    tmp_path: Path,
) -> None:
    rows = ["2018-01-02,15.1,3.2,0", "2018-01-03,0,-999,1", "2018-01-04,14.9,3.25,0", "2018-01-05,15.2,-9999,1"]
    write(tmp_path, market__coffee_csv=PLAIN, macro_csv="date,vix,usd_brl,frost\n" + "\n".join(rows) + "\n")
    raw = read(tmp_path, one(covariates=["vix", "usd_brl", "frost"]))
    assert raw.macro is not None
    assert raw.macro.isna().sum().to_dict() == {"date": 0, "vix": 1, "usd_brl": 2, "frost": 0}
    assert [str(item) for item in raw.suspects if "missing" in item.reason] == [
        "macro.csv, row 3: vix 0 on 2018-01-03 is an exact 0 among figures: read as missing",
        "macro.csv, row 3: usd_brl -999 on 2018-01-03 stands for missing: read as missing",
        "macro.csv, row 5: usd_brl -9999 on 2018-01-05 stands for missing: read as missing",
    ]


def test_humidity_as_a_share_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{str(day)[:10]},Sul,{0.5 + n / 100:.2f}\n" for n, day in enumerate(DAYS[:40]))
    write(tmp_path, market__coffee_csv=PLAIN, weather_csv="date,region,humidity_mean_pct\n" + rows)
    assert "humidity_mean_pct is 0.89 at most: a share of 1? multiply by 100" in reasons(
        read(tmp_path, one(regions=["Sul"]))
    )
