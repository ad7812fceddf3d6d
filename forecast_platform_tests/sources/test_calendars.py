"""Exchange sessions: known holidays, requests beyond what an exchange has published, unknown names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.sources import calendars
from forecast_platform.sources.base import SourceError
from forecast_platform.sources.calendars import (
    US_COMMODITIES,
    closing,
    last_session_on_or_before,
    next_session_after,
    sessions,
)


def test_new_york_is_shut_on_the_first_monday_of_2023() -> None:
    found = sessions("XNYS", dt.date(2022, 12, 28), dt.date(2023, 1, 4))
    assert found.astype(str).tolist() == ["2022-12-28", "2022-12-29", "2022-12-30", "2023-01-03", "2023-01-04"]
    assert last_session_on_or_before(found, dt.date(2023, 1, 2)) == dt.date(2022, 12, 30)
    assert next_session_after(found, dt.date(2022, 12, 30)) == dt.date(2023, 1, 3)


def test_a_request_is_the_slice_of_a_wider_one() -> None:
    wide = sessions("XNYS", dt.date(1999, 1, 1), dt.date(2031, 1, 1))
    start, end = np.datetime64("2009-12-30"), np.datetime64("2020-01-03")
    assert np.array_equal(sessions("XNYS", start, end), wide[(wide >= start) & (wide <= end)])
    assert np.all(np.diff(wide) > np.timedelta64(0, "D"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """The calendars that are built, as in a first process: nothing is kept of earlier ones."""
    built: list[tuple[str, ...]] = []
    make = calendars._calendar
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calendars, "_built", {})
    monkeypatch.setattr(calendars, "_calendar", lambda *given, **more: built.append(given) or make(*given, **more))
    return built


def test_one_calendar_serves_days_long_past_and_today(made: list[tuple[str, ...]]) -> None:
    assert len(sessions("XNYS", dt.date(2014, 1, 2), dt.date(2018, 3, 29))) == 1068
    assert len(sessions("XNYS", dt.date(2014, 1, 2), dt.date.today())) > 1068
    assert made == [("XNYS",)]


def _damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "builds"),
    [(lambda file: None, 1), (Path.unlink, 2), (_damaged, 2), (lambda file: file.write_bytes(b""), 2)],
)
@pytest.mark.parametrize("exchange", ["24/7", "XSAU", US_COMMODITIES])
def test_sessions_are_kept_for_later_processes_and_damage_is_no_session(
    made: list[tuple[str, ...]], tmp_path: Path, exchange: str, change: Callable[[Path], object], builds: int
) -> None:
    span = dt.date(2012, 1, 2), dt.date(2026, 3, 29)
    first = sessions(exchange, *span)
    once = len(made)
    [file] = tmp_path.rglob("*.sessions*")
    change(file)
    calendars._built.clear()
    assert np.array_equal(sessions(exchange, *span), first)
    assert len(made) == once * builds
    assert list(tmp_path.rglob("*.sessions*")) == [file], "whole again"


def test_without_a_place_for_them_sessions_are_worked_out(
    made: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(sessions("XNYS", dt.date(2014, 1, 2), dt.date(2018, 3, 29))) == 1068
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    calendars._built.clear()
    assert len(sessions("XNYS", dt.date(2014, 1, 2), dt.date(2018, 3, 29))) == 1068
    assert len(made) == 2


@pytest.mark.parametrize(("exchange", "start"), [("XSHG", 2080), ("XSHG", 1970), ("XSAU", 2080), ("XSAU", 2010)])
def test_outside_its_published_years_an_exchange_keeps_its_week(exchange: str, start: int) -> None:
    found = sessions(exchange, dt.date(start, 3, 1), dt.date(start, 3, 28))
    inside = sessions(exchange, dt.date(2024, 3, 1), dt.date(2024, 3, 28))

    def weekdays(days: np.ndarray) -> set[int]:
        return {day.item().weekday() for day in days}

    assert len(found) == 20
    assert weekdays(found) == weekdays(inside)


def test_calendar_that_ends_within_the_request_is_continued() -> None:
    found = sessions("XBOM", dt.date(2024, 1, 1), dt.date(2045, 1, 1))
    assert np.diff(found).max() < np.timedelta64(12, "D")
    assert found[-1] >= np.datetime64("2044-12-28")


def test_unknown_exchange_is_named_with_close_matches() -> None:
    with pytest.raises(SourceError, match=r"exchange 'XNYZ' is no calendar .*XNYS"):
        sessions("XNYZ", dt.date(2020, 1, 1), dt.date(2020, 2, 1))


def test_empty_request_has_no_sessions() -> None:
    assert len(sessions("XNYS", dt.date(2020, 1, 2), dt.date(2020, 1, 1))) == 0
    with pytest.raises(SourceError, match="no session on or before 2020-01-01"):
        last_session_on_or_before(np.empty(0, "datetime64[D]"), dt.date(2020, 1, 1))


def test_the_platform_s_own_calendar_is_new_york_s_and_the_days_on_which_futures_settled() -> None:
    first, last = dt.date(2000, 1, 3), dt.date(2026, 12, 31)
    own, stocks = (sessions(name, first, last) for name in (US_COMMODITIES, "XNYS"))
    added = np.setdiff1d(own, stocks).astype(str).tolist()
    assert added == ["2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"]
    assert len(np.setdiff1d(stocks, own)) == 0
    assert len(sessions(US_COMMODITIES, dt.date(2018, 12, 5), dt.date(2018, 12, 5))) == 1


@pytest.mark.parametrize(
    ("exchange", "day", "closed"),
    [
        ("XNYS", "2018-01-25", "2018-01-25 21:00"),
        ("XNYS", "2018-07-02", "2018-07-02 20:00"),
        ("XNYS", "2018-11-23", "2018-11-23 18:00"),
        (US_COMMODITIES, "2018-12-05", "2018-12-05 19:30"),
        ("XTKS", "2018-01-25", "2018-01-25 06:00"),
        ("XNYS", "2018-01-27", None),
        ("XSHG", "2199-01-04", None),
    ],
)
def test_closing_times_are_the_exchange_s_in_utc(exchange: str, day: str, closed: str | None) -> None:
    found = closing(exchange, np.datetime64(day))
    assert (found.strftime("%Y-%m-%d %H:%M") if found else None) == closed
