"""However old the data are, the daily page says of when they are, first and loudest."""

from __future__ import annotations

import datetime as dt
import html
import re
import shutil
from pathlib import Path

import pytest

from forecast_platform.housekeeping.health import health
from forecast_platform.pages.daily_page import daily_page, series_day
from forecast_platform.pages.series_day import SeriesDay
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.read import Reader
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import LAST, settings_for

DAY = dt.date(2018, 3, 30)
"""The world's closes end the day before it."""


def world(root: Path, today: dt.date) -> Platform:
    """The platform as it is at noon of `today`."""
    noon = dt.datetime.combine(today, dt.time(20), dt.timezone.utc)
    return Platform.from_settings(settings_for(root, models=("naive",)).with_clock(lambda: noon))


def shown(platform: Platform) -> str:
    """What the daily page of today says, banners first."""
    text = daily_page(platform, health).file.read_text(encoding="utf-8").partition("<main")[2]
    return " ".join(
        html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<script.*?</script>", " ", text, flags=re.S))).split()
    )


def described(platform: Platform, days: int) -> list[SeriesDay]:
    """What the page of so many days later shows of each series."""
    later = DAY + dt.timedelta(days=days)
    return [series_day(platform, name, later) for name in platform.settings.series_names]


@pytest.mark.parametrize("days", [40, 75, 400])
def test_a_forecast_that_nobody_renewed_for_months_is_shown_with_its_day_and_close(small: Path, days: int) -> None:
    platform = world(small, DAY)
    forecast(platform, "Alpha", "naive", [DAY])
    close = f"{Reader(platform.settings).last_close('Alpha', DAY - dt.timedelta(days=1)):,.2f}"
    text = shown(world(small, DAY + dt.timedelta(days=days)))
    assert "Alpha: newest close of Thu 29 Mar 2018, that of" in text
    assert "The newest forecasts: Alpha of Fri 30 Mar 2018." in text
    assert re.search(rf"Last close {close} of Thu 29 Mar 2018, \d+ sessions behind", text)
    assert "Forecast of Fri 30 Mar 2018, made 2018-03-30 13:00 PDT" in text
    # What was made is there on the map, however long ago.
    assert "Alpha: what is there" in text
    status = next(one for one in described(platform, days) if one.series == "Alpha")
    assert status.made is not None
    assert status.made[:, -1].all()
    assert status.ends == DAY
    # Beta was never forecast, and its prices are as old.
    assert "Beta: newest close of Thu 29 Mar 2018, that of" in text
    assert re.search(r"no forecast Last close [\d.]+ of Thu 29 Mar 2018, \d+ sessions behind", text)


def test_a_champion_that_lacks_its_forecast_is_not_passed_off_as_fresh(small: Path) -> None:
    forecast(world(small, DAY), "Alpha", "naive", [DAY])
    noon = dt.datetime.combine(DAY, dt.time(20), dt.timezone.utc)
    settings = settings_for(small, models=("random_walk", "naive"), series=({"name": "Alpha"},))
    text = shown(Platform.from_settings(settings.with_clock(lambda: noon)))
    assert "No forecast of the model that is followed Alpha: none by random_walk v1.0, the default" in text
    assert "Fresh." not in text


def test_a_forecast_that_was_made_before_the_newest_close_came_is_not_passed_off_as_fresh(small: Path) -> None:
    """Alpha's close of the day before came an hour after the forecast was made, from the one before that."""
    late, silver = small / "landing" / "market" / "alpha.csv", small / "warehouse" / "commodity" / "silver"
    whole = late.read_text(encoding="utf-8")
    late.write_text("".join(line for line in whole.splitlines(True) if "2018-03-29" not in line), encoding="utf-8")
    shutil.rmtree(silver)
    platform = world(small, DAY)

    def ingested() -> None:
        settings = platform.settings
        assert not ingest(platform, settings.series_names, settings.history_start, LAST).rejections

    ingested()
    for series in platform.settings.series_names:
        assert forecast(platform, series, "naive", [DAY]).written == {DAY}
    assert "Old data Alpha: newest close of Wed 28 Mar 2018" in shown(platform)
    late.write_text(whole, encoding="utf-8")
    ingested()
    text = shown(platform)
    assert "Forecast of an older close Alpha: from that of Wed 28 Mar 2018; newer ones have come since: run" in text
    assert "Fresh." not in text
    forecast(platform, "Alpha", "naive", [DAY])
    text = shown(platform)
    assert "Fresh. Closes to Thu 29 Mar 2018" in text
    assert "older close" not in text
