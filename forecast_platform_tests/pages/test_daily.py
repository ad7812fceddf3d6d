"""The daily page: what it says of hits and misses, and that it stands by itself."""

from __future__ import annotations

import datetime as dt
import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.pages import page
from forecast_platform.pages.daily_layout import write_daily_page
from forecast_platform.pages.index import write_index
from forecast_platform.pages.series_day import Hit, SeriesDay
from forecast_platform_tests.pages.every_page import DAY, NAIVE, WHEN, series_day

FACTS = [("disk", "good", "71 GB free"), ("data Coffee", "warn", "1 days late")]


@pytest.fixture
def coffee(metadata: pd.DataFrame, expected_dates: list[dt.date]) -> SeriesDay:
    return series_day(metadata, expected_dates)


def _text(path: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", " ", path.read_text(), flags=re.S)))


@pytest.mark.parametrize(
    ("close", "verdict"),
    [
        (100.0, "inside 80 %"),
        (105.0, "inside 80 %"),
        (105.1, "inside 95 %"),
        (98.0, "inside 95 %"),
        (97.9, "missed"),
        (107.1, "missed"),
    ],
)
def test_a_close_on_a_bound_belongs_to_the_band(close: float, verdict: str) -> None:
    assert Hit(NAIVE, 1, 100, 105, 98, 107).verdict(close) == verdict


def test_the_page_says_who_hit_and_who_missed(tmp_path: Path, coffee: SeriesDay) -> None:
    path = write_daily_page(tmp_path, when=WHEN, series=[coffee], facts=FACTS, state="warn")
    assert path.name == "daily_2020-04-29.html"
    text = " ".join(_text(path).split())
    assert "Wednesday 29 April 2020" in text
    assert "It closed at 106.00: 2 of 3 forecasts had it inside 95 %." in text
    assert "naive v1.0 inside 95 % 100.00 to 105.00 – –" in text
    assert "sharp (champion) v1.0 inside 80 % 104.00 to 108.00 – missed 90.00 to 100.00" in text


def test_a_day_on_which_the_market_is_shut_is_not_passed_off_as_certain(tmp_path: Path, coffee: SeriesDay) -> None:
    for bound in (coffee.models[1].lower_80, coffee.models[1].upper_80):
        bound[0] = 110.0
    text = " ".join(_text(write_daily_page(tmp_path, when=WHEN, series=[coffee], facts=FACTS, state="good")).split())
    assert "sharp (champion) v1.0 110.00 market shut 110.00 [103.23 to 116.77]" in text


def test_the_page_shows_champion_board_map_and_health(tmp_path: Path, coffee: SeriesDay) -> None:
    text = " ".join(_text(write_daily_page(tmp_path, when=WHEN, series=[coffee], facts=FACTS, state="warn")).split())
    assert "sharp (champion)" in text
    assert "Coffee: who forecasts best" in text
    assert "Coffee: what is there" in text
    assert "2 facts, 1 that are not good." in text
    assert text.index("1 days late") < text.index("71 GB free")


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path, coffee: SeriesDay) -> None:
    path = write_daily_page(tmp_path, when=WHEN, series=[coffee], facts=FACTS, state="warn")
    targets = re.findall(r'(?:src|href)="([^"]+)"', path.read_text())
    assert targets
    for target in targets:
        assert target.startswith(("data:", "#")) or target == "index.html" or (tmp_path / target).is_file()


def test_the_newest_page_has_a_name_that_stays_and_the_index_lists_each_day_once(
    tmp_path: Path, coffee: SeriesDay
) -> None:
    # The last one is a page of the past that is made again.
    for day in (DAY - dt.timedelta(days=1), DAY, DAY - dt.timedelta(days=2)):
        write_daily_page(tmp_path, when=replace(WHEN, day=day), series=[coffee], facts=FACTS, state="good")
    assert page.read_about(tmp_path / "daily.html") == page.read_about(tmp_path / "daily_2020-04-29.html")
    index = write_index(tmp_path).read_text()
    assert index.count('href="daily_2020-04-29.html"') == 1
    assert index.index("daily_2020-04-29.html") < index.index("daily_2020-04-28.html")
    assert 'href="daily.html"' not in index


def test_a_page_without_any_forecast_says_what_to_do(tmp_path: Path) -> None:
    nothing = np.empty(0)
    empty = SeriesDay("Coffee", None, NAIVE, [], nothing.astype("datetime64[D]"), nothing)
    text = _text(write_daily_page(tmp_path, when=WHEN, series=[empty], facts=[("data", "bad", "none")], state="bad"))
    assert "run `forecast-platform infer`" in text
    assert "A problem." in text


def test_a_forecast_of_an_earlier_day_is_not_passed_off_as_todays(tmp_path: Path, coffee: SeriesDay) -> None:
    old = replace(coffee, forecast_date=DAY - dt.timedelta(days=1))
    text = _text(write_daily_page(tmp_path, when=WHEN, series=[old], facts=FACTS, state="good"))
    assert "No forecast of this day" in text


def test_text_from_outside_cannot_become_markup(tmp_path: Path, coffee: SeriesDay) -> None:
    bad = replace(coffee, series="<script>alert(1)</script>")
    path = write_daily_page(tmp_path, when=WHEN, series=[bad], facts=[("x", "bad", "<img src=x>")], state="bad")
    assert "<script>alert(1)" not in path.read_text()
    assert "<img src=x>" not in path.read_text()


def test_a_series_unit_is_on_axis_card_and_table(tmp_path: Path, coffee: SeriesDay) -> None:
    for unit in (None, "US cents/lb"):
        shown = replace(coffee, unit=unit)
        path = write_daily_page(tmp_path, when=WHEN, series=[shown], facts=FACTS, state="good")
        text = html.unescape(path.read_text(encoding="utf-8"))
        named = [f"{what} (US cents/lb)" for what in ("Close", "Day 14", "CRPS", "medians and 80 % bands", "106.00")]
        assert [one in text for one in named] == [unit is not None] * 5
