from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_platform.forecasting.windows import FREQUENCIES

DAYS = st.dates(dt.date(2000, 1, 1), dt.date(2040, 12, 31))
NAMES = st.sampled_from(sorted(FREQUENCIES))


def test_semiannual_windows_of_2018_to_2025_are_sixteen() -> None:
    starts = FREQUENCIES["semiannually"].starts(dt.date(2018, 1, 1), dt.date(2025, 11, 17))
    assert len(starts) == 16
    assert starts[:3] == [dt.date(2018, 1, 1), dt.date(2018, 7, 1), dt.date(2019, 1, 1)]
    assert starts[-1] == dt.date(2025, 7, 1)


@given(NAMES, DAYS)
def test_a_day_lies_in_exactly_one_window(name: str, day: dt.date) -> None:
    frequency = FREQUENCIES[name]
    start = frequency.start_of(day)
    assert frequency.is_start(start)
    assert start <= day < frequency.next_start(start)
    assert frequency.back(frequency.next_start(start), 1) == start


@given(NAMES, DAYS, st.integers(0, 40))
def test_going_back_and_forth_returns_to_the_same_window(name: str, day: dt.date, count: int) -> None:
    frequency = FREQUENCIES[name]
    start = frequency.start_of(day)
    earlier = frequency.back(start, count)
    for _ in range(count):
        earlier = frequency.next_start(earlier)
    assert earlier == start


@pytest.mark.parametrize(
    ("name", "day", "start"),
    [
        ("daily", "2024-02-29", "2024-02-29"),
        ("weekly", "2024-03-03", "2024-02-26"),
        ("semimonthly", "2024-03-14", "2024-03-01"),
        ("semimonthly", "2024-03-15", "2024-03-15"),
        ("monthly", "2024-02-29", "2024-02-01"),
        ("quarterly", "2024-06-30", "2024-04-01"),
        ("semiannually", "2024-06-30", "2024-01-01"),
        ("semiannually", "2024-07-01", "2024-07-01"),
        ("annually", "2024-12-31", "2024-01-01"),
    ],
)
def test_window_of_a_day(name: str, day: str, start: str) -> None:
    assert FREQUENCIES[name].start_of(dt.date.fromisoformat(day)) == dt.date.fromisoformat(start)


@pytest.mark.parametrize(
    ("name", "windows"), [("annually", 5), ("semiannually", 10), ("quarterly", 20), ("monthly", 60), ("weekly", 261)]
)
def test_five_years_in_windows(name: str, windows: int) -> None:
    assert FREQUENCIES[name].windows_in_years(5) == windows
    start = FREQUENCIES[name].start_of(dt.date(2018, 1, 1))
    assert abs((start - FREQUENCIES[name].back(start, windows)).days - 5 * 365.25) < 8
