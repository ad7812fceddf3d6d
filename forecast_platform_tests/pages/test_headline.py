"""What is read in ten seconds: old data are the loudest thing, fresh ones say of when they are."""

from __future__ import annotations

import datetime as dt
import html
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from forecast_platform.pages.daily_layout import write_daily_page
from forecast_platform.pages.headline import freshness, outdated, tiles
from forecast_platform.pages.overview import write_overview
from forecast_platform.pages.series_day import SeriesDay
from forecast_platform_tests.pages.every_page import DAY, FACTS, WHEN, series_day

ZONE = "America/New_York"


@pytest.fixture
def coffee(metadata: pd.DataFrame, expected_dates: list[dt.date]) -> SeriesDay:
    return series_day(metadata, expected_dates, unit="US cents/lb")


def said(parts: list[str]) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts))).split())


def test_fresh_data_say_of_when_they_are_and_when_the_forecasts_were_made(coffee: SeriesDay) -> None:
    [banner] = freshness(DAY, [coffee], DAY, ZONE)
    assert 'class="banner fresh"' in banner
    assert said([banner]) == (
        "Fresh. Closes to Tue 28 Apr 2020, the newest session due. Forecasts of Wed 29 Apr 2020, made "
        "2020-04-29 08:03 EDT."
    )


def test_closes_behind_the_session_due_are_loud_and_never_fresh(coffee: SeriesDay) -> None:
    late = replace(coffee, late=2, due=dt.date(2020, 4, 30))
    [banner] = freshness(DAY, [coffee, late], DAY, ZONE)
    assert 'class="banner loud"' in banner
    assert "Coffee: newest close of Tue 28 Apr 2020, that of Thu 30 Apr 2020 was due (2 sessions behind)" in said(
        [banner]
    )


def test_a_forecast_in_another_unit_than_the_closes_is_never_fresh(coffee: SeriesDay) -> None:
    [banner] = freshness(DAY, [replace(coffee, history_close=coffee.history_close / 100)], DAY, ZONE)
    assert 'class="banner loud"' in banner
    assert "Not these prices Coffee: the close of Tue 28 Apr 2020 is 1.0590 by now." in said([banner])


def test_what_old_data_cause_is_said_with_them_in_one_banner(coffee: SeriesDay) -> None:
    day = DAY + dt.timedelta(days=3)
    late = [replace(coffee, series=name, late=3, due=dt.date(2020, 5, 1)) for name in ("One", "Two")]
    [banner] = freshness(day, late, day, ZONE)
    text = said([banner])
    assert "Two: newest close of Tue 28 Apr 2020, that of Fri 1 May 2020 was due (3 sessions behind)" in text
    assert "The newest forecasts: One of Wed 29 Apr 2020; Two of Wed 29 Apr 2020." in text
    assert len(freshness(day, [*late, coffee], day, ZONE)) == 2, "one whose data are there lacks its forecast"


def test_a_page_of_a_day_that_is_over_is_not_passed_off_as_todays(coffee: SeriesDay) -> None:
    [banner] = freshness(DAY, [replace(coffee, ended=DAY)], dt.date(2026, 11, 28), ZONE)
    assert 'class="banner loud"' in banner
    assert "today is Sat 28 Nov 2026 (America/New_York): the source has ended on Wed 29 Apr 2020" in said([banner])


def test_the_first_thing_on_page_and_overview_is_how_old_the_data_are(tmp_path: Path, coffee: SeriesDay) -> None:
    late = replace(coffee, late=1)
    pages = (
        write_daily_page(tmp_path, when=WHEN, series=[late], facts=FACTS, state="bad"),
        write_overview(tmp_path, when=WHEN, groups={"softs": [late]}, facts=FACTS, state="bad"),
    )
    for path in pages:
        text = re.sub(r'<div class="banner loud" id="outdated".*?</div>', "", path.read_text(encoding="utf-8"))
        first = re.search(r'<main id="content">(<div class="banner loud" role="alert"><b>Old data</b>)', text)
        assert first, path.name


def test_a_tile_says_price_width_certainty_model_and_the_move(coffee: SeriesDay) -> None:
    text = said([tiles([coffee], DAY, ZONE)])
    for part in (
        "Coffee US cents/lb sharp v1.0, champion",
        "105.90 → to 110.00 (+3.9 %)",
        "Last close 106.00 of Tue 28 Apr 2020",
        "In 14 days 110.00 (+3.9 %) on Tue 12 May 2020 (median)",
        "80 % band 100.42 to 119.58 (± 9.0 %)",
        "over the year to Wed 29 Apr 2020 its 80 % band held",
    ):
        assert part in text


def test_the_newest_close_stands_beside_the_one_that_an_old_forecast_started_from(
    tmp_path: Path, coffee: SeriesDay
) -> None:
    later = {"hit_date": dt.date(2020, 5, 5), "hit_close": 108.25, "late": 2, "due": dt.date(2020, 5, 7)}
    old = replace(coffee, **later)
    day = dt.date(2020, 5, 8)
    newest = "105.90 of Tue 28 Apr 2020; by now 108.25 of Tue 5 May 2020, 2 sessions behind"
    text = said([tiles([old], day, ZONE)])
    assert newest in text
    assert "After 14 days 110.00" in text
    path = write_overview(
        tmp_path, when=replace(WHEN, day=day, today=day), groups={"softs": [old]}, facts=FACTS, state="bad"
    )
    assert "Tue 28 Apr 2020; by now 108.25 of Tue 5 May 2020, 2 behind" in said([path.read_text(encoding="utf-8")])
    none = replace(old, forecast_date=None, models=[])
    path = write_overview(
        tmp_path, when=replace(WHEN, day=day, today=day), groups={"softs": [none]}, facts=FACTS, state="bad"
    )
    assert "none 108.25 bad Tue 5 May 2020, 2 behind" in said([path.read_text(encoding="utf-8")])


def test_a_model_that_nobody_chose_is_called_the_default(tmp_path: Path, coffee: SeriesDay) -> None:
    unchosen = replace(coffee, chosen=False)
    path = write_daily_page(tmp_path, when=WHEN, series=[unchosen], facts=FACTS, state="good")
    text = said([path.read_text(encoding="utf-8")])
    assert "sharp v1.0, the default, nobody has chosen a champion" in text
    assert "sharp (default)" in text
    assert "(champion)" not in text


def test_a_page_knows_from_when_on_a_newer_one_was_due() -> None:
    due = dt.datetime(2020, 4, 30, 15, tzinfo=dt.timezone.utc)
    text = outdated(due, ZONE, "daily.html")
    assert 'data-due="2020-04-30T15:00:00+00:00"' in text
    assert " hidden " in text
    assert "2020-04-30 11:00 EDT" in text
    assert 'href="daily.html"' in text
