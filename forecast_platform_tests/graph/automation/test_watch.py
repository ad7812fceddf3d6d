"""What the new-data sensor reads, and what it leaves alone."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

from forecast_platform.graph.automation.observe import Observer
from forecast_platform.graph.automation.watch import Cursor, Look, look, signature
from forecast_platform_tests.sources.landings import PLAIN, write
from forecast_platform_tests.worlds import settings_for, write_landing

NOW = dt.datetime(2021, 3, 9, 12, tzinfo=dt.timezone.utc)
STAMP = NOW.timestamp()


def files(age: float, size: int = 100) -> dict[str, tuple[int, int]]:
    return {"market/coffee.csv": (size, int((STAMP - age) * 1e9))}


def test_a_file_that_is_old_enough_is_read_at_the_first_look() -> None:
    assert look(None, files(60), NOW, 20)[1] == ""


def test_a_file_that_has_just_changed_is_left_until_it_stays_the_same() -> None:
    seen, word = look(None, files(1), NOW, 20)
    assert "market/coffee.csv changed less than 20 s ago" in word
    seen, word = look(seen, files(1, size=200), NOW + dt.timedelta(seconds=15), 20)
    assert word
    _, word = look(seen, files(1, size=200), NOW + dt.timedelta(seconds=36), 20)
    assert word == ""


def test_a_file_whose_clock_is_ahead_is_read_once_it_stays_the_same() -> None:
    seen, word = look(None, files(-86_400), NOW, 20)
    assert word
    assert look(seen, files(-86_400), NOW + dt.timedelta(seconds=21), 20)[1] == ""


def test_what_was_found_settled_is_read_though_its_last_line_has_no_end_and_its_clock_is_ahead(tmp_path: Path) -> None:
    path = write_landing(tmp_path / "landing") / "market" / "alpha.csv"
    path.write_text(path.read_text().rstrip("\n"))
    os.utime(path, (time.time() + 5,) * 2)
    observer = Observer(settings_for(tmp_path))
    now = dt.datetime.now(dt.timezone.utc)
    assert "changed less than 20 s ago" in observer.pending(now).unsettled
    assert sorted(observer.pending(now + dt.timedelta(seconds=21)).days) == ["Alpha", "Beta"]


def test_a_cursor_survives_a_restart() -> None:
    cursor = Cursor(Look("{}", 1.5), "abc", "2021-03-09", "{}")
    assert Cursor.load(cursor.dump()) == (cursor, "")


def test_an_unreadable_cursor_starts_over_and_says_so() -> None:
    for text in ("nonsense", "[1, 2]", '{"look": 3}', '{"look": null}', "null"):
        cursor, word = Cursor.load(text)
        assert cursor == Cursor()
        assert "starts over" in word
    assert Cursor.load(None) == Cursor.load("") == (Cursor(), "")


def test_every_file_that_is_read_is_watched_and_no_other(tmp_path: Path) -> None:
    landing = write(tmp_path / "landing", market__coffee_csv=PLAIN, macro_vix_csv="date,vix\n", weather_Brazil_csv="x")
    for name in ("market/coffee (1).csv", "market/SUGAR.CSV", "market/._coffee.csv", "market/notes.txt", "own.csv"):
        (landing / name).write_text(PLAIN)
    series = [{"name": "Coffee"}, {"name": "Sugar"}]
    watched = signature(settings_for(tmp_path, series=series))
    assert sorted(watched) == [
        "macro_vix.csv",
        "market/SUGAR.CSV",
        "market/coffee (1).csv",
        "market/coffee.csv",
        "weather_Brazil.csv",
    ]
    assert watched["market/coffee.csv"][0] == len(PLAIN)
